"""What a run of augmentation or synthesis shows: what was learned, the predictor on D^v by epoch, new images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raydm.report.weighting import draw_curve

_MOST = 30  # bars that are drawn
_GRID = 8  # images a side


def plot_enlarging(
    evidence: Mapping[str, Any], images: npt.NDArray[Any] | None, labels: Sequence[Any], path: Path, title: str
) -> None:
    """What was learned, as bars; the metric on D^v by epoch, a line a seed; of images a grid of new ones.

    Args:
        evidence: summary, metric, curve and warm_up.
        images: (n, H, W, channels) new images, or None.
        labels: theirs.
        path: the PNG file.
        title: of all.
    """
    summary = evidence["summary"]
    panels = 1 + bool(summary) + (images is not None and len(images) > 0)
    height = max(4.0, 0.22 * min(len(summary), _MOST) + 1.2)
    figure = Figure(figsize=(5.5 * panels, height), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    if summary:
        _draw_summary(axes.pop(0), summary)
    draw_curve(axes.pop(0), evidence)
    if axes and images is not None:
        _draw_images(axes[0], images, labels)
    figure.savefig(path, format="png")


def _draw_summary(axes: Axes, summary: Sequence[Mapping[str, Any]]) -> None:
    shown = summary[:_MOST]
    places = np.arange(len(shown))[::-1]
    axes.set_yticks(places, [_name(row) for row in shown], fontsize=7)
    bars = [k for k in ("probability", "noise", "masked", "fitted", "learned") if k in shown[0]]
    for k, key in enumerate(bars):
        width = 0.8 / len(bars)
        axes.barh(places + 0.4 - width * (k + 0.5), [row[key] for row in shown], width, label=key)
    if "mean" in shown[0]:  # an operation's strength, one spread to each side
        for place, row in zip(places, shown, strict=True):
            axes.annotate(
                f"{row['mean']:.2g} ({row['low']:.2g} to {row['high']:.2g}) {row['unit']}", (0.01, place), fontsize=6,
                va="center",
            )  # fmt: skip
    if len(summary) > len(shown):
        axes.set_title(f"the first {len(shown)} of {len(summary)}", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.25, axis="x")


def _name(row: Mapping[str, Any]) -> str:
    what = next((str(row[key]) for key in ("operation", "feature", "scale") if key in row), "")
    return f"{row['class']}: {what}" if "class" in row else what


def _draw_images(axes: Axes, images: npt.NDArray[Any], labels: Sequence[Any]) -> None:
    """The first new ones, row by row; what is no uint8 is scaled from its least to its greatest value."""
    some = images[: _GRID * _GRID].astype(np.float64)
    low, high = (0.0, 255.0) if images.dtype == np.uint8 else (float(some.min()), float(some.max()))
    some = np.clip((some - low) / max(high - low, 1e-12), 0, 1)
    n, h, w, channels = some.shape
    sheet = np.ones((_GRID * (h + 1), _GRID * (w + 1), channels))
    for k in range(n):
        row, column = divmod(k, _GRID)
        sheet[row * (h + 1) : row * (h + 1) + h, column * (w + 1) : column * (w + 1) + w] = some[k]
    axes.imshow(sheet[..., :3] if channels >= 3 else sheet[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    axes.set_title("new images, first row: " + ", ".join(str(label) for label in labels[:_GRID]), fontsize=8)
