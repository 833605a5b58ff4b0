"""The task: what the labels are, for everything that must know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes:
        kind: classification (y holds class indices) or regression (y holds real targets).
        n_outputs: C, the number of classes, or 1 for regression.
    """

    kind: Literal["classification", "regression"]
    n_outputs: int
