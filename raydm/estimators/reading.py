"""How the rows of a table are read for large predictors: as features, as the tokens of a text, or as an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch

from raydm.checks import check_integer
from raydm.data import Kind, Prepared, TableEncoder, as_table, prepare
from raydm.data.labels import TaskKind
from raydm.data.pixels import ImageColumn
from raydm.data.prepare import FitEncoder, Fitted
from raydm.errors import DataError, ParameterError
from raydm.predictors.large import MODULES, Reads, make_module, named
from raydm.predictors.module import Module
from raydm.text.column import TokenColumn
from raydm.text.tokenizer import LENGTH

_AUTO: Mapping[Reads, str] = {"table": "mlp", "image": "resnet-8", "text": "text"}
_FLAGS: Mapping[Reads, str] = {"table": "no text or image column", "image": "image=COLUMN", "text": "text=COLUMN"}
_A: Mapping[Reads, str] = {"table": "a table", "image": "an image", "text": "a text"}
COLUMN = "x"  # of what comes without a name


@dataclass(frozen=True)
class Reading:
    """What a predictor sees of a row, and which predictor.

    Attributes:
        owner: who asks, for messages.
        predictor: "auto" (an MLP for tables, ResNet-8 for images, the model for texts), a name of
            `raydm.predictors.large.MODULES`, "text:NAME", or a `Module`.
        params: arguments of a predictor that is named.
        text: the column of texts that is all the predictor sees.
        image: or the column of images.
        model: folder or name of a pretrained encoder, whose tokenizer reads the texts.
        length: the most tokens of a text.
        image_size: (H, W) that image files are scaled to; None: they must be of one size.
    """

    owner: str
    predictor: Any = "auto"
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    text: str | None = None
    image: str | None = None
    model: str | None = None
    length: int = LENGTH
    image_size: Sequence[int] | None = None

    @property
    def reads(self) -> Reads:
        """What the predictor is to read."""
        return "text" if self.text is not None else "image" if self.image is not None else "table"

    def check(self) -> None:
        """Raises ParameterError where the arguments do not fit each other."""
        if self.text is not None and self.image is not None:
            raise ParameterError(f"{self.owner} reads a text column or an image column. Got both: leave one out.")
        check_integer(self.owner, "length", self.length, 3)
        if self.image_size is not None:
            if self.image is None:
                raise ParameterError(f"{self.owner}: image_size is for an image column. Name one, or leave it out.")
            if isinstance(self.image_size, str) or len(self.image_size) != 2:
                raise ParameterError.of("image_size", self.owner, "(H, W)", self.image_size)
            for side in self.image_size:
                check_integer(self.owner, "image_size", side, 1)
        if isinstance(self.predictor, Module):
            if self.params:
                raise ParameterError(
                    f"predictor_params are for a predictor named by a string. Got {dict(self.params)}."
                )
        elif not isinstance(self.predictor, str):
            expected = "'auto', the name of a Module (see raydm.predictors.large.MODULES), or a Module"
            raise ParameterError.of("predictor", self.owner, expected, self.predictor)
        else:
            reads = MODULES[self._name()[0]].reads
            if reads != self.reads:
                expected = f"one that reads {_A[self.reads]}; {self.predictor!r} reads {_A[reads]} ({_FLAGS[reads]})"
                raise ParameterError.of("predictor", self.owner, expected, self.predictor)
        if self.reads != "text" and self.model is not None:
            raise ParameterError(f"{self.owner}: model={self.model!r} is for texts. Name their column: text=COLUMN.")
        if self.reads == "text":
            self._model()

    def prepare(
        self,
        train: pa.Table,
        valid: pa.Table,
        test: pa.Table | None,
        *,
        label: str | Sequence[str],
        id: str | None = None,
        features: Sequence[str] | None = None,
        kinds: Mapping[str, Kind] | None = None,
        task: TaskKind | None = None,
        names: tuple[str, str, str] = ("train", "valid", "test"),
    ) -> Prepared:
        """As `raydm.data.prepare`, with x as the predictor reads it; training and validation texts are as long.

        Raises:
            DataError: as `raydm.data.prepare`; or texts or images cannot be read.
            ParameterError: features are named beside a text or image column.
        """
        self.check()
        fit, features, kinds = self.columns(features, kinds)
        prepared = prepare(
            train, valid, test, label=label, id=id, features=features, kinds=kinds, task=task, names=names,
            fit_encoder=fit,
        )  # fmt: skip
        encoder = prepared.encoder
        if not isinstance(encoder, TokenColumn):
            return prepared
        longest = max(prepared.train.x.shape[1], prepared.valid.x.shape[1])
        same = (dataclasses.replace(e, x=encoder.padded(e.x, longest)) for e in (prepared.train, prepared.valid))
        return dataclasses.replace(prepared, train=next(same), valid=next(same))

    def columns(
        self, features: Sequence[str] | None, kinds: Mapping[str, Kind] | None
    ) -> tuple[FitEncoder, Sequence[str] | None, Mapping[str, Kind] | None]:
        """What makes the encoder; and the features and their kinds, where not all columns are read.

        Raises:
            ParameterError: features are named beside a text or image column.
        """
        column = self.text if self.text is not None else self.image
        if column is None:
            return TableEncoder.fit, features, kinds
        if features or kinds:
            raise ParameterError(f"{self.owner} sees nothing but the column {column!r}. Leave features out.")
        if self.text is None:
            return partial(ImageColumn.fit_images, size=self.image_size), [column], {column: "vector"}
        fit = partial(TokenColumn.fit_texts, model=self._model(), length=self.length)
        return fit, [column], {column: "text"}

    def module(self, prepared: Fitted) -> Module:
        """The predictor; images tell its channels, and the statistics that pixels are normalised by.

        Raises:
            ParameterError: an argument that it does not take, or one out of its range.
        """
        if isinstance(self.predictor, Module):
            return self.predictor
        name, own = self._name()
        params = {**own, **self.params}
        if isinstance(prepared.encoder, ImageColumn):
            params = {"channels": prepared.encoder.shape[0], "normalize": prepared.encoder.statistics, **params}
        if self.reads == "text":
            params["model"] = self._model()
        return make_module(name, **params)

    def _name(self) -> tuple[str, dict[str, Any]]:
        return named(_AUTO[self.reads] if self.predictor == "auto" else self.predictor)

    def _model(self) -> str:
        """Of the tokenizer, and of the predictor where it is named."""
        own = {} if isinstance(self.predictor, Module) else {**self._name()[1], **self.params}
        found = {str(m) for m in (self.model, own.get("model")) if m}
        if len(found) > 1:
            raise ParameterError(f"{self.owner}: two models are named, {sorted(found)}. Name one.")
        if not found:
            raise ParameterError(
                f"{self.owner} needs a model to read texts with: name the folder of an encoder of Hugging Face's "
                "transformers, or its name on the hub, such as bert-base-uncased (model=, --model)."
            )
        return found.pop()


def kind_alone(X: Any) -> str | None:
    """What X is without a table: "image" of images (N, H, W[, channels]), "text" of N texts; None of all else."""
    if isinstance(X, (np.ndarray, torch.Tensor)) and X.ndim in (3, 4):
        return "image"
    if isinstance(X, (list, tuple, pd.Series)) or (isinstance(X, np.ndarray) and X.ndim == 1):
        return "text" if len(X) and all(isinstance(value, str) for value in X) else None
    return None


def rows_of(X: Any) -> Any:
    """X, where it is images or texts without a table, as a table of one column `COLUMN`."""
    kind = kind_alone(X)
    if kind is None:
        return X
    return as_table(_pixels(X)) if kind == "image" else pa.table({COLUMN: pa.array(list(X), pa.string())})


def _pixels(X: Any) -> npt.NDArray[Any]:
    """Images as an array; torch's (N, channels, H, W) are turned, as those of a torch Dataset are.

    Raises:
        DataError: an array has its channels first, so that 3 rows of pixels would be read.
    """
    first = X.ndim == 4 and X.shape[1] in (1, 3) and X.shape[3] not in (1, 3)
    if isinstance(X, torch.Tensor):
        pixels: npt.NDArray[Any] = X.detach().cpu().numpy()
        return np.moveaxis(pixels, 1, -1) if first else pixels
    if first:
        raise DataError(
            f"X: images {X.shape} seem to have their channels first, and (N, H, W, channels) is read. Pass "
            "np.moveaxis(X, 1, -1)."
        )
    images: npt.NDArray[Any] = X
    return images
