"""A trained predictor together with the encoders of its run: takes tables and gives labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from raydm.data import LabelEncoder, TableEncoder, as_table
from raydm.errors import ParameterError
from raydm.predictors.protocol import Fitted


class TablePredictor:
    """Predicts from rows in the form of the training table.

    Attributes:
        fitted: the trained predictor, one rollout (R = 1).
        encoder: fitted on the training features.
        labels: fitted on the training labels.
    """

    def __init__(self, fitted: Fitted, encoder: TableEncoder, labels: LabelEncoder) -> None:
        self.fitted, self.encoder, self.labels = fitted, encoder, labels

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Labels of M rows, of the training labels' own type and units: (M,), or (M, C) of C > 1 label columns."""
        out = self._predict(X)
        if self.labels.classes is None:
            return out[:, 0] if self.labels.n_outputs == 1 else self.labels.inverse(out)
        return self.labels.inverse(out.argmax(-1))

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Class probabilities of M rows in the order of `labels.classes`: (M, C).

        Raises:
            ParameterError: it predicts targets, not classes.
        """
        if self.labels.classes is None:
            raise ParameterError("predict_proba is for classification; this predictor was trained for regression.")
        return self._predict(X)

    def _predict(self, X: Any) -> npt.NDArray[np.float64]:
        x = self.encoder.transform(feature_table(X), name="X")
        return self.fitted.predict(torch.from_numpy(x))[0].detach().cpu().double().numpy()


def feature_table(X: Any) -> pa.Table:
    """Rows as an Arrow table; an array's (N, D) columns become x0, x1, ... so that each is scaled by itself."""
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return pa.table({f"x{i}": X[:, i] for i in range(X.shape[1])})
    return as_table(X)
