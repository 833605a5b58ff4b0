"""What a run of weighting shows: how weights spread by class, and how the predictor did on D^v by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raydm.data import Prepared
from raydm.metrics import METRICS

_MOST = 10  # classes that are drawn
_HARDLY = 0.01
_ALL = "all rows"


def weighting_evidence(
    prepared: Prepared,
    weights: npt.NDArray[np.float64],
    curve: Sequence[Mapping[str, float]],
    metric: str,
    warm_up: int,
    scores: Mapping[str, Mapping[str, Any]],
    judge: str,
) -> dict[str, Any]:
    """As JSON allows.

    Args:
        prepared: the sets.
        weights: (N,) of the training rows.
        curve: for each seed and epoch: seed, epoch, metric, loss on D^v.
        metric: its name.
        warm_up: epochs before weights are learned.
        scores: by method: mean, sd and each of the metric on the judging set.
        judge: which set that is.

    Returns:
        metric, judge, scores, warm_up, curve; zeros: the share of rows that hardly count, of weight below .01;
        classes: for each, its rows, its mean weight, and its share of all weight.
    """
    total = float(weights.sum())
    classes = [
        {"class": name, "rows": int(own.sum()), "mean_weight": float(weights[own].mean()) if own.any() else None,
         "share": float(weights[own].sum() / total) if total > 0 else None}
        for name, own in _by_class(prepared)
    ]  # fmt: skip
    return {
        "metric": metric, "judge": judge, "scores": dict(scores), "warm_up": warm_up, "curve": list(curve),
        "zeros": float((weights < _HARDLY).mean()), "classes": classes,
    }  # fmt: skip


def plot_weighting(
    evidence: Mapping[str, Any], weights: npt.NDArray[np.float64], prepared: Prepared, path: Path, title: str
) -> None:
    """A histogram of the weights by class; the metric on D^v by epoch, a line a seed."""
    figure = Figure(figsize=(11, 4), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2)
    _draw_weights(left, weights, prepared)
    _draw_curve(right, evidence)
    figure.savefig(path, format="png")


def _draw_weights(axes: Axes, weights: npt.NDArray[np.float64], prepared: Prepared) -> None:
    groups = _by_class(prepared)
    shown = sorted(groups, key=lambda group: -int(group[1].sum()))[:_MOST]
    top = max(float(np.quantile(weights, 0.995)), 1e-9) if len(weights) else 1.0
    edges = np.linspace(0, max(top, 1.0) * 1.02, 31).tolist()
    for name, own in shown:  # shares, so that a rare class shows beside a common one
        count = int(own.sum())
        clipped = np.minimum(weights[own], edges[-1])
        axes.hist(clipped, edges, weights=np.full(count, 1 / count), histtype="step", linewidth=1.6,
                  label=f"{name} ({count})")  # fmt: skip
    axes.axvline(1.0, color="gray", linewidth=1, linestyle=":")
    axes.set(xlabel="weight (mean 1)", ylabel="share of the rows of a class")
    if len(groups) > len(shown):
        axes.set_title(f"the {len(shown)} largest of {len(groups)} classes", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.25)


def _draw_curve(axes: Axes, evidence: Mapping[str, Any]) -> None:
    metric = evidence["metric"]
    for seed in dict.fromkeys(point["seed"] for point in evidence["curve"]):
        own = [point for point in evidence["curve"] if point["seed"] == seed]
        epochs, values = [point["epoch"] + 1 for point in own], [point["metric"] for point in own]
        axes.plot(epochs, values, marker="o", markersize=3, label=f"seed {seed}")
    if evidence["warm_up"]:
        axes.axvline(evidence["warm_up"] + 0.5, color="gray", linewidth=1, linestyle=":", label="end of the warm-up")
    better = "" if METRICS[metric].sign > 0 else ", lower is better"
    axes.set(xlabel="epoch", ylabel=f"{metric} on the trusted rows{better}")
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.25)


def _by_class(prepared: Prepared) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Which training rows are of each class; all of them where labels are numbers."""
    classes, y = prepared.labels.classes, prepared.train.y
    if classes is None:
        return [(_ALL, np.ones(len(y), dtype=bool))]
    return [(str(name), y == k) for k, name in enumerate(classes)]
