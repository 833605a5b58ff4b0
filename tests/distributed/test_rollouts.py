"""Rollouts on actors: the same bits as in one process, whatever happens to the actors."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest
import ray
import torch

from raydm import DataValuator
from raydm.data import Examples
from raydm.data.task import Task
from raydm.distributed import Connection, RayRollouts
from raydm.errors import ClusterError, ParameterError, RolloutError
from raydm.metrics import METRICS
from raydm.predictors import Seeds, TrainingSets, make_predictor
from raydm.utility import InProcess, Problem

TASK = Task("classification", 3)
pytestmark = pytest.mark.usefixtures("cluster")


def problem(data: tuple[Examples, Examples], predictor: Any = "mlp", **params: Any) -> Problem:
    made = make_predictor(predictor, **params)
    return Problem(made, data[1], TASK, METRICS["log-likelihood"], seed=3, shard=4)


def sets(train: Examples, rollouts: int) -> TrainingSets:
    w = (torch.rand(rollouts, len(train), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    return TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, TASK)


@pytest.mark.parametrize("actors", [1, 4])
@pytest.mark.parametrize("predictor", ["logistic", "mlp", "naive-bayes"])
def test_the_bits_are_those_of_one_process(digits_small: Any, actors: int, predictor: str) -> None:
    given = problem(digits_small, predictor)
    drawn = sets(digits_small[0], 10)  # shards of 4, 4 and 2
    expected = InProcess(given)(drawn, step=5)
    utility = RayRollouts(actors=actors)(given)
    try:
        torch.testing.assert_close(utility(drawn, step=5), expected, rtol=0, atol=0)
    finally:
        utility.close()


def test_sets_of_their_own_for_each_rollout(digits_small: Any) -> None:
    given, drawn = problem(digits_small), sets(digits_small[0], 6)
    x = drawn.x * torch.linspace(0.5, 1.5, 6)[:, None, None]
    own = TrainingSets(x, drawn.y.expand(6, -1).clone(), drawn.w, TASK)
    utility = RayRollouts(actors=2)(given)
    try:
        torch.testing.assert_close(utility(own, step=0), InProcess(given)(own, step=0), rtol=0, atol=0)
    finally:
        utility.close()


def test_values_do_not_depend_on_where_or_on_how_many_actors() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5))
    y = (x[:, 0] > 0).astype(int)
    arguments = {"steps": 4, "rollouts": 8, "outer_batch": 32, "shard": 2, "predictor": "mlp"}
    values = [
        DataValuator(**arguments, utility=where).fit(x[:60], y[:60], X_valid=x[60:], y_valid=y[60:]).values_
        for where in (InProcess, RayRollouts(actors=1), RayRollouts(actors=4))
    ]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


class Slow:
    """Takes a while, so that an actor can be killed while it trains; predicts what its weights decide."""

    differentiable = False

    def fit_predict(self, given: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        time.sleep(1.0)
        share = given.w.mean(1)[:, None, None].expand(-1, len(x), 1)
        return torch.cat([share, 1 - share, torch.zeros_like(share)], -1)


def test_a_killed_actor_changes_nothing(digits_small: Any) -> None:
    given = Problem(Slow(), digits_small[1], TASK, METRICS["log-likelihood"], seed=0, shard=2)  # type: ignore[arg-type]
    drawn = sets(digits_small[0], 8)
    expected = InProcess(given)(drawn, step=0)
    utility = RayRollouts(actors=2)(given)
    try:
        actor_of = {ray.get(w.process.remote()): w for w in utility.workers}
        victim = next(iter(actor_of))
        kill_soon(victim, after=0.5)
        torch.testing.assert_close(utility(drawn, step=0), expected, rtol=0, atol=0)
        assert victim not in [ray.get(w.process.remote()) for w in utility.workers]  # it came back as another process
    finally:
        utility.close()


def kill_soon(process: int, *, after: float) -> None:
    import threading

    threading.Timer(after, os.kill, (process, signal.SIGKILL)).start()


class Failing:
    differentiable = False

    def __init__(self, how: str) -> None:
        self.how = how

    def fit_predict(self, given: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        if self.how == "raise":
            raise ZeroDivisionError("no rows")
        return torch.full((given.rollouts, len(x), 3), float("nan"))


@pytest.mark.parametrize(
    ("how", "message"), [("raise", r"Step 7: a rollout failed.*no rows"), ("nan", r"Step 7: .* rollout 0 .*nan")]
)
def test_a_failed_rollout_names_the_step(digits_small: Any, how: str, message: str) -> None:
    given = Problem(Failing(how), digits_small[1], TASK, METRICS["log-likelihood"], seed=0)  # type: ignore[arg-type]
    utility = RayRollouts(actors=1)(given)
    try:
        with pytest.raises(RolloutError, match=message):
            utility(sets(digits_small[0], 2), step=7)
    finally:
        utility.close()


def test_what_can_never_be_placed_is_refused_at_once(digits_small: Any, cluster: Connection) -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"5 rollout actors of 1 CPU each can never be placed.*offer 4 CPU.*hold 4"):
        RayRollouts(actors=5)(problem(digits_small))
    with pytest.raises(ClusterError, match=r"1 CPU, 0.25 GPU each can never be placed"):
        RayRollouts(actors=1, gpus_per_actor=0.25)(problem(digits_small))
    assert time.monotonic() - started < 5
    RayRollouts(actors=8, cpus_per_actor=0.5)(problem(digits_small)).close()  # fits exactly


@pytest.mark.parametrize(("name", "value"), [("actors", 0), ("cpus_per_actor", 0.0), ("gpus_per_actor", -1.0)])
def test_a_field_out_of_range_is_named(digits_small: Any, name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=name):
        RayRollouts(**{name: value})(problem(digits_small))  # type: ignore[arg-type]


def test_closing_gives_the_places_back(digits_small: Any) -> None:
    utility = RayRollouts(actors=4)(problem(digits_small))
    utility.close()
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU", 0) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 4
