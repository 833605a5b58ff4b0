"""Rollouts per second on Ray actors against one process, and what the controller itself costs a step.

    python jobs/bench/rollouts.py [--actors 2] [--shard-seconds 0.5] [--steps 4]

One thread each. The shard is sized so that training it takes at least the wanted time; the two alternate, step by step,
and must give the same bits. The controller's time is that of a step whose shards take no time at all. Prints one JSON
line.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

import numpy as np
import torch

from raydm.data import Examples
from raydm.data.task import Task
from raydm.distributed import RayRollouts, RayUtility
from raydm.metrics import METRICS
from raydm.predictors import Seeds, TrainingSets, make_predictor
from raydm.utility import InProcess, Problem, Utility

FEATURES, CLASSES, EXAMPLES, VALID = 64, 10, 256, 200
TASK = Task("classification", CLASSES)


class Instant:
    """A predictor that takes no time, so that only the controller's own is left."""

    differentiable = False

    def fit_predict(self, sets: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        return torch.full((sets.rollouts, len(x), CLASSES), 1 / CLASSES)


def drawn(rollouts: int) -> TrainingSets:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(EXAMPLES, FEATURES, generator=generator)
    y = torch.randint(0, CLASSES, (EXAMPLES,), generator=generator)
    return TrainingSets(x, y, (torch.rand(rollouts, EXAMPLES, generator=generator) < 0.5).float(), TASK)


def timed(utility: Utility, sets: TrainingSets, step: int) -> tuple[float, torch.Tensor]:
    started = time.perf_counter()
    u = utility(sets, step=step)
    return time.perf_counter() - started, u


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--shard-seconds", type=float, default=0.5)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    valid = Examples(
        rng.normal(size=(VALID, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, VALID), np.arange(VALID)
    )

    def problem(shard: int) -> Problem:
        return Problem(make_predictor("mlp", device="cpu"), valid, TASK, METRICS["log-likelihood"], 0, shard=shard)

    shard = 16
    while timed(InProcess(problem(shard)), drawn(shard), 0)[0] < arguments.shard_seconds:
        shard *= 2
    given, sets = problem(shard), drawn(shard * arguments.shards)
    here = InProcess(given)
    there: RayUtility = RayRollouts(actors=arguments.actors)(given)
    timed(there, sets, 0)  # the actors' first call imports and warms up
    pairs = [(timed(here, sets, t), timed(there, sets, t)) for t in range(arguments.steps)]
    ratios = [local / ray for (local, _), (ray, _) in pairs]
    equal = all(torch.equal(a, b) for (_, a), (_, b) in pairs)

    there.turn_to(Problem(Instant(), valid, TASK, METRICS["log-likelihood"], 0, shard=1))  # type: ignore[arg-type]
    costs = {}
    for shards in (4, 16):
        step = drawn(shards)
        timed(there, step, 0)
        costs[shards] = 1000 * median(timed(there, step, t)[0] for t in range(20))
    there.close()
    line = {
        "actors": arguments.actors,
        "rollouts_a_shard": shard,
        "shard_s": round(median(local for (local, _), _ in pairs) / arguments.shards, 3),
        "ratio": round(median(ratios), 2),
        "ratios": [round(r, 2) for r in ratios],
        "bits_equal": equal,
        "controller_ms": {f"{shards} shards": round(cost, 1) for shards, cost in costs.items()},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
