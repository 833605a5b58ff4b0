"""What a run of mixing shows: what was chosen among what, how often each number of neighbours, and its worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raydm.data.examples import Examples
from raydm.mixing.mixer import Mixer
from raydm.mixing.options import DISTANCES
from raydm.mixing.pairs import Indices, Pairs
from raydm.mixing.partners import NearestPartners
from raydm.report.linearity import draw_curve, legend_above

_TICKS = 20  # of a histogram, at most


def mixing_evidence(
    mixer: Mixer,
    pairs: Pairs,
    train: Examples,
    candidates: list[dict[str, Any]],
    figures: Mapping[str, float],
    judge: str,
    linearity: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """As JSON allows.

    Args:
        mixer: what was learned.
        pairs: the mixed rows of the training set.
        train: the training set, N examples.
        candidates: what settings were chosen among.
        figures: scores with and without the mixed rows, see `raydm.mixing.scores.gains`.
        judge: which set they are of.
        linearity: label error by distance, see `raydm.report.linearity.linearity_evidence`.

    Returns:
        judge and scores; candidates; neighbors: by distance, how many training rows take how many others; linearity.
    """
    counts = {}
    for kind, each in sorted(_taken(mixer, pairs, train).items()):
        values, how_often = np.unique(each, return_counts=True)
        counts[kind] = {"neighbors": values.tolist(), "rows": how_often.tolist()}
    return {
        "judge": judge, "scores": dict(figures), "candidates": candidates, "neighbors": counts,
        "linearity": None if linearity is None else dict(linearity),
    }  # fmt: skip


def _taken(mixer: Mixer, pairs: Pairs, train: Examples) -> dict[str, Indices]:
    """By what chose them: with how many others each row is mixed: (N,)."""
    if isinstance(mixer.partners, NearestPartners):  # pairs hold a couple of mutual neighbours once
        return mixer.partners.counts(train)
    kinds = {*pairs.kind.tolist()}
    return {kind: np.bincount(pairs.i[pairs.kind == kind], minlength=len(train)) for kind in kinds}


def plot_mixing(evidence: Mapping[str, Any], path: Path, title: str) -> None:
    """How many rows take how many others; the utility of each candidate; label error by distance, where it is known."""
    linearity = evidence.get("linearity")
    figure = Figure(figsize=(11, 8 if linearity else 4), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(2 if linearity else 1, 2, squeeze=False)
    draw_neighbors(axes[0, 0], evidence["neighbors"])
    _draw_candidates(axes[0, 1], evidence["candidates"])
    if linearity:
        draw_curve(axes[1, 0], linearity, "by_data")
        draw_curve(axes[1, 1], linearity, "by_label")
    figure.savefig(path, format="png")


def draw_neighbors(axes: Axes, neighbors: Mapping[str, Any]) -> None:
    """A histogram of how many others rows take, by what chose them; only numbers that occur have a place."""
    numbers = sorted({n for found in neighbors.values() for n in found["neighbors"]})
    place = {n: p for p, n in enumerate(numbers)}
    width = 0.8 / max(len(neighbors), 1)
    for k, (kind, found) in enumerate(neighbors.items()):
        at = [place[n] + (k - (len(neighbors) - 1) / 2) * width for n in found["neighbors"]]
        axes.bar(at, found["rows"], width, label=f"by {kind}" if kind in DISTANCES else kind)
    shown = range(0, len(numbers), -(-len(numbers) // _TICKS)) if numbers else ()
    axes.set_xticks([*shown], [str(numbers[p]) for p in shown])
    axes.set_xlim(-0.6, max(len(numbers), 6) - 0.4)
    axes.set(xlabel="how many others a row is mixed with", ylabel="training rows")
    if not numbers:
        _tell(axes, "no row is mixed")
    legend_above(axes)


def _draw_candidates(axes: Axes, candidates: list[dict[str, Any]]) -> None:
    """Utility against mixed rows of what was tried, a line for each distance or pick; a ring around the best."""
    if not candidates:
        _tell(axes, "settings were given: nothing was tried")
        return
    axes.set(xlabel="mixed rows", ylabel="utility on the trusted rows (higher is better)")
    for group in dict.fromkeys(_group(c) for c in candidates):
        own = sorted((c for c in candidates if _group(c) == group), key=lambda c: c["mixed_rows"])
        label = group or "what was tried"
        axes.plot([c["mixed_rows"] for c in own], [c["utility"] for c in own], marker="o", markersize=3, label=label)
    best = max(candidates, key=lambda c: c["utility"])
    axes.plot(best["mixed_rows"], best["utility"], "o", markersize=10, fillstyle="none", color="black", label="chosen")
    axes.grid(alpha=0.25)
    legend_above(axes)


def _group(candidate: dict[str, Any]) -> str:
    if "pick" in candidate:
        return f"{candidate['pick']} option"
    return f"by {candidate['distance']}" if "distance" in candidate else ""


def _tell(axes: Axes, what: str) -> None:
    axes.text(0.5, 0.5, what, ha="center", va="center", transform=axes.transAxes, color="gray")
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
