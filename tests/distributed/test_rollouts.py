"""Rollouts on actors: the same bits as in one process, whatever happens to the actors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import ray
import torch

from raydm import DataValuator
from raydm.data import Examples
from raydm.data.task import Task
from raydm.distributed import Connection, RayRollouts, RayUtility
from raydm.errors import ClusterError, ParameterError, RolloutError
from raydm.predictors import Seeds, TrainingSets, make_predictor
from raydm.utility import InProcess, Problem, Redrawn, Utility
from raydm.valuation.banzhaf import banzhaf
from raydm.valuation.game import Game
from raydm.valuation.leave_one_out import leave_one_out
from raydm.valuation.shapley import shapley

TASK = Task("classification", 3)
Pools = dict[int, RayUtility]

# Classes of this module reach the actors by value: the actors cannot import a test.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def drawn(train: Examples, rollouts: int) -> TrainingSets:
    w = (torch.rand(rollouts, len(train), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    return TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, TASK)


@pytest.mark.parametrize("actors", [1, 4])
@pytest.mark.parametrize("predictor", ["logistic", "mlp", "naive-bayes"])
def test_the_bits_are_those_of_one_process(
    digits_small: Any, problem: Problem, pools: Pools, actors: int, predictor: str
) -> None:
    given = replace(problem, predictor=make_predictor(predictor))
    sets = drawn(digits_small[0], 10)  # shards of 4, 4 and 2
    pools[actors].turn_to(given)
    torch.testing.assert_close(pools[actors](sets, step=5), InProcess(given)(sets, step=5), rtol=0, atol=0)


@pytest.mark.parametrize("actors", [1, 4])
@pytest.mark.parametrize("predictor", ["logistic", "mlp", "naive-bayes"])
def test_the_predictions_are_those_of_one_process(
    digits_small: Any, problem: Problem, pools: Pools, actors: int, predictor: str
) -> None:
    given = replace(problem, predictor=make_predictor(predictor))
    sets, x = drawn(digits_small[0], 10), torch.from_numpy(digits_small[1].x[:7])
    pools[actors].turn_to(given)
    here, there = (u.predictions(sets, x, step=5) for u in (InProcess(given), pools[actors]))
    assert here.shape == (10, 7, 3)
    torch.testing.assert_close(there, here, rtol=0, atol=0)


def test_sets_of_their_own_for_each_rollout(digits_small: Any, problem: Problem, pools: Pools) -> None:
    shared = drawn(digits_small[0], 6)
    x = shared.x * torch.linspace(0.5, 1.5, 6)[:, None, None]
    own = TrainingSets(x, shared.y.expand(6, -1).clone(), shared.w, TASK)
    pools[4].turn_to(problem)
    torch.testing.assert_close(pools[4](own, step=0), InProcess(problem)(own, step=0), rtol=0, atol=0)
    here, there = (u.predictions(own, shared.x[:3], step=0) for u in (InProcess(problem), pools[4]))
    torch.testing.assert_close(there, here, rtol=0, atol=0)


def borrowed(pool: RayUtility) -> Callable[[Problem], Utility]:
    """Lets a valuator use actors that it must not end."""

    class Borrowed:
        def __call__(self, sets: TrainingSets, *, step: int) -> torch.Tensor:
            return pool(sets, step=step)

        def carry(self, redrawn: Redrawn, *, step: int) -> None:
            pool.carry(redrawn, step=step)

        def turn_to(self, problem: Problem) -> None:
            pool.turn_to(problem)

        def close(self) -> None:
            pass

    def make(problem: Problem) -> Utility:
        pool.turn_to(problem)
        return Borrowed()

    return make


def test_values_do_not_depend_on_where_or_on_how_many_actors(pools: Pools) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5))
    y = (x[:, 0] > 0).astype(int)
    arguments = {"steps": 4, "rollouts": 8, "outer_batch": 32, "shard": 2, "predictor": "mlp"}
    values = [
        DataValuator(**arguments, utility=where).fit(x[:60], y[:60], X_valid=x[60:], y_valid=y[60:]).values_
        for where in (InProcess, borrowed(pools[1]), borrowed(pools[4]))
    ]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


def test_a_valuator_starts_and_ends_actors_of_its_own(cluster: Connection) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = (x[:, 0] > 0).astype(int)
    before = ray.available_resources()["CPU"]
    where = RayRollouts(actors=1)
    DataValuator(steps=2, rollouts=2, utility=where).fit(x[:30], y[:30], X_valid=x[30:], y_valid=y[30:])
    eventually(lambda: ray.available_resources().get("CPU", 0) == before)


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert holds()


class Slow:
    """Takes a while, so that an actor can be killed while it trains; predicts what its weights decide."""

    differentiable = False

    def fit_predict(self, given: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        time.sleep(1.0)
        share = given.w.mean(1)[:, None, None].expand(-1, len(x), 1)
        return torch.cat([share, 1 - share, torch.zeros_like(share)], -1)


def test_a_killed_actor_changes_nothing(digits_small: Any, problem: Problem, pools: Pools) -> None:
    given = replace(problem, predictor=Slow(), shard=2)
    sets = drawn(digits_small[0], 8)
    pools[4].turn_to(given)
    victim = ray.get(pools[4].workers[0].process.remote())
    threading.Timer(0.5, os.kill, (victim, signal.SIGKILL)).start()  # in the middle of the first shard
    torch.testing.assert_close(pools[4](sets, step=0), InProcess(given)(sets, step=0), rtol=0, atol=0)
    assert ray.get(pools[4].workers[0].process.remote()) != victim  # it came back as another process


class Hanging:
    """Never ends at some rollouts."""

    differentiable = False

    def __init__(self, seeds: Seeds) -> None:
        self.seeds = seeds

    def fit_predict(self, given: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        if np.array_equal(seed, self.seeds):
            time.sleep(3600)
        return torch.full((given.rollouts, len(x), 3), 1 / 3)


def test_a_rollout_that_hangs_is_told(digits_small: Any, problem: Problem, cluster: Connection) -> None:
    """Where it hangs once, another actor does it: see test_faults.py, for actors take long to start."""
    own = replace(problem, shard=2, shared_restart=False)
    seeds = own.seeds(0, 4)
    pool = RayRollouts(actors=1, timeout=1.0, tries=1)(replace(own, predictor=Hanging(seeds[2:])))
    named = rf"Step 0, rollouts 2 to 3 \(seeds {seeds[2]}, {seeds[3]}\): tried 1 times, .*took longer than 1 s"
    try:
        with pytest.raises(RolloutError, match=named):
            pool(drawn(digits_small[0], 4), step=0)
    finally:
        pool.close()


class Failing:
    differentiable = False

    def __init__(self, how: str) -> None:
        self.how = how

    def fit_predict(self, given: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        if self.how == "raise":
            raise ZeroDivisionError("no rows")
        return torch.full((given.rollouts, len(x), 3), float("nan"))


@pytest.mark.parametrize(
    ("how", "message"),
    [("raise", r"Step 7: a rollout's training failed.*no rows"), ("nan", r"Step 7: .*rollout 0 .*nan")],
)
def test_a_failed_rollout_names_the_step(
    digits_small: Any, problem: Problem, pools: Pools, how: str, message: str
) -> None:
    given = replace(problem, predictor=Failing(how))
    pools[1].turn_to(given)
    for utility in (pools[1], InProcess(given)):
        with pytest.raises(RolloutError, match=message):
            utility(drawn(digits_small[0], 2), step=7)
        with pytest.raises(RolloutError, match=message.replace("rollout 0 .*nan", "prediction of rollout 0 .*NaN")):
            utility.predictions(drawn(digits_small[0], 2), torch.from_numpy(digits_small[0].x), step=7)


def test_what_can_never_be_placed_is_refused_at_once(problem: Problem, cluster: Connection) -> None:
    started = time.monotonic()
    with pytest.raises(
        ClusterError, match=r"13 rollout actors of 1 CPU each can never be placed.*offer 12 CPU.*hold 12"
    ):
        RayRollouts(actors=13)(problem)
    with pytest.raises(ClusterError, match=r"25 rollout actors of 0.5 CPU each .*hold 24"):
        RayRollouts(actors=25, cpus_per_actor=0.5)(problem)
    with pytest.raises(ClusterError, match=r"1 CPU, 0.25 GPU each can never be placed"):
        RayRollouts(actors=1, gpus_per_actor=0.25)(problem)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("actors", 0), ("cpus_per_actor", 0.0), ("cpus_per_actor", float("nan")), ("gpus_per_actor", -1.0)),
        *(("timeout", 0.0), ("timeout", float("nan")), ("tries", 0), ("tries", 1.5)),
    ],
)
def test_a_field_out_of_range_is_named(problem: Problem, name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=name):
        RayRollouts(**{name: value})(problem)


def test_no_cluster_at_the_address_is_told_at_once() -> None:
    code = "from raydm.distributed import connect\nconnect('127.0.0.1:1')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "ClusterError: No Ray cluster could be joined at '127.0.0.1:1'" in done.stderr


@pytest.mark.parametrize("game", ["leave-one-out", "shapley", "banzhaf"])
def test_games_have_the_bits_of_one_process(digits_small: Any, problem: Problem, pools: Pools, game: str) -> None:
    play = {
        "leave-one-out": lambda g: leave_one_out(g, chunk=20),
        "shapley": lambda g: shapley(g, permutations=4, abreast=4),
        "banzhaf": lambda g: banzhaf(g, subsets=30, chunk=20),
    }[game]
    given = replace(problem, predictor=make_predictor("logistic"), shard=8)
    pools[4].turn_to(given)
    (*_, here), (*_, there) = (play(Game(digits_small[0], given, u)) for u in (InProcess(given), pools[4]))
    np.testing.assert_array_equal(here.values, there.values)
    assert here.evaluations == there.evaluations
