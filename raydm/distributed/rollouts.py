"""Rollouts on Ray actors: the utility of `raydm.utility`, with its shards spread over a cluster.

What overlaps with rollouts is what leaves their results as they are. Step t + 1's actions are drawn by the phi that
step t ends with, which needs all of its utilities: so policy and update cannot run beside rollouts. What can, does:
while actors train, arguments of further shards are cut, serialised and sent, and results fetched and checked as they
come.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from raydm.checks import check_integer
from raydm.distributed.actors import RayWorkers
from raydm.distributed.cluster import Connection, connect, hide_gpus, require
from raydm.distributed.controller import Controller
from raydm.distributed.workers import Limits
from raydm.errors import ParameterError, RaydmError
from raydm.predictors import Seeds, TrainingSets
from raydm.utility import (
    Problem,
    Redrawn,
    checked_predictions,
    failed,
    gathered,
    per_rollout,
    predict_shard,
    score_shard,
)

_LEAST = 1e-4  # Ray counts resources in this unit
_NAMED = 4  # seeds in a message


class RolloutActor:
    """Trains shards. It keeps no state at all: every call brings what it needs, so any call can be tried again."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # small stacks are fastest so
        hide_gpus()

    def process(self) -> int:
        """The actor's process id; answers once the actor is placed."""
        return os.getpid()

    def score(
        self,
        problem: Problem,
        shared: tuple[Any, Any],
        own: tuple[Any, Any, Any],
        seeds: Seeds,
        wanted: tuple[bool, bool, bool],
    ) -> list[np.ndarray]:
        """The utilities (r,) of one shard, and their slopes (see `raydm.utility.score_shard`).

        Args:
            problem: put once for the run.
            shared: x and y of the step, where all rollouts share them (else None): put once, read without a copy.
            own: x and y of this shard's rollouts (None where shared), and their weights (r, N).
            seeds: (r,).
            wanted: whether slopes in x, in y and in w are wanted.
        """
        sets = _sets(problem, shared, own)
        for tensor, slope in zip((sets.x, sets.y, sets.w), wanted, strict=True):
            if slope:
                tensor.requires_grad_()
        return score_shard(problem, sets, seeds)

    def predict(
        self, problem: Problem, shared: tuple[Any, Any], own: tuple[Any, Any, Any], seeds: Seeds, rows: np.ndarray
    ) -> np.ndarray:
        """The predictions (r, M, C) of one shard for rows (M, D), which are put once; the rest is as in `score`."""
        return predict_shard(problem, _sets(problem, shared, own), seeds, _tensor(rows)).cpu().numpy()


def _sets(problem: Problem, shared: tuple[Any, Any], own: tuple[Any, Any, Any]) -> TrainingSets:
    x, y = (common if common is not None else mine for common, mine in zip(shared, own[:2], strict=True))
    return TrainingSets(_tensor(x), _tensor(y), _tensor(own[2]), problem.task)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))  # Ray's arrays are read-only, which torch cannot express


@dataclass(frozen=True)
class RayRollouts:
    """Makes a problem's utility run on Ray: pass it as `DataValuator(utility=RayRollouts(actors=4))`.

    Values are bit-identical to those of one process and do not depend on the number of actors, nor on actors or nodes
    that die on the way (as long as the processors are of one kind).

    Attributes:
        actors: long-lived workers, >= 1; each trains one shard at a time on one thread.
        cpus_per_actor: CPUs that Ray reserves for each, > 0.
        gpus_per_actor: GPUs, or a fraction of one, that Ray reserves for each.
        address: of a running cluster; None: RAY_ADDRESS, else one is started here.
        timeout: seconds that a shard may train, > 0; then its actor is replaced, and the shard tried by another.
        tries: how often a shard may lose its actor, or its time, before the run ends with an error, >= 1.
    """

    actors: int = 2
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    address: str | None = None
    timeout: float = Limits.timeout
    tries: int = Limits.tries

    def __call__(self, problem: Problem) -> RayUtility:
        """Joins or starts the cluster and places the actors.

        Raises:
            ParameterError: a field is out of its range.
            ClusterError: no cluster, or one that can never place the actors.
        """
        if not (isinstance(self.actors, int) and self.actors >= 1):
            raise ParameterError.of("actors", "RayRollouts", "an integer >= 1", self.actors)
        if not (math.isfinite(self.cpus_per_actor) and self.cpus_per_actor >= _LEAST):
            raise ParameterError.of("cpus_per_actor", "RayRollouts", f"a number >= {_LEAST}", self.cpus_per_actor)
        if not (self.gpus_per_actor == 0 or (math.isfinite(self.gpus_per_actor) and self.gpus_per_actor >= _LEAST)):
            raise ParameterError.of("gpus_per_actor", "RayRollouts", f"0 or >= {_LEAST}", self.gpus_per_actor)
        if not (isinstance(self.timeout, (int, float)) and self.timeout > 0):
            raise ParameterError.of("timeout", "RayRollouts", "a number of seconds > 0", self.timeout)
        check_integer("RayRollouts", "tries", self.tries, 1)
        connection = connect(self.address)
        try:
            require(self.actors, {"CPU": self.cpus_per_actor, "GPU": self.gpus_per_actor}, "rollout actors")
            return RayUtility(problem, self, connection)
        except BaseException:
            connection.close()
            raise


class RayUtility:
    """The utility of a problem, computed by actors. Made by `RayRollouts`, or over actors that there are.

    Attributes:
        problem: what the rollouts share.
    """

    def __init__(
        self,
        problem: Problem,
        on: RayRollouts,
        connection: Connection,
        workers: RayWorkers | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._connection = connection
        each = {"CPU": on.cpus_per_actor, "GPU": on.gpus_per_actor}
        actor: Any = ray.remote(RolloutActor).options(num_cpus=on.cpus_per_actor, num_gpus=on.gpus_per_actor)
        self._workers = workers or RayWorkers(actor.remote, on.actors, each, "rollout actors")
        self._controller = Controller(self._workers, limits or Limits(timeout=on.timeout, tries=on.tries))
        try:
            self.turn_to(problem)
            self._workers.settle()
        except BaseException:
            self._workers.close()
            raise

    @property
    def workers(self) -> list[Any]:
        """Handles of the actors as they are now."""
        return self._workers.handles

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """Nothing: each rollout trains a predictor of its own."""

    def turn_to(self, problem: Problem) -> None:
        """Lets the same actors, which take seconds to start, work on another problem."""
        self.problem, self._shared_problem = problem, ray.put(problem)

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utilities u (R,)."""
        sets = per_rollout(sets)
        wanted = (sets.x.requires_grad, sets.y.requires_grad, sets.w.requires_grad)
        parts, seeds = self._shards("score", sets, step, wanted, _finite_in_all)
        return gathered(parts, sets, seeds, step)

    def predictions(self, sets: TrainingSets, x: Tensor, *, step: int) -> Tensor:
        """Of rows x (M, D): (R, M, C)."""
        rows = ray.put(x.detach().cpu().numpy())
        parts, seeds = self._shards("predict", sets, step, rows, _finite)
        return checked_predictions(np.concatenate(parts), seeds, step)

    def close(self) -> None:
        """Ends the actors, and the cluster where it was started for them."""
        self._workers.close()
        self._connection.close()

    def _shards(
        self, work: str, sets: TrainingSets, step: int, more: Any, sound: Callable[[Any], bool]
    ) -> tuple[list[Any], Seeds]:
        """What that method of the actors gives for each shard, and the seeds (R,)."""
        seeds = self.problem.seeds(step, sets.rollouts)
        shards = _Shards(self.problem, self._shared_problem, work, sets, seeds, step, more, sound)
        return self._controller.run(shards), seeds


class _Shards:
    """The shards of one call, as the controller hands them out; arguments are cut out when they are sent."""

    def __init__(
        self,
        problem: Problem,
        shared_problem: Any,
        method: str,
        sets: TrainingSets,
        seeds: Seeds,
        step: int,
        more: Any,
        sound: Callable[[Any], bool],
    ) -> None:
        self._problem, self._method, self._seeds, self._step, self._more = shared_problem, method, seeds, step, more
        self._slices = problem.shards(sets.rollouts)
        x, y, self._w = (t.detach().cpu().numpy() for t in (sets.x, sets.y, sets.w))
        self._x, self._y = None if sets.x_is_shared else x, None if sets.y_is_shared else y
        self._shared = ray.put((x if self._x is None else None, y if self._y is None else None))
        self.accepts = sound

    def __len__(self) -> int:
        return len(self._slices)

    def work(self, shard: int) -> tuple[str, tuple[Any, ...]]:
        s = self._slices[shard]
        own = (None if self._x is None else self._x[s], None if self._y is None else self._y[s], self._w[s])
        return self._method, (self._problem, self._shared, own, self._seeds[s], self._more)

    def name(self, shard: int) -> str:
        s = self._slices[shard]
        seeds = [str(seed) for seed in dict.fromkeys(self._seeds[s].tolist())]
        told = ", ".join(seeds[:_NAMED]) + (", ..." if len(seeds) > _NAMED else "")
        return f"Step {self._step}, rollouts {s.start} to {s.stop - 1} (seed{'s' * (len(seeds) > 1)} {told})"

    def failed(self, shard: int, error: BaseException) -> Exception:
        return error if isinstance(error, RaydmError) else failed(self._step, error)


def _finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())


def _finite_in_all(arrays: list[np.ndarray]) -> bool:
    return all(_finite(array) for array in arrays)
