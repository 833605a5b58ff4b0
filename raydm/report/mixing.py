"""What a run of mixing shows: what was chosen among what, how often each number of neighbours, and its worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from raydm.mixing.pairs import Pairs


def mixing_evidence(
    pairs: Pairs, rows: int, candidates: list[dict[str, Any]], figures: Mapping[str, float], judge: str
) -> dict[str, Any]:
    """As JSON allows.

    Args:
        pairs: the mixed rows of the training set.
        rows: N.
        candidates: what settings were chosen among.
        figures: scores with and without the mixed rows, see `raydm.mixing.scores.gains`.
        judge: which set they are of.

    Returns:
        judge and scores; candidates; neighbors: by distance, how many training rows are mixed with how many others.
    """
    counts = {}
    for kind in sorted({*pairs.kind.tolist()}):
        each = np.bincount(pairs.i[pairs.kind == kind], minlength=rows)
        values, how_often = np.unique(each, return_counts=True)
        counts[kind] = {"neighbors": values.tolist(), "rows": how_often.tolist()}
    return {"judge": judge, "scores": dict(figures), "candidates": candidates, "neighbors": counts}


def plot_mixing(evidence: Mapping[str, Any], path: Path, title: str) -> None:
    """How many rows are mixed with how many others; and the utility of each candidate against its mixed rows."""
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, found in evidence["neighbors"].items():
        left.plot(found["neighbors"], found["rows"], marker="o", markersize=3, label=f"by {kind}")
    left.set(xlabel="mixed with so many others", ylabel="training rows", title=title)
    if evidence["neighbors"]:
        left.legend(frameon=False)
    candidates = sorted(evidence["candidates"], key=lambda c: c["mixed_rows"])
    right.plot([c["mixed_rows"] for c in candidates], [c["utility"] for c in candidates], marker="o", markersize=3)
    right.set(xlabel="mixed rows", ylabel="utility on the trusted rows", title="what was chosen among")
    figure.savefig(path, format="png")
