"""Plots of a sweep: parallel coordinates, utility against threshold, and against reward scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from raydm.sweep.ledger import Row
from raydm.sweep.results import FINISHED, best
from raydm.sweep.spaces import Settings

_COLOURS = colormaps["viridis"]
_UTILITY = "utility on the trusted rows (higher is better)"
_NAMED = 8  # lines that a legend names
_LETTERS = 80  # of a legend's line
_WIDE = 30.0  # largest over smallest of numbers > 0, from which an axis is logarithmic


@dataclass(frozen=True)
class Scale:
    """Where the values of a setting stand on its axis.

    Attributes:
        values: that are known, sorted; numbers first, then words.
        kind: "linear", "log", or "places": one beside the other.
    """

    values: tuple[Any, ...]
    kind: str

    @classmethod
    def of(cls, values: Sequence[Any]) -> Scale:
        """A scale that suits them."""
        known = [value for value in values if value is not None]
        distinct = sorted({repr(v): v for v in known}.values(), key=lambda v: (not _is_number(v), _order(v), str(v)))
        if not all(_is_number(v) for v in distinct) or len(distinct) < 2:
            return cls(tuple(distinct), "places")
        low, high = min(distinct), max(distinct)
        return cls(tuple(distinct), "log" if low > 0 and high / low >= _WIDE else "linear")

    def at(self, value: Any) -> float:
        """In [0, 1] from the least to the largest."""
        if self.kind == "places":
            return (self.values.index(value) + 0.5) / len(self.values)
        low, high, own = (self._number(v) for v in (self.values[0], self.values[-1], value))
        return (own - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Places in [0, 1] and what stands there: every value where they are few."""
        few = self.kind == "places" or len(self.values) <= _NAMED
        if few:
            return [(self.at(v), _text(v)) for v in self.values]
        low, high = self._number(self.values[0]), self._number(self.values[-1])
        marks = [low + (high - low) * k / 4 for k in range(5)]
        return [(k / 4, _text(10**mark if self.kind == "log" else mark)) for k, mark in enumerate(marks)]

    def _number(self, value: float) -> float:
        return math.log10(value) if self.kind == "log" else float(value)


def plot_sweep(rows: Sequence[Row], names: Sequence[str], folder: Path, title: str) -> None:
    """Writes the plots that there is something for: parallel.png, threshold.png, reward_scale.png.

    Args:
        rows: of the trials, one finished at least.
        names: of the settings that were searched.
        folder: that exists.
        title: of all.
    """
    finished = [row for row in rows if row["state"] == FINISHED and math.isfinite(row["utility"])]
    if not finished:
        return
    if names:
        _plot_parallel(finished, rows, names, folder / "parallel.png", title)
    if any(row["curve"] and "threshold" in row["curve"][0] for row in finished):
        _plot_thresholds(finished, names, folder / "threshold.png", title)
    if "reward_scale" in names:
        _plot_reward_scale(finished, folder / "reward_scale.png", title)


def _plot_parallel(finished: Sequence[Row], rows: Sequence[Row], names: Sequence[str], file: Path, title: str) -> None:
    """A line for each trial through its settings, coloured by its utility, which is the last axis."""
    figure = Figure(figsize=(max(5.0, 2.0 * len(names) + 2.5), 4.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    settings = [_settings(row) for row in rows]
    scales = {name: Scale.of([own.get(name) for own in settings]) for name in names}
    utilities = [row["utility"] for row in finished]
    low, high = min(utilities), max(utilities)
    if not high > low:  # all alike: in the middle of some scale
        low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
    colour = Normalize(low, high)
    for row in sorted(finished, key=lambda row: row["utility"]):
        own = _settings(row)
        through = [scales[name].at(own[name]) for name in names]
        end = (row["utility"] - low) / (high - low)
        top = row["trial"] == best(finished)["trial"]
        width = 3.0 if top else 1.2
        axes.plot(range(len(names) + 1), [*through, end], color=_COLOURS(colour(row["utility"])), linewidth=width,
                  alpha=1 if top else 0.7, marker="o", markersize=3, clip_on=False)  # fmt: skip
    for place, name in enumerate(names):
        axes.axvline(place, color="black", linewidth=0.8)
        for at, text in scales[name].ticks():
            axes.annotate(text, (place, at), xytext=(-4, 0), textcoords="offset points", ha="right", va="center",
                          fontsize=8, bbox={"boxstyle": "round,pad=0.1", "color": "white", "alpha": 0.7})  # fmt: skip
    axes.axvline(len(names), color="black", linewidth=0.8)
    axes.set_xticks([*range(len(names) + 1)], [*names, "utility"], fontsize=9)
    axes.set(yticks=[], ylim=(-0.03, 1.03), xlim=(-0.45, len(names) + 0.05))
    axes.spines[["left", "right", "top", "bottom"]].set_visible(False)
    figure.colorbar(ScalarMappable(colour, _COLOURS), ax=axes, label=_UTILITY, fraction=0.05, pad=0.02)
    figure.savefig(file, format="png")


def _plot_thresholds(finished: Sequence[Row], names: Sequence[str], file: Path, title: str) -> None:
    """Utility of each trial by threshold; of each pick, where there are several, its own kind of line."""
    figure = Figure(figsize=(7.2, 5.2), dpi=130, layout="constrained")
    axes = _axes(figure, title)
    ranked = sorted(finished, key=lambda row: -row["utility"])
    few = len(ranked) <= _NAMED
    order = sorted(ranked, key=lambda row: [_rank(_settings(row).get(name)) for name in names])
    for number, row in enumerate(order):
        shade = _COLOURS(number / max(1, len(order) - 1) * 0.9)
        picks = dict.fromkeys(point.get("pick") for point in row["curve"])
        label = ", ".join(f"{name} {_text(_settings(row).get(name))}" for name in names) or f"trial {row['trial']}"
        for pick, style in zip(picks, ("-", "--"), strict=False):
            own = [point for point in row["curve"] if point.get("pick") == pick]
            told = label if pick is None or len(picks) < 2 else f"{label}, {pick} option"
            axes.plot([p["threshold"] for p in own], [p["utility"] for p in own], style, color=shade, linewidth=1.4,
                      marker="o", markersize=3, label=told if few or row is ranked[0] else None)  # fmt: skip
    top = ranked[0]
    at = top["chosen"].get("threshold")
    points = [p for p in top["curve"] if p["threshold"] == at and p.get("pick") == top["chosen"].get("pick")]
    for point in points[:1]:
        axes.plot(at, point["utility"], "o", markersize=11, fillstyle="none", color="black", label="the best trial's T")
    axes.set(xlabel="threshold T", ylabel=_UTILITY)
    _save(figure, file)


def _plot_reward_scale(finished: Sequence[Row], file: Path, title: str) -> None:
    """Utility of each trial by its reward scale, and the highest of each."""
    figure = Figure(figsize=(6.4, 4.6), dpi=130, layout="constrained")
    axes = _axes(figure, title)
    found = [(_settings(row)["reward_scale"], row["utility"]) for row in finished]
    scale = Scale.of([value for value, _ in found])
    many = scale.kind != "places" and len(scale.values) > _NAMED

    def place(value: Any) -> float:
        return scale.at(value) if many else float(scale.values.index(value))

    axes.plot([place(v) for v, _ in found], [u for _, u in found], "o", color="#0072B2", alpha=0.6, label="a trial")
    if len(found) > len(scale.values):
        highest = [max(u for v, u in found if v == value) for value in scale.values]
        axes.plot([place(v) for v in scale.values], highest, color="#D55E00", label="the highest of each")
    ticks = scale.ticks() if many else [(place(v), _text(v)) for v in scale.values]
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.set(xlabel="reward scale C", ylabel=_UTILITY)
    _save(figure, file)


def _settings(row: Row) -> Settings:
    """A trial's settings; of a population's member those that it ended with."""
    own = dict(row["settings"])
    for _, changes in sorted((int(step), changes) for step, changes in own.pop("schedule", {}).items()):
        own |= changes
    return own


def _axes(figure: Figure, title: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _save(figure: Figure, file: Path) -> None:
    labels = [text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]]
    columns = max(1, min(3, _LETTERS // max(map(len, labels))))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    figure.savefig(file, format="png")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _order(value: Any) -> float:
    return float(value) if _is_number(value) else 0.0


def _rank(value: Any) -> tuple[bool, float, str]:
    return not _is_number(value), _order(value), str(value)


def _text(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 16 else text[:13] + "..."
