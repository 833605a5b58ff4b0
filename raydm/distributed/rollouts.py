"""Rollouts on Ray actors: the utility of `raydm.utility`, with its shards spread over a cluster."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from raydm.distributed.cluster import Connection, connect, require
from raydm.errors import ParameterError, RaydmError, RaydmWarning, RolloutError
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
_PATIENCE_S = 60
_RESTARTS = 10  # an actor that dies more often than this is ill, not unlucky


class RolloutActor:
    """Trains shards. It keeps no state at all: every call brings what it needs, so any call can be tried again."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # small stacks are fastest so
        if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides no GPU from an actor that asked for none

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

    Values are bit-identical to those of one process and do not depend on the number of actors, nor on actors that die
    on the way (as long as the processors are of one kind).

    Attributes:
        actors: long-lived workers, >= 1; each trains one shard at a time on one thread.
        cpus_per_actor: CPUs that Ray reserves for each, > 0.
        gpus_per_actor: GPUs, or a fraction of one, that Ray reserves for each.
        address: of a running cluster; None: RAY_ADDRESS, else one is started here.
    """

    actors: int = 2
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    address: str | None = None

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
        connection = connect(self.address)
        try:
            require(self.actors, {"CPU": self.cpus_per_actor, "GPU": self.gpus_per_actor}, "rollout actors")
            return RayUtility(problem, self, connection)
        except BaseException:
            connection.close()
            raise


class RayUtility:
    """The utility of a problem, computed by actors. Made by `RayRollouts`.

    Attributes:
        problem: what the rollouts share.
        workers: handles of the actors.
    """

    def __init__(self, problem: Problem, on: RayRollouts, connection: Connection) -> None:
        self._connection = connection
        make: Any = ray.remote(RolloutActor).options(
            num_cpus=on.cpus_per_actor,
            num_gpus=on.gpus_per_actor,
            max_restarts=_RESTARTS,
            max_task_retries=_RESTARTS,
        )
        self.workers = [make.remote() for _ in range(on.actors)]
        self.turn_to(problem)
        placed = [w.process.remote() for w in self.workers]
        _, waiting = ray.wait(placed, num_returns=len(placed), timeout=_PATIENCE_S)
        if waiting:
            warnings.warn(
                f"{len(waiting)} of {on.actors} actors still wait for a place: others hold the cluster's resources, or "
                "an autoscaler is adding nodes. Learning starts when all are placed; fewer actors may start now.",
                RaydmWarning,
                stacklevel=3,
            )
        ray.get(placed)

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """Nothing: each rollout trains a predictor of its own."""

    def turn_to(self, problem: Problem) -> None:
        """Lets the same actors, which take seconds to start, work on another problem."""
        self.problem, self._shared_problem = problem, ray.put(problem)

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utilities u (R,)."""
        sets = per_rollout(sets)
        wanted = (sets.x.requires_grad, sets.y.requires_grad, sets.w.requires_grad)
        parts, seeds = self._shards("score", sets, step, wanted)
        return gathered(parts, sets, seeds, step)

    def predictions(self, sets: TrainingSets, x: Tensor, *, step: int) -> Tensor:
        """Of rows x (M, D): (R, M, C)."""
        parts, seeds = self._shards("predict", sets, step, ray.put(x.detach().cpu().numpy()))
        return checked_predictions(np.concatenate(parts), seeds, step)

    def close(self) -> None:
        """Ends the actors, and the cluster where it was started for them."""
        for worker in self.workers:
            ray.kill(worker)
        self._connection.close()

    def _shards(self, work: str, sets: TrainingSets, step: int, more: Any) -> tuple[list[Any], Seeds]:
        """What that method of the actors gives for each shard, and the seeds; shard i goes to actor i modulo A."""
        seeds = self.problem.seeds(step, sets.rollouts)
        x, y, w = (t.detach().cpu().numpy() for t in (sets.x, sets.y, sets.w))
        shared = ray.put((x if sets.x_is_shared else None, y if sets.y_is_shared else None))
        pending = [
            getattr(self.workers[i % len(self.workers)], work).remote(
                self._shared_problem,
                shared,
                (None if sets.x_is_shared else x[s], None if sets.y_is_shared else y[s], w[s]),
                seeds[s],
                more,
            )
            for i, s in enumerate(self.problem.shards(sets.rollouts))
        ]
        try:
            return ray.get(pending), seeds
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, RaydmError):
                raise error.cause from None
            raise failed(step, error.cause) from error
        except ray.exceptions.RayActorError as error:
            raise RolloutError(
                f"Step {step}: an actor died {_RESTARTS + 1} times. It may be out of memory: lower --shard or "
                f"--outer-batch. Ray says: {error}"
            ) from error
