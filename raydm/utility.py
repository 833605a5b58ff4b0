"""Utility: trains the R predictors of a step and scores each on the validation set D^v."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import RaydmError, RolloutError
from raydm.metrics import Metric
from raydm.predictors import Predictor, Seeds, TrainingSets
from raydm.seeding import rollout_seeds


@dataclass(frozen=True)
class Problem:
    """What every rollout of a run shares.

    Attributes:
        predictor: how f_theta is trained.
        valid: the trusted validation set D^v, M examples.
        task: what is predicted.
        metric: scores the predictions.
        seed: the run's seed.
        shared_restart: every rollout restarts from the same initial weights (see `raydm.seeding.rollout_seeds`).
        shard: rollouts trained at once. It never depends on how many workers there are, so that the same rollouts
            are computed together, and give the same bits, wherever they run.
    """

    predictor: Predictor
    valid: Examples
    task: Task
    metric: Metric
    seed: int
    shared_restart: bool = True
    shard: int = 16

    def seeds(self, step: int, rollouts: int) -> Seeds:
        """One seed per rollout: (R,)."""
        return rollout_seeds(self.seed, step, rollouts, shared=self.shared_restart)

    def shards(self, rollouts: int) -> list[slice]:
        """Which rollouts make each shard; the last may be smaller."""
        return [slice(a, min(a + self.shard, rollouts)) for a in range(0, rollouts, self.shard)]


class Utility(Protocol):
    """What the learner calls; in one process or on a cluster, with the same numbers."""

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utilities u (R,) of R training sets, higher is better.

        Raises:
            RolloutError: a training failed or its score is not finite.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: as on an actor, so that both give the same bits; and fastest for small stacks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def score_shard(problem: Problem, sets: TrainingSets, seeds: Seeds) -> np.ndarray:
    """Trains a shard of r rollouts and scores each on D^v: (r,) float64. Runs in whichever process has the shard."""
    # Fresh copies are aligned alike everywhere; matrix products may round differently where the alignment differs.
    sets = TrainingSets(sets.x.clone(), sets.y.clone(), sets.w.clone(), sets.task)
    with one_thread():
        predictions = problem.predictor.fit_predict(sets, torch.from_numpy(problem.valid.x).clone(), seed=seeds)
    y = torch.from_numpy(problem.valid.y).to(predictions.device)
    u: np.ndarray = problem.metric.utility(predictions.detach(), y).cpu().numpy()
    return u


def checked(u: np.ndarray, seeds: Seeds, step: int) -> Tensor:
    """The utilities as a tensor (R,) float32, if each is finite.

    Raises:
        RolloutError: naming step, rollout and seed.
    """
    bad = np.flatnonzero(~np.isfinite(u))
    if len(bad):
        raise RolloutError(
            f"Step {step}: the score of rollout {bad[0]} (seed {seeds[bad[0]]}) is {u[bad[0]]}; {len(bad)} of {len(u)} "
            "rollouts are not finite. The predictor's training diverged: lower its learning rate, or look for extreme "
            "values in the features."
        )
    return torch.from_numpy(u).float()


def failed(step: int | str, cause: object) -> RolloutError:
    """The error for a training that raised something."""
    where = f"Step {step}: a rollout's training" if isinstance(step, int) else step
    return RolloutError(
        f"{where} failed: {cause!r}. Check its arguments, and try it by itself on a few rows; sets with few "
        "rows of a class, or none, reach it as they are drawn."
    )


class InProcess:
    """Runs the shards one after the other in this process.

    Args:
        problem: what the rollouts share.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utilities u (R,)."""
        seeds = self.problem.seeds(step, sets.rollouts)
        shards = self.problem.shards(sets.rollouts)
        try:
            u = np.concatenate([score_shard(self.problem, sets[s], seeds[s]) for s in shards])
        except RaydmError:
            raise
        except Exception as error:  # whatever a predictor of the user's own may raise
            raise failed(step, error) from error
        return checked(u, seeds, step)

    def close(self) -> None:
        """Nothing is held."""
