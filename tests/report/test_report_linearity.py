"""Label error in a run's evidence: what it holds, and its plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import RaydmWarning, RolloutError
from raydm.metrics import METRICS
from raydm.mixing.linearity import label_error
from raydm.mixing.mixer import Mixer
from raydm.mixing.pairs import Pairs
from raydm.mixing.partners import NoPartners, SameNeighbors
from raydm.mixing.shares import FixedShares
from raydm.predictors import make_predictor
from raydm.report.linearity import draw_curve, linearity_evidence, plot_linearity
from raydm.utility import Problem


def rows(n: int, seed: int = 0) -> Examples:
    x = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    return Examples(x, x[:, 0] ** 2, np.arange(n))


TRAIN = rows(50)


def evidence(partners: Any, train: Examples = TRAIN, **params: Any) -> dict[str, Any]:
    predictor = make_predictor("neighbors", **{"k": 2, **params})
    problem = Problem(predictor, rows(10, 1), Task("regression", 1), METRICS["rmse"], seed=0)
    found = linearity_evidence(problem, train, Mixer(partners, FixedShares()).pairs(train, 0))
    assert found is not None
    return found


def test_it_tells_of_all_pairs_of_real_rows_and_of_its_own_mixed_ones() -> None:
    found = evidence(SameNeighbors("data", 3))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["real_rows"]["rows"] == 50
    y = TRAIN.y.astype(float)
    assert found["real_rows"]["error_of_mean"] == pytest.approx(np.abs(y - y.mean()).mean() / y.std())
    assert found["real_rows"]["error"] < found["real_rows"]["error_of_mean"]
    own = found["mixed_rows"]
    assert own["pairs"] == len(Mixer(SameNeighbors("data", 3), FixedShares()).pairs(TRAIN, 0))
    assert own["data_distance"] == sorted(own["data_distance"])
    assert own["data_distance"][2] < found["by_data"]["distance"][-1]
    assert own["error"] < found["by_data"]["error"][-1]  # far ones are worse
    bins = len(found["by_data"]["error"]), len(found["by_label"]["error"])
    assert np.shape(found["by_both"]["error"]) == np.shape(found["by_both"]["pairs"]) == bins
    assert evidence(NoPartners())["mixed_rows"] is None


@pytest.mark.parametrize("broken", ["few rows", "a training that fails"])
def test_a_run_is_not_lost_for_it(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def fail(*_: Any) -> Any:
        raise RolloutError("it diverged")

    train = TRAIN
    if broken == "few rows":
        train = rows(4)
    else:
        monkeypatch.setattr("raydm.report.linearity.limited_linearity", fail)
    problem = Problem(make_predictor("neighbors", k=1), rows(3), Task("regression", 1), METRICS["rmse"], seed=0)
    none = np.empty(0, np.int64)
    with pytest.warns(RaydmWarning, match="The run has no analysis of linearity: "):
        assert linearity_evidence(problem, train, Pairs(none, none, np.empty(0), np.empty(0, "U5"))) is None


def test_at_most_so_many_rows_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("raydm.report.linearity._MOST", 20)
    monkeypatch.setattr(
        "raydm.report.linearity.label_error", lambda t, pairs, r: seen.append(len(pairs)) or label_error(t, pairs, r)
    )
    found = evidence(SameNeighbors("data", 3))
    assert seen == [20, 20, 20]  # by the reference, by the mean, and mixed
    assert (found["real_rows"]["rows"], found["mixed_rows"]["pairs"]) == (20, 20)


@pytest.mark.parametrize("partners", [NoPartners(), SameNeighbors("label", 2)], ids=["none", "own"])
@pytest.mark.parametrize("n", [6, 50])
def test_the_plots_are_pictures(tmp_path: Path, partners: Any, n: int) -> None:
    found = evidence(partners, rows(n), k=1)
    plot_linearity(found, tmp_path / "linearity.png", "a title")
    picture = imread(tmp_path / "linearity.png")
    assert picture.shape[0] > 300 < picture.shape[1]
    assert picture.std() > 0.05
    axes = Figure().subplots()
    draw_curve(axes, found, "by_label")
    assert axes.get_ylabel() == "label error (standard deviations)"
    assert len(axes.get_legend_handles_labels()[1]) == (2 if isinstance(partners, NoPartners) else 3)
