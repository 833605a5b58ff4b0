"""Which mixed rows are let in: those whose label is near what the reference says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raydm.data.examples import Examples
from raydm.mixing.reference import Reference, load_reference


@dataclass(frozen=True)
class Admission:
    """Lets a mixed row in where its label error is at most a bound.

    MixRL (Hwang, Whang 2021) learns with how many neighbours an example is mixed, and takes them all; neighbours of one
    example differ, since the noise in two labels may add up or cancel.

    Attributes:
        reference: says what labels should be.
        bound: the largest label error, in standard deviations of the labels.
    """

    reference: Reference
    bound: float

    def admits(self, rows: Examples) -> npt.NDArray[np.bool_]:
        """Which of P mixed rows are let in: (P,)."""
        return self.reference.label_errors(rows) <= self.bound

    def state(self) -> dict[str, Any]:
        """What `load_admission` needs beside the files, as JSON allows."""
        return {"bound": self.bound, "reference": self.reference.state()}


def load_admission(folder: Path, state: Mapping[str, Any]) -> Admission:
    """Reads what `Admission.state` gave, and the files of its reference.

    Raises:
        RunError: the reference is missing, torn, or does not fit together.
    """
    return Admission(load_reference(folder, state["reference"]), float(state["bound"]))
