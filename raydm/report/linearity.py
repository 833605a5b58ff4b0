"""Limited linearity in a run's evidence: label error by distance, as JSON and as plots."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raydm.data.examples import Examples
from raydm.errors import RaydmError, RaydmWarning
from raydm.mixing.linearity import (
    Oracle,
    at_half,
    bootstrapped,
    cross_fitted,
    distances,
    label_error,
    limited_linearity,
)
from raydm.mixing.pairs import Pairs
from raydm.report.run import finite
from raydm.seeding import stream
from raydm.utility import Problem

_MOST = 2000  # real rows, and mixed rows of the run, that are judged
_REAL, _OWN = "#000000", "#D55E00"
_AXES = {
    "by_data": "distance of the two rows' features (as encoded)",
    "by_label": "distance of their labels (standard deviations)",
}
_ERROR = "label error (standard deviations)"


def linearity_evidence(
    problem: Problem, train: Examples, pairs: Pairs, also: Examples | None = None
) -> dict[str, Any] | None:
    """Label error of mixed rows by the distance of their parents; see `raydm.mixing.linearity`.

    It costs ten trainings of the predictor, each on three fifths of the training rows.

    Args:
        problem: of the run.
        train: its training set, N examples.
        pairs: the rows that the run mixes.
        also: more rows that the reference is trained on.

    Returns:
        real_rows, the reference's error at training rows that it did not see, and the error_of_mean, which a good
        reference is well below; mixed_rows, its error at the run's own, with their distances (None without any);
        by_data and by_label, curves over all pairs at lambda = 1/2; by_both, the table. All in standard deviations of
        each label, as JSON allows. None where fewer than five examples differ, or where a training failed; a
        RaydmWarning tells why.
    """
    seed, mean = problem.seed, train.y.reshape(len(train), -1).mean(0, dtype=np.float64)
    try:
        reference = cross_fitted(problem, train, also)
        found = limited_linearity(train, reference, seed)
        some = _some(len(train), seed)
        real = label_error(train, at_half(some, some), reference)
        by_mean = label_error(train, at_half(some, some), lambda x, i, j: np.broadcast_to(mean, (len(x), len(mean))))
        own = _own(train, pairs.take(_some(len(pairs), seed)), reference, seed) if len(pairs) else None
    except RaydmError as failed:  # what was learned is not lost for it
        warnings.warn(f"The run has no analysis of linearity: {failed}", RaydmWarning, stacklevel=2)
        return None
    both = {"error": found.table, "standard_error": found.table_standard_error, "pairs": found.table_pairs}
    return {
        "real_rows": {
            "error": float(real.mean()), "standard_error": float(real.std() / len(real) ** 0.5), "rows": len(real),
            "error_of_mean": float(by_mean.mean()),
        },
        "mixed_rows": own,
        "by_data": _lists(vars(found.data)),
        "by_label": _lists(vars(found.label)),
        "by_both": _lists(both),
    }  # fmt: skip


def draw_curve(axes: Axes, evidence: Mapping[str, Any], by: str) -> None:
    """Label error against one distance, beside that of real rows and of the run's own mixed rows.

    Args:
        axes: to draw on; the legend stands above them.
        evidence: of `linearity_evidence`.
        by: "by_data" or "by_label".
    """
    curve = {name: np.array(values, dtype=np.float64) for name, values in evidence[by].items()}
    real, own = evidence["real_rows"], evidence["mixed_rows"]
    axes.axhline(real["error"], color=_REAL, linestyle="--", linewidth=1, label="real rows")
    axes.errorbar(
        curve["distance"], curve["error"], curve["standard_error"], marker="o", markersize=4, capsize=2,
        label="any two rows at 1/2",
    )  # fmt: skip
    if own:
        low, middle, high = own[f"{by.removeprefix('by_')}_distance"]
        axes.errorbar(
            [middle], [own["error"]], [[own["standard_error"]]] * 2, [[middle - low], [high - middle]], marker="D",
            markersize=5, capsize=2, color=_OWN, label="what the run mixes", zorder=3,
        )  # fmt: skip
    axes.set(xlabel=_AXES[by], ylabel=_ERROR, xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.25)
    legend_above(axes)


def plot_linearity(evidence: Mapping[str, Any], file: Path, title: str) -> None:
    """Label error by each distance, and by both."""
    figure = Figure(figsize=(14.5, 4.4), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    left, middle, right = figure.subplots(1, 3)
    draw_curve(left, evidence, "by_data")
    draw_curve(middle, evidence, "by_label")
    _draw_table(right, evidence)
    figure.savefig(file, format="png")


def legend_above(axes: Axes) -> None:
    """A legend that covers no data."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8, borderaxespad=0.2,
            columnspacing=1, handletextpad=0.4, handlelength=1.6,
        )  # fmt: skip


def _draw_table(axes: Axes, evidence: Mapping[str, Any]) -> None:
    """The mean error of every two bins, rows by label distance, the nearest at the bottom left."""
    error = np.array(evidence["by_both"]["error"], dtype=np.float64).T
    picture = axes.imshow(error, origin="lower", aspect="auto", cmap="viridis")
    half = np.nanmin(error) + np.ptp(error[np.isfinite(error)]) / 2
    for (b, a), value in np.ndenumerate(error):
        if np.isfinite(value):
            axes.text(
                a, b, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value < half else "black"
            )
    for axis, by in ((axes.xaxis, "by_data"), (axes.yaxis, "by_label")):
        edges = evidence[by]["edges"]
        axis.set_ticks(np.arange(len(edges)) - 0.5, [f"{edge:.2g}" for edge in edges])
        axis.set_label_text(_AXES[by])
    axes.figure.colorbar(picture, ax=axes, label=_ERROR)


def _own(train: Examples, pairs: Pairs, reference: Oracle, seed: int) -> dict[str, Any]:
    """Error and distances (10, 50 and 90 % quantiles) of the run's mixed rows."""
    error, bins = label_error(train, pairs, reference), np.zeros(len(pairs), np.int64)
    ((mean, standard_error),) = bootstrapped(error, np.ones(len(pairs)), pairs.i, pairs.j, [bins], [1], seed)
    by_data, by_label = (np.quantile(d, (0.1, 0.5, 0.9)).tolist() for d in distances(train, pairs))
    return {
        "error": float(mean[0]),
        "standard_error": float(standard_error[0]),
        "pairs": len(pairs),
        "data_distance": by_data,
        "label_distance": by_label,
    }


def _some(count: int, seed: int) -> Any:
    return np.sort(stream(seed, "linearity", "judged").choice(count, min(count, _MOST), replace=False))


def _lists(arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    return finite({name: array.tolist() for name, array in arrays.items()})
