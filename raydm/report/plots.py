"""Plots of a run's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raydm.metrics import METRICS
from raydm.report.evidence import LEARNED

# Okabe, Ito: told apart by colour-blind readers too
_COLOURS = {
    LEARNED: "#0072B2", "pooled": "#56B4E9", "validation": "#E69F00", "out-of-fold": "#009E73", "linear": "#000000",
    "forest": "#D55E00",
    "extra-trees": "#CC79A7", "neighbors": "#F0E442", "random": "#999999",
}  # fmt: skip
_NAMES = {LEARNED: "the values", "validation": "marginal information alone"}


def plot_discovery(evidence: Mapping[str, Any], file: Path, title: str) -> None:
    """Recall of flipped labels against the share inspected, with the best possible curve."""
    figure, axes = _figure(title)
    shares, share = evidence["inspected"], evidence["flipped"]
    axes.plot([0, share, 1], [0, 1, 1], color="black", linestyle=":", linewidth=1, label="best possible, ROC AUC 1")
    for name, recall in evidence["recall"].items():
        label = f"{_NAMES.get(name, name)}, ROC AUC {evidence['auc'][name]:.3f}"  # not the area under this curve
        axes.plot(shares, recall, color=_COLOURS.get(name), linewidth=_width(name), zorder=_order(name), label=label)
    axes.set(xlabel="share inspected, lowest value first", ylabel="share of the flipped labels found")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _save(figure, file)


def plot_removal(evidence: Mapping[str, Any], file: Path, title: str, judge: str) -> None:
    """Score after retraining without the lowest (solid) and without the highest (dashed) values."""
    figure, axes = _figure(title)
    for end, style in (("lowest", "-"), ("highest", "--")):
        for name, scores in evidence[end].items():
            label = f"{end} removed, by {_NAMES.get(name, name)}"
            axes.plot(
                evidence["removed"], scores, style, color=_COLOURS.get(name), linewidth=_width(name),
                zorder=_order(name), label=label,
            )  # fmt: skip
    metric = evidence["metric"]
    better = "" if METRICS[metric].sign > 0 else ", lower is better"
    axes.set(xlabel="share of the training set removed", ylabel=f"{metric} on the {judge} set{better}")
    axes.set(xlim=(0, max(evidence["removed"])))
    _save(figure, file)


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 5.0), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, file: Path) -> None:
    """With the legend below, where it covers no curve."""
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(file, format="png")


def _width(name: str) -> float:
    return 2.2 if name == LEARNED else 1.4


def _order(name: str) -> float:
    return 3 if name == LEARNED else 2.5  # the learned values lie above the curves they are measured against
