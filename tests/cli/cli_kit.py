"""What the tests of the command line share: small files of two classes that a line tells apart, and an outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Two sources of evidence are enough where it is not the point: forests cost a second a round
QUICK = ("--steps", "4", "--rollouts", "4", "--outer-batch", "32", "--evidence", "validation", "neighbors", "--quiet")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def line(self) -> dict[str, Any]:
        """The one JSON line on stdout."""
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1
        assert self.out.endswith("\n")

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is not JSON")

        line: dict[str, Any] = json.loads(self.out, parse_constant=refuse)
        return line


Call = Callable[..., Outcome]


def frame(rows: int, seed: int, *, regression: bool = False) -> pd.DataFrame:
    """Numbers a, b, c, a category g, and the label: by the sign of a - 2 b + c / 2, or this number itself."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    table["g"] = rng.choice(["u", "v", "w"], rows)
    score = table.a - 2 * table.b + table.c / 2
    table["label"] = score if regression else np.where(score > 0, "yes", "no")
    return table


@dataclass(frozen=True)
class Files:
    folder: Path
    train: Path
    valid: Path
    test: Path


def written(folder: Path, *, regression: bool) -> Files:
    made = Files(folder, folder / "train.csv", folder / "valid.csv", folder / "test.csv")
    for seed, (file, rows) in enumerate(((made.train, 120), (made.valid, 40), (made.test, 80))):
        frame(rows, seed, regression=regression).to_csv(file, index=False)
    return made
