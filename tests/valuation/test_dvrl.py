"""DVRL's assembly: settings, the released code's baseline, values of new examples, the trivial rankings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raydm.baselines import FullData, LeaveOneOut, MovingAverage
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation import DVRL, Settings

TASK = Task("classification", 3)
QUICK = Settings(steps=3, rollouts=4, outer_batch=20)


@pytest.fixture
def problem(digits_small: tuple[Examples, Examples]) -> Problem:
    return Problem(make_predictor("logistic"), digits_small[1], TASK, METRICS["accuracy"], seed=0)


def test_the_full_data_baseline_is_the_score_of_a_predictor_trained_on_everything(
    digits_small: Any, problem: Problem
) -> None:
    train = digits_small[0]
    sets = TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), torch.ones(1, len(train)), TASK)
    predictions = problem.predictor.fit_predict(sets, torch.from_numpy(problem.valid.x), seed=problem.seeds(0, 1))
    expected = float((predictions[0].argmax(-1).numpy() == problem.valid.y).mean())
    baseline = DVRL(train, problem, replace(QUICK, baseline="full-data"))._baseline(InProcess(problem))
    assert isinstance(baseline, FullData)
    assert baseline.utility == pytest.approx(expected)


@pytest.mark.parametrize(("name", "kind"), [("moving-average", MovingAverage), ("leave-one-out", LeaveOneOut)])
def test_baselines_by_name(digits_small: Any, problem: Problem, name: str, kind: type) -> None:
    dvrl = DVRL(digits_small[0], problem, replace(QUICK, baseline=name))
    assert isinstance(dvrl._baseline(InProcess(problem)), kind)


def test_new_examples_are_valued_as_training_examples_are(digits_small: Any, problem: Problem) -> None:
    dvrl = DVRL(digits_small[0], problem, QUICK)
    for _ in dvrl.steps():
        pass
    every = dvrl.value_function.values(digits_small[0])
    some = dvrl.value_function.values(digits_small[0].take([5, 3]))
    np.testing.assert_allclose(some, every[[5, 3]], rtol=1e-6)


def test_a_label_that_the_validation_model_doubts_ranks_low(digits_small: Any, problem: Problem) -> None:
    train = digits_small[0]
    wrong = replace(train, y=np.where(np.arange(len(train)) < 10, (train.y + 1) % 3, train.y))
    ranking = DVRL(wrong, problem, QUICK).inputs(wrong)["marginal_information"]
    assert set(np.argsort(ranking)[:10]) == set(range(10))  # these digits are easy: every flip is found


def test_learning_changes_phi_and_stops_when_nobody_asks(digits_small: Any, problem: Problem) -> None:
    dvrl = DVRL(digits_small[0], problem, QUICK)
    before = dvrl.value_function.values(digits_small[0])
    steps = dvrl.steps()
    next(steps)
    after_one = dvrl.value_function.values(digits_small[0])
    steps.close()
    assert not np.array_equal(before, after_one)
    np.testing.assert_array_equal(dvrl.value_function.values(digits_small[0]), after_one)


def test_annealing_ends_at_a_standstill(digits_small: Any, problem: Problem) -> None:
    """The cosine reaches 0 at the last step, so its neighbour's step is 1/2 (1 - cos(pi / T)) of the first's length."""

    def moves(anneal: bool) -> list[float]:
        dvrl = DVRL(digits_small[0], problem, Settings(steps=20, rollouts=4, outer_batch=20, anneal=anneal))
        seen = [p.detach().clone() for p in dvrl.manipulation.parameters()]
        lengths = []
        for _ in dvrl.steps():
            now = [p.detach().clone() for p in dvrl.manipulation.parameters()]
            lengths.append(float(sum((a - b).square().sum() for a, b in zip(now, seen, strict=True)) ** 0.5))
            seen = now
        return lengths

    falling, constant = moves(True), moves(False)
    assert falling[0] == pytest.approx(constant[0])
    assert falling[-1] < 0.05 * constant[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("hidden", 0),
        ("exploration", float("inf")),
        ("baseline", "none"),
        ("mean_bounds", (0.7, 0.3)),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=name):
        replace(QUICK, **{name: value}).check()


def test_one_rollout_needs_a_baseline_that_looks_back() -> None:
    with pytest.raises(ParameterError, match="'rollouts' parameter must be >= 2"):
        Settings(rollouts=1).check()
    Settings(rollouts=1, baseline="moving-average", reward_scale=1.0).check()


def test_between_steps_the_threads_are_the_consumer_s(digits_small: Any, problem: Problem) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = DVRL(digits_small[0], problem, QUICK).steps(), DVRL(digits_small[0], problem, QUICK).steps()
        for _ in zip(first, second, strict=True):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_target_s_value_does_not_depend_on_its_neighbours_in_the_call() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    y = np.where(np.arange(40) % 4 == 0, 0, x[:, 0]).astype(np.float32)  # some targets are 0
    examples = Examples(x, y, np.arange(40))
    targets = Problem(make_predictor("linear"), examples, Task("regression", 1), METRICS["rmse"], seed=0)
    function = DVRL(examples, targets, QUICK).value_function
    alone = np.concatenate([function.values(examples.take([i])) for i in range(8)])
    np.testing.assert_allclose(alone, function.values(examples)[:8], rtol=1e-5)
