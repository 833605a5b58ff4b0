"""What a method tells while it works, where it is not a step of the learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of a method.

    Attributes:
        t: its number, from 0.
        figures: what it saw, by name, such as "utility" or "loss".
    """

    t: int
    figures: Mapping[str, float]
