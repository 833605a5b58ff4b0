"""What a run of mixing shows: what was chosen among what, how often each number of neighbours, and its worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from raydm.data.examples import Examples
from raydm.mixing.mixer import Mixer
from raydm.mixing.pairs import Indices, Pairs
from raydm.mixing.partners import NearestPartners


def mixing_evidence(
    mixer: Mixer,
    pairs: Pairs,
    train: Examples,
    candidates: list[dict[str, Any]],
    figures: Mapping[str, float],
    judge: str,
) -> dict[str, Any]:
    """As JSON allows.

    Args:
        mixer: what was learned.
        pairs: the mixed rows of the training set.
        train: the training set, N examples.
        candidates: what settings were chosen among.
        figures: scores with and without the mixed rows, see `raydm.mixing.scores.gains`.
        judge: which set they are of.

    Returns:
        judge and scores; candidates; neighbors: by distance, how many training rows take how many others.
    """
    counts = {}
    for kind, each in sorted(_taken(mixer, pairs, train).items()):
        values, how_often = np.unique(each, return_counts=True)
        counts[kind] = {"neighbors": values.tolist(), "rows": how_often.tolist()}
    return {"judge": judge, "scores": dict(figures), "candidates": candidates, "neighbors": counts}


def _taken(mixer: Mixer, pairs: Pairs, train: Examples) -> dict[str, Indices]:
    """By what chose them: with how many others each row is mixed: (N,)."""
    if isinstance(mixer.partners, NearestPartners):  # pairs hold a couple of mutual neighbours once
        return mixer.partners.counts(train)
    kinds = {*pairs.kind.tolist()}
    return {kind: np.bincount(pairs.i[pairs.kind == kind], minlength=len(train)) for kind in kinds}


def plot_mixing(evidence: Mapping[str, Any], path: Path, title: str) -> None:
    """How many rows take how many others; and the utility of each candidate against its mixed rows."""
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, found in evidence["neighbors"].items():
        left.plot(found["neighbors"], found["rows"], marker="o", markersize=3, label=f"by {kind}")
    left.set(xlabel="take so many others to mix with", ylabel="training rows", title=title)
    if evidence["neighbors"]:
        left.legend(frameon=False)
    candidates = sorted(evidence["candidates"], key=lambda c: c["mixed_rows"])
    right.plot([c["mixed_rows"] for c in candidates], [c["utility"] for c in candidates], marker="o", markersize=3)
    right.set(xlabel="mixed rows", ylabel="utility on the trusted rows", title="what was chosen among")
    figure.savefig(path, format="png")
