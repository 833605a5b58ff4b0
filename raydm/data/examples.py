"""Examples: the encoded form of data that everything above this layer works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Examples:
    """N encoded examples.

    Attributes:
        x: (N, D) float32 features.
        y: (N,) int64 class indices in [0, C) for classification; for regression (N,) float32 targets, or (N, C) of
            C > 1 label columns.
        ids: (N,) the examples' identifiers, unique, of the type that the user's id column has.
    """

    x: Array
    y: Array
    ids: Array

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.ArrayLike | Sequence[int]) -> Examples:
        """The examples at ``rows`` (indices or a boolean mask), in that order."""
        rows = np.asarray(rows)
        return Examples(self.x[rows], self.y[rows], self.ids[rows])
