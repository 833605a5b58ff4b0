"""The text column encoder: TF-IDF, then its leading directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.columns import Floats, State, text_or_missing
from raydm.data.roles import Kind

MAX_TERMS, MAX_DIRECTIONS = 20_000, 64


@dataclass(frozen=True, eq=False)
class Text:
    """A text per row: sublinear TF-IDF projected on its W leading directions, centred, and scaled by one deviation.

    Attributes:
        terms: the V terms, in the order of their columns.
        idf: (V,) float64 inverse document frequencies.
        directions: (W, V) float64 right singular vectors of the training texts' TF-IDF.
        mean: (W,) float64 means of the projected training texts.
        std: the standard deviation of all their values; > 0.
        missing: how many training texts were missing; they count as empty.
    """

    terms: tuple[str, ...]
    idf: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    std: float
    missing: int
    kind: ClassVar[Kind] = "text"

    @classmethod
    def fit(cls, column: pa.ChunkedArray, where: str) -> tuple[Text, list[str]]:
        """The encoder of the training column, and what had to be handled in it."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts, missing = _texts(column, where)
        notes = [f"{where}: {missing} missing texts taken as empty"] * (missing > 0)
        nothing = cls((), np.empty(0), np.empty((0, 0)), np.empty(0), 1.0, missing)
        vectorizer = TfidfVectorizer(max_features=MAX_TERMS, sublinear_tf=True, min_df=2 if len(texts) >= 100 else 1)
        try:
            weights = vectorizer.fit_transform(texts)
        except ValueError:  # scikit-learn's word for a vocabulary that is empty
            return nothing, [*notes, f"{where}: no word stands in two texts, dropped"]
        with np.errstate(divide="ignore", invalid="ignore"):  # its share of explained variance, where there is none
            svd = TruncatedSVD(min(MAX_DIRECTIONS, *weights.shape), random_state=0).fit(weights)
        projected = np.asarray(weights @ svd.components_.T)
        mean = projected.mean(axis=0)
        std = float((projected - mean).std())
        if std < 1e-12:
            return nothing, [*notes, f"{where}: constant, dropped"]
        terms = tuple(vectorizer.get_feature_names_out().tolist())
        return cls(terms, vectorizer.idf_, np.ascontiguousarray(svd.components_), mean, std, missing), notes

    @cached_property
    def _vectorizer(self) -> Any:
        """The TF-IDF of the training texts, built from its terms and frequencies alone."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(sublinear_tf=True, vocabulary=list(self.terms))
        vectorizer.idf_ = self.idf
        return vectorizer

    @property
    def width(self) -> int:
        """W, at most 64."""
        return len(self.mean)

    def names(self, column: str) -> list[str]:
        """``<column>~k``, k from 0 by falling weight."""
        return [f"{column}~{k}" for k in range(self.width)]

    def encode(self, column: pa.ChunkedArray, where: str) -> tuple[Floats, list[str]]:
        """(N, W) float32."""
        texts, missing = _texts(column, where)
        if not (self.width and texts):
            return np.empty((len(texts), self.width), np.float32), []
        projected = np.asarray(self._vectorizer.transform(texts) @ self.directions.T)
        events = [f"{where}: {missing} missing texts where training had none, taken as empty"]
        return ((projected - self.mean) / self.std).astype(np.float32), events * (missing > 0 and not self.missing)

    def state(self) -> State:
        """The attributes."""
        return {
            "terms": list(self.terms),
            "idf": self.idf,
            "directions": self.directions,
            "mean": self.mean,
            "std": self.std,
            "missing": self.missing,
        }

    @classmethod
    def from_state(cls, state: State) -> Text:
        """The encoder that ``state`` describes."""
        return cls(**(state | {"terms": tuple(state["terms"])}))


def _texts(column: pa.ChunkedArray, where: str) -> tuple[list[str], int]:
    texts = text_or_missing(column, where)
    return texts.fill_null("").to_pylist(), texts.null_count
