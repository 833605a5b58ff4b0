"""Evidence, against worlds that are worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.metrics import metric_for
from raydm.predictors import Seeds, TrainingSets
from raydm.report.evidence import INSPECTED, LEARNED, REMOVED, discovery, removal, verdict
from raydm.report.plots import plot_discovery, plot_removal
from raydm.utility import Problem

N = 20  # so that 5 % is one example


class Average:
    """Predicts, for every row, the weighted mean label of its training set: what each removal does can be counted."""

    differentiable = False

    def fit_predict(self, sets: TrainingSets, x: Tensor, *, seed: Seeds) -> Tensor:
        y = torch.nn.functional.one_hot(sets.y, 2).double() if sets.task.kind == "classification" else sets.y[:, None]
        mean = (sets.w.double() @ y.double()) / sets.w.sum(-1, keepdim=True)  # (R, C)
        return mean[:, None].expand(-1, len(x), -1)

    def fit(self, sets: TrainingSets, *, seed: Seeds) -> Any:
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        return {"name": "custom"}


def world(task: Task, y: np.ndarray, truth: np.ndarray) -> tuple[Problem, Examples, Examples]:
    train, judge = (Examples(np.zeros((len(a), 1), np.float32), a, np.arange(len(a))) for a in (y, truth))
    return Problem(Average(), judge, task, metric_for(None, task.kind), seed=0), train, judge


GOOD = np.arange(N) % 2  # every second example has the right label
CLASSES = world(Task("classification", 2), GOOD.astype(np.int64), np.array([1, 1, 1, 0]))


def test_removing_the_lowest_of_a_right_ranking_raises_the_score() -> None:
    # Ten labels of each class: a tie, which argmax gives to class 0, right on 1 of the 4 judging rows. Without one or
    # more of the wrong labels class 1 has the majority: right on 3 of 4. Without right ones it stays at class 0.
    problem, train, judge = CLASSES
    found = removal({LEARNED: GOOD.astype(float), "inverse": -GOOD.astype(float)}, problem, train, judge)
    assert found["removed"] == pytest.approx(np.arange(11) / 20)
    assert found["metric"] == "accuracy"
    assert found["lowest"] == {LEARNED: [0.25] + [0.75] * 10, "inverse": [0.25] * 11}
    assert found["highest"] == {LEARNED: [0.25] * 11, "inverse": [0.25] + [0.75] * 10}
    assert found["gain"] == {LEARNED: 0.5, "inverse": -0.5}


def test_ties_are_removed_in_the_order_of_the_rows_from_both_ends() -> None:
    # A constant ranking removes rows 0, 1, 2 ... = labels 0, 1, 0 ...: after an odd number class 1 leads by one.
    problem, train, judge = CLASSES
    found = removal({"constant": np.ones(N)}, problem, train, judge)
    assert found["lowest"]["constant"] == found["highest"]["constant"] == [0.25, 0.75] * 5 + [0.25]
    assert found["gain"]["constant"] == 0


def test_gain_is_higher_for_better_values_also_where_the_metric_is_an_error() -> None:
    # Targets 0 (wrong) and 2 (right); the judge holds 2. Without k wrong ones the mean is 20 / (20 - k), without k
    # right ones 2 (10 - k) / (20 - k), and the error is 2 minus that.
    problem, train, judge = world(
        Task("regression", 1), (2 * GOOD).astype(np.float32), np.full(3, 2, np.float32)
    )  # fmt: skip
    found = removal({LEARNED: GOOD.astype(float)}, problem, train, judge)
    k = np.arange(11)
    lowest, highest = 2 - 20 / (20 - k), 2 - 2 * (10 - k) / (20 - k)
    assert found["metric"] == "rmse"
    assert found["lowest"][LEARNED] == pytest.approx(lowest)
    assert found["highest"][LEARNED] == pytest.approx(highest)
    assert found["gain"][LEARNED] == pytest.approx((highest - lowest)[1:].mean())
    assert found["gain"][LEARNED] > 0


def test_discovery_by_hand() -> None:
    flipped = np.zeros(N, bool)
    flipped[:4] = True
    right = np.arange(N, dtype=float)  # the flipped are the lowest
    found = discovery({LEARNED: right, "inverse": -right, "constant": np.ones(N)}, flipped)
    assert found["auc"] == {LEARNED: 1.0, "inverse": 0.0, "constant": 0.5}
    # The cut through 0 .. 19 lies in the middle: ten are called flipped, with all four among them, or none.
    assert found["f1"] == {LEARNED: pytest.approx(2 * 4 / (10 + 4)), "inverse": 0.0, "constant": 0.0}
    assert found["flipped"] == 0.2
    share = np.array(found["inspected"])
    assert share == pytest.approx(np.arange(21) / 20)
    assert found["recall"][LEARNED] == pytest.approx(np.minimum(share / 0.2, 1))
    assert found["recall"]["inverse"] == pytest.approx(np.maximum((share - 0.8) / 0.2, 0))
    assert found["recall"]["constant"] == pytest.approx(share)


def test_one_misplaced_pair_costs_its_share_of_the_auc() -> None:
    flipped = np.array([True, True, False, True, False, False])  # 1 of the 9 pairs is in the wrong order
    assert discovery({LEARNED: np.arange(6.0)}, flipped)["auc"][LEARNED] == pytest.approx(8 / 9)


@pytest.mark.parametrize(
    ("own", "better"), [(0.91, True), (0.9, True), (0.4, False), (float("nan"), False)], ids=str
)  # fmt: skip
def test_verdict_says_plainly_which(own: float, better: bool) -> None:
    yes, sentence = verdict({LEARNED: own, "random": 0.5, "forest": 0.9}, "discovery AUC", None)
    assert yes is better
    assert sentence == f"discovery AUC: {own:.4f}" + (
        "; the best other ranking (forest) has 0.9000."
        if better
        else ", NO better than another ranking (forest, 0.9000)."
    )


def test_verdict_is_against_the_best_of_the_other_rankings() -> None:
    assert verdict({LEARNED: 0.1, "random": 0.05, "forest": -0.3}, "gain", None)[0]
    assert not verdict({LEARNED: 0.1, "random": 0.2, "forest": -0.3}, "gain", None)[0]


def test_verdict_names_the_input_that_was_returned_and_does_not_compare_it_with_itself() -> None:
    whose = "gain: 0.9000 (of the input 'forest': nothing that was learned was better on held-out trusted rows)"
    yes, sentence = verdict({LEARNED: 0.9, "random": 0.5, "forest": 0.9 + 1e-12}, "gain", "forest")  # rounded otherwise
    assert (yes, sentence) == (True, f"{whose}; the best other ranking (random) has 0.5000.")
    yes, sentence = verdict({LEARNED: 0.9, "pooled": 0.95, "forest": 0.9}, "gain", "forest")
    assert (yes, sentence) == (False, f"{whose}, NO better than another ranking (pooled, 0.9500).")


def test_plots_are_pictures_whose_legend_is_outside_the_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("raydm.report.plots.Figure", _recorded(drawn))
    curves = {LEARNED: [0.0] * 11, "random": [1.0] * 11}
    plot_removal(
        {"metric": "rmse", "removed": REMOVED, "lowest": curves, "highest": curves}, tmp_path / "r.png", "t", "test"
    )  # fmt: skip
    recall = {LEARNED: list(INSPECTED), "random": list(INSPECTED)}
    plot_discovery(
        {"inspected": INSPECTED, "recall": recall, "auc": {LEARNED: 0.5, "random": 0.5}, "flipped": 0.2},
        tmp_path / "d.png",
        "t",
    )
    for figure, name, lines in zip(drawn, ("r.png", "d.png"), (4, 3), strict=True):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        (axes,), (legend,) = figure.axes, figure.legends
        assert len(axes.lines) == len(legend.get_texts()) == lines
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())
        assert legend.get_window_extent().x0 >= 0
        assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert drawn[0].axes[0].get_ylabel() == "rmse on the test set, lower is better"


def _recorded(drawn: list[Any]) -> Any:
    from matplotlib.figure import Figure

    def make(*arguments: Any, **named: Any) -> Figure:
        drawn.append(Figure(*arguments, **named))
        return drawn[-1]

    return make
