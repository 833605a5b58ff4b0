"""The controller with up to 1,000 simulated rollout workers: how many shards a second, and what stragglers cost.

    python jobs/bench/controller.py [--workers 50 200 1000] [--shards-per-worker 4] [--latency S] [--seconds 20]

The controller and its Ray transport are the real ones; each submission and result is a call of a Ray actor with the
arguments of a real shard (weights of 16 rollouts of 1,000 rows, and references to what is shared). What is simulated is
the training: workers live in a few asyncio actors, a worker being a number and a lock there, and "train" by sleeping.

How long is drawn from what a real shard was measured to take (--latency S: scaled to this median), times --slow for 5 %
of the workers (stragglers: machines that are slow), or of the shards (nobody knows where). A worker dies after a shard
with probability --deaths, and is begun again.

Prints, as JSON lines:
  shard       what a real shard takes on one actor here: median and 95th percentile of seconds
  transport   "none": the controller alone, workers in simulated time: its own bound
  throughput  for each number of workers: shards a second sustained; utilisation, the processor's time of the
              controller's thread by the clock's (near 1: it is saturated); the same of the driver, with Ray's threads;
              and what the workers could do if they never waited
  saturation  the number of workers of this latency that the controller keeps busy, by the rate it reached when it was
              busiest; and for shards of a second
  stragglers  step times with and without, and their ratio, on Ray and in simulated time
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray
import torch

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.distributed import connect
from raydm.distributed.actors import RayWorkers
from raydm.distributed.controller import Controller
from raydm.distributed.simulated import Act, SimulatedWorkers
from raydm.distributed.workers import Died, Event, Limits, Raised
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import Problem, score_shard

ROWS, FEATURES, ROLLOUTS = 1000, 64, 16
FASTEST_S = 0.002  # below, a sleep says more about the machine than about the controller


class DeadError(Exception):
    """A simulated worker died."""


class Host:
    """Many workers, each of which does one shard after the other."""

    def __init__(self) -> None:
        self.locks: dict[int, asyncio.Lock] = {}

    async def process(self) -> int:
        return os.getpid()

    async def work(self, worker: int, seconds: float, dies: bool, *arguments: Any) -> list[np.ndarray]:
        async with self.locks.setdefault(worker, asyncio.Lock()):
            await asyncio.sleep(seconds)
        if dies:
            raise DeadError
        return [np.zeros(ROLLOUTS)]


class SimulatedRayWorkers(RayWorkers):
    """The real transport, where several workers share an actor."""

    def __init__(self, workers: int, hosts: Sequence[Any], fate: Fate) -> None:
        self.hosts, self.fate = hosts, fate
        super().__init__(lambda: None, workers, {}, "simulated workers")

    def submit(self, worker: int, work: tuple[str, Sequence[Any]]) -> Any:
        seconds, dies = self.fate(worker)
        return super().submit(worker, ("work", (worker, seconds, dies, *work[1])))

    def replace(self, worker: int) -> None:
        self._in_flight = {r: whose for r, whose in self._in_flight.items() if whose != worker}
        self._begin(worker)

    def _begin(self, worker: int) -> None:
        self.handles[worker] = self.hosts[worker % len(self.hosts)]
        reference = self.handles[worker].process.remote()
        self._starting[worker] = reference, self.now()
        self._in_flight[reference] = worker

    def _event(self, reference: Any, worker: int) -> Event:
        event = super()._event(reference, worker)
        return Died(worker, "simulated") if isinstance(event, Raised) and isinstance(event.error, DeadError) else event

    def close(self) -> None:
        """The hosts are not its own."""


class Fate:
    """How long a shard takes on a worker, and whether it dies of it."""

    def __init__(self, seconds: Sequence[float], arguments: argparse.Namespace, stragglers: str) -> None:
        self.rng, self.seconds, self.stragglers = random.Random(arguments.seed), seconds, stragglers
        self.share, self.slow, self.deaths = arguments.stragglers, arguments.slow, arguments.deaths
        self.drawn: dict[int, bool] = {}

    def __call__(self, worker: int) -> tuple[float, bool]:
        if self.stragglers == "shards":
            slow = self.rng.random() < self.share
        else:
            slow = self.stragglers == "workers" and self.drawn.setdefault(worker, self.rng.random() < self.share)
        return self.rng.choice(self.seconds) * (self.slow if slow else 1.0), self.rng.random() < self.deaths


class Shards:
    """Shards whose arguments weigh what real ones do."""

    def __init__(self, count: int, shared: Any) -> None:
        self.count, self.shared = count, shared
        self.w = np.zeros((ROLLOUTS, ROWS), dtype=np.float32)
        self.seeds = np.zeros(ROLLOUTS, dtype=np.int64)

    def __len__(self) -> int:
        return self.count

    def work(self, shard: int) -> tuple[str, tuple[Any, ...]]:
        return "work", (self.shared, self.shared, (None, None, self.w), self.seeds, (False, False, False))

    def accepts(self, result: Any) -> bool:
        return bool(np.isfinite(result[0]).all())

    def name(self, shard: int) -> str:
        return f"shard {shard}"

    def failed(self, shard: int, error: BaseException) -> Exception:
        return RuntimeError(repr(error))


def say(what: str, **row: Any) -> None:
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}
    print(json.dumps({"what": what} | rounded | {"load": round(os.getloadavg()[0], 1)}), flush=True)


def measured(times: int) -> list[float]:
    """Seconds of real shards: 16 logistic regressions on 1,000 rows of 64 features, on one thread."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, FEATURES)).astype(np.float32), rng.integers(0, 2, ROWS)
    valid = Examples(x[:200], y[:200], np.arange(200))
    problem = Problem(make_predictor("logistic"), valid, Task("classification", 2), METRICS["accuracy"], 0)
    w = (torch.rand(ROLLOUTS, ROWS) < 0.5).float()
    sets = TrainingSets(torch.from_numpy(x), torch.from_numpy(y), w, problem.task)
    found = []
    for _ in range(times + 2):
        before = time.perf_counter()
        score_shard(problem, sets, problem.seeds(0, ROLLOUTS))
        found.append(time.perf_counter() - before)
    return sorted(found[2:])


def bare(workers: int, fate: Fate, per_worker: int, steps: int) -> tuple[list[float], float]:
    """Step times in simulated seconds, and shards a second of real time: no Ray, no sleeping."""
    crew = SimulatedWorkers(workers, lambda worker, work: _act(fate, worker))
    controller, shards = Controller(crew, limits(fate)), Shards(workers * per_worker, None)
    took, started = [], time.perf_counter()
    for _ in range(steps):
        before = crew.clock
        controller.run(shards)
        took.append(crew.clock - before)
    return took, steps * len(shards) / (time.perf_counter() - started)


def _act(fate: Fate, worker: int) -> Act:
    seconds, dies = fate(worker)
    return Act(seconds, dies=True) if dies else Act(seconds, [np.zeros(ROLLOUTS)])


def limits(fate: Fate) -> Limits:
    """The usual ones; but as long as deaths are dice, none is anybody's fault."""
    return Limits(tries=10**6, deaths=10**6, least=min(0.1, statistics.median(fate.seconds)))


def on_ray(workers: int, hosts: Sequence[Any], fate: Fate, shared: Any, per_worker: int, seconds: float) -> Any:
    """Steps for some seconds, but the first: step times, shards a second, and how busy thread and driver were."""
    crew = SimulatedRayWorkers(workers, hosts, fate)
    controller, shards = Controller(crew, limits(fate)), Shards(workers * per_worker, shared)
    controller.run(shards)
    took: list[float] = []
    started = time.perf_counter(), time.thread_time(), time.process_time()
    while sum(took) < seconds or len(took) < 3:
        before = time.perf_counter()
        controller.run(shards)
        took.append(time.perf_counter() - before)
    ended = time.perf_counter(), time.thread_time(), time.process_time()
    wall, thread, process = (b - a for a, b in zip(started, ended, strict=True))
    return took, len(took) * len(shards) / wall, thread / wall, process / wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[25, 100, 250, 500, 1000])
    parser.add_argument("--hosts", type=int, default=4, help="actors that the workers live in")
    parser.add_argument("--shards-per-worker", type=int, default=4, help="in a step")
    parser.add_argument("--latency", type=float, help="median seconds of a shard (default: as measured)")
    parser.add_argument("--straggling-latency", type=float, default=2.0, help="median seconds where stragglers are "
                        "measured: long enough for the controller not to be what is measured")  # fmt: skip
    parser.add_argument("--stragglers", type=float, default=0.05)
    parser.add_argument("--slow", type=float, default=10.0)
    parser.add_argument("--deaths", type=float, default=0.0005)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--only", nargs="+", default=["bare", "throughput", "stragglers"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    real = measured(60)
    median = statistics.median(real)
    say("shard", median=median, p95=real[int(0.95 * len(real))], rollouts=ROLLOUTS, rows=ROWS)

    def scaled(to: float | None) -> list[float]:
        return [max(FASTEST_S, s * (to or median) / median) for s in real]

    per_worker = arguments.shards_per_worker
    most = max(arguments.workers)
    if "bare" in arguments.only:
        for workers in arguments.workers:
            _, rate = bare(workers, Fate(scaled(None), arguments, "none"), per_worker, 10)
            say("transport", transport="none", workers=workers, shards_per_second=rate)
        for kind in ("workers", "shards"):
            for k in (1, 2, 4, 8):
                steps = {s: bare(most, Fate(scaled(1.0), arguments, s), k, 8)[0] for s in ("none", kind)}
                say("stragglers", transport="none", slow=kind, workers=most, shards_per_worker=k,
                    **_ratio(steps["none"], steps[kind]))  # fmt: skip
    if {"throughput", "stragglers"} & {*arguments.only}:
        connection = connect(num_cpus=arguments.hosts)
        try:
            _measure_on_ray(arguments, scaled, most, per_worker)
        finally:
            connection.close()


def _measure_on_ray(arguments: argparse.Namespace, scaled: Any, most: int, per_worker: int) -> None:
    make: Any = ray.remote(Host).options(num_cpus=1, max_concurrency=100_000)
    hosts = [make.remote() for _ in range(arguments.hosts)]
    shared = ray.put(np.zeros((ROWS, FEATURES), dtype=np.float32))
    if "throughput" in arguments.only:
        best = 0.0
        for workers in arguments.workers:
            fate = Fate(scaled(arguments.latency), arguments, "none")
            _, rate, thread, process = on_ray(workers, hosts, fate, shared, per_worker, arguments.seconds)
            best = max(best, rate)
            could = workers / statistics.mean(fate.seconds)
            say("throughput", workers=workers, shards_per_second=rate, utilisation=thread, driver=process, could=could)
        mean = statistics.mean(scaled(arguments.latency))
        say(
            "saturation",
            shards_per_second=best,
            workers=int(best * mean),
            latency=mean,
            workers_of_one_second=int(best),
        )
    if "stragglers" in arguments.only:
        seconds = scaled(arguments.straggling_latency)
        for kind in ("workers", "shards"):
            steps = {
                s: on_ray(most, hosts, Fate(seconds, arguments, s), shared, per_worker, 3 * arguments.seconds)
                for s in ("none", kind)
            }
            say("stragglers", transport="ray", slow=kind, workers=most, shards_per_worker=per_worker,
                latency=arguments.straggling_latency, utilisation=steps[kind][2],
                **_ratio(steps["none"][0], steps[kind][0]))  # fmt: skip


def _ratio(without: list[float], stragglers: list[float]) -> dict[str, float]:
    """Means over the steps: single ones depend on who is slow."""
    a, b = statistics.mean(without), statistics.mean(stragglers)
    return {"step_without": a, "step_with": b, "ratio": b / a, "worst_ratio": max(stragglers) / a}


if __name__ == "__main__":
    sys.exit(main())
