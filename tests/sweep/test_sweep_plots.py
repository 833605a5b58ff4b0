"""Plots of a sweep, and where values stand on their axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from raydm.report.sweep import Scale, plot_sweep


def row(trial: int, settings: dict[str, Any], utility: float, curve: Any = ()) -> dict[str, Any]:
    chosen = {"threshold": 0.5} if curve else {}
    return {"trial": trial, "state": "finished", "settings": settings, "chosen": chosen, "utility": utility,
            "curve": list(curve)}  # fmt: skip


def test_scales() -> None:
    places = Scale.of(["std", 2.0, 0.25, 2.0, None])
    assert (places.kind, places.values) == ("places", (0.25, 2.0, "std"))
    assert [places.at(v) for v in (0.25, 2.0, "std")] == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert Scale.of([1, 2, 4]).at(2) == pytest.approx(1 / 3)
    log = Scale.of([0.001, 0.1, 10])
    assert log.kind == "log"
    assert log.at(0.1) == pytest.approx(0.5)
    assert Scale.of([0, 100]).kind == "linear"
    assert (Scale.of([3, 3]).kind, Scale.of([[1], [2]]).kind, Scale.of([True, False]).kind) == ("places",) * 3
    assert log.ticks() == [(0.0, "0.001"), (pytest.approx(0.5), "0.1"), (1.0, "10")]
    assert len(Scale.of([k / 10 for k in range(1, 30)]).ticks()) == 5


@pytest.mark.parametrize("trials", [1, 3, 12])
def test_each_plot_that_there_is_something_for(tmp_path: Path, trials: int) -> None:
    curve = [{"threshold": t, "utility": t * 0.1, "pick": pick} for t in (0.0, 0.5, 1.0) for pick in ("best", "most")]
    rows = [
        row(k, {"reward_scale": [0.5, "std", 2.0][k % 3], "lr": 10.0**-k}, -1.0 / (k + 1), curve) for k in range(trials)
    ]
    rows.append({"trial": trials, "state": "failed", "settings": {"reward_scale": 9.0, "lr": 1.0}, "error": "no"})
    rows[0]["settings"]["schedule"] = {"5": {"lr": 0.5}}
    plot_sweep(rows, ["reward_scale", "lr"], tmp_path, "a sweep")
    assert {file.name for file in tmp_path.iterdir()} == {"parallel.png", "threshold.png", "reward_scale.png"}
    for file in tmp_path.iterdir():
        assert min(Image.open(file).size) > 400


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    plot_sweep([row(0, {}, 0.5)], [], tmp_path, "")
    plot_sweep([row(0, {"a": 1}, float("nan"))], ["a"], tmp_path, "")
    assert list(tmp_path.iterdir()) == []
