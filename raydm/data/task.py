"""The task: what the labels are, for everything that must know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes:
        kind: classification (y holds class indices) or regression (y holds real targets).
        n_outputs: C, the number of classes, or of targets (label columns), >= 1.
    """

    kind: Literal["classification", "regression"]
    n_outputs: int

    @property
    def several_targets(self) -> bool:
        """Whether y has an axis of targets, (N, C); else it is (N,)."""
        return self.kind == "regression" and self.n_outputs > 1
