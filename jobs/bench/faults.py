"""The fault table: what happens to a run when something dies, fills up, hangs or goes wrong.

    python jobs/bench/faults.py [--runs 100] [--node-runs 20] [--driver-runs 20] [--only actor node ...] [--seed 0]

On a real Ray cluster of three nodes here (a head without CPUs, two nodes of one CPU; 100 MiB of object store each). A
run is DVRL on 80 rows of digits, on two actors; "identical" means that its values, and its utilities at each step, have
the bits of a run that nothing disturbed. Faults come at a random time of the run; runs that ended before are repeated.

  actor   an actor is killed (SIGKILL)
  node    a worker node is killed, with all its processes; another joins when the run is over
  driver  `raydm value` is killed (SIGKILL) after its first step, and resumed with --resume; `lost` is how many steps
          had been begun that the resumed run did again
  torn    the journal of a killed run is cut at a random byte, then resumed (identical); or a byte is changed (told)
  disk    the journal cannot grow, then the run cannot be written (both told), then there is room
  store   640 MB of training sets, and large predictions, through object stores of 100 MiB
  nan     a rollout gives NaN: once (identical), always (told by step, rollout and seed)
  hang    a rollout never ends: once (identical), always (told by step, rollouts and seeds)

Prints one JSON line for each fault: runs, identical, told (ended with the error that it should), and `bad`, anything
else. Exits with 1 if anything was bad.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.datasets import load_digits

from raydm import DataValuator
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.distributed import Connection, RayRollouts, RayUtility, connect
from raydm.errors import RolloutError
from raydm.metrics import METRICS
from raydm.predictors import Seeds, TrainingSets
from raydm.utility import InProcess, Problem, Redrawn, Utility

import ray  # isort: skip  # after raydm, which turns token authentication on
from ray.cluster_utils import Cluster  # isort: skip

STORE = 100 * 2**20
STEPS, ROLLOUTS, SHARD = 12, 8, 2
TASK = Task("classification", 3)
RECORD = re.compile(rb"rdm1")
# Runs the command, and notes when each call of the utility begins
NOTED = """
import os, sys
import raydm.cli, raydm.distributed.rollouts as rollouts, raydm.utility as utility
notes = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for owner in (rollouts.RayUtility, utility.InProcess):
    def noted(self, sets, *, step, call=owner.__call__):
        os.write(notes, b"begun\\n")
        return call(self, sets, step=step)
    owner.__call__ = noted
sys.exit(raydm.cli.main())
"""
# Runs the command where no file may take more bytes than this
FULL = """
import resource, sys
import raydm.cli
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.exit(raydm.cli.main())
"""


@dataclass
class Row:
    """One line of the table."""

    fault: str
    runs: int = 0
    identical: int = 0
    told: int = 0
    bad: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def same(self, holds: bool, what: str) -> None:
        self.runs += 1
        if holds:
            self.identical += 1
        else:
            self.bad.append(f"{what}: not identical")

    def tells(self, text: str, pattern: str) -> None:
        self.runs += 1
        if re.search(pattern, text):
            self.told += 1
        else:
            self.bad.append(f"not told: {text[-300:]}")


def rows() -> tuple[Any, ...]:
    """80 training rows of three digits, with some wrong labels, and 40 trusted ones."""
    x, y = load_digits(n_class=3, return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:120]
    x, y = (x[order] / 16).astype(np.float32), y[order].copy()
    y[:16] = (y[:16] + 1) % 3
    return x[:80], y[:80], x[80:], y[80:]


class Borrowed:
    """Actors that a run must not end."""

    def __init__(self, pool: RayUtility) -> None:
        self.pool = pool

    def __call__(self, sets: TrainingSets, *, step: int) -> torch.Tensor:
        return self.pool(sets, step=step)

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        pass

    def turn_to(self, problem: Problem) -> None:
        self.pool.turn_to(problem)

    def close(self) -> None:
        pass


def run(pool: RayUtility | None) -> tuple[np.ndarray, list[Any]]:
    """The values (N,), and utilities at each step, of one run."""

    def make(problem: Problem) -> Utility:
        if pool is None:
            return InProcess(problem)
        pool.turn_to(problem)
        return Borrowed(pool)  # type: ignore[return-value]

    x, y, x_valid, y_valid = rows()
    valuator = DataValuator(
        predictor="logistic", steps=STEPS, rollouts=ROLLOUTS, shard=SHARD, outer_batch=32, judge=0,
        evidence=("validation", "neighbors"), utility=make,
    )  # fmt: skip
    valuator.fit(x, y, X_valid=x_valid, y_valid=y_valid)
    return valuator.values_, [{k: v for k, v in line.items() if k != "seconds"} for line in valuator.history_]


def same(a: tuple[np.ndarray, list[Any]], b: tuple[np.ndarray, list[Any]]) -> bool:
    return np.array_equal(a[0], b[0]) and a[1] == b[1]


def disturbed(pool: RayUtility, delay: float, fault: Callable[[], None]) -> Any:
    """What a run gives during which the fault comes after a delay; None where it had ended by then."""
    came = threading.Event()

    def strike() -> None:
        fault()
        came.set()

    timer = threading.Timer(delay, strike)
    timer.start()
    found = run(pool)
    within = came.is_set()
    timer.cancel()
    timer.join()
    return found if within else None


def all_up(pool: RayUtility) -> bool:
    try:
        ray.get([worker.process.remote() for worker in pool.workers], timeout=60)
    except ray.exceptions.RayError:
        run(pool)  # the controller begins another
        return False
    return True


def eventually(holds: Callable[[], bool], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("the cluster did not come to rest")
        time.sleep(0.1)


class Bench:
    """The cluster, and what all faults are compared with."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.rng = arguments, random.Random(arguments.seed)
        self.folder = Path(tempfile.mkdtemp(prefix="raydm-faults-"))
        self.cluster = started(self.folder)
        self.nodes = [self.cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
        self.connection: Connection = connect(self.cluster.address)
        self.here = run(None)

    def close(self) -> None:
        self.connection.close()
        self.cluster.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pool(self, problem: Problem | None = None, **more: Any) -> RayUtility:
        return RayRollouts(actors=more.pop("actors", 2), **more)(problem or cheap_problem(Cheap()))

    def actor(self) -> Row:
        row, pool = Row("actor"), self.pool()

        def kill_one() -> None:
            kill(victim)

        usual = self._usual(pool, row)
        for k in range(self.arguments.runs):
            found = None
            while found is None:
                eventually(lambda: all_up(pool))
                victim: int = ray.get(self.rng.choice(pool.workers).process.remote())
                found = disturbed(pool, self.rng.uniform(0, usual), kill_one)
            row.same(same(found, self.here), f"run {k}")
        pool.close()
        return row

    def node(self) -> Row:
        row, pool = Row("node"), self.pool()
        usual = self._usual(pool, row)
        for k in range(self.arguments.node_runs):
            found = None
            while found is None:
                while len(self.nodes) < 2:
                    self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=STORE))
                eventually(lambda: all_up(pool))
                found = disturbed(pool, self.rng.uniform(0, usual), self._kill_node)
            row.same(same(found, self.here), f"run {k}")
        pool.close()
        while len(self.nodes) < 2:
            self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=STORE))
        return row

    def _kill_node(self) -> None:
        self.cluster.remove_node(self.nodes.pop(self.rng.randrange(2)), allow_graceful=False)

    def _usual(self, pool: RayUtility, row: Row) -> float:
        """Seconds of a run that nothing disturbs; which must be right, too."""
        run(pool)
        before = time.perf_counter()
        found = run(pool)
        seconds = time.perf_counter() - before
        if not same(found, self.here):
            row.bad.append("not identical without any fault")
        row.more["usual_seconds"] = round(seconds, 2)
        return seconds

    def driver(self) -> Row:
        row, whole = Row("driver"), self._whole()
        steps, lost = STEPS, []
        for k in range(self.arguments.driver_runs):
            place = ("--actors", "2", "--address", self.cluster.address)
            out, begun = self._killed(f"driver-{k}", place)
            kept = answers(out)
            done = self._value(out, "--resume", *place, notes=out.with_suffix(".again"))
            again = out.with_suffix(".again").read_text().count("begun")
            lost.append(begun - kept)
            right = done.returncode == 0 and values(out).equals(whole) and again == steps - kept and lost[-1] <= 1
            row.same(right, f"run {k} (code {done.returncode}, kept {kept}, begun {begun}, again {again})")
        row.more["lost"] = max(lost, default=0)
        return row

    def torn(self) -> Row:
        row, whole = Row("torn"), self._whole()
        out, _ = self._killed("torn", ())
        content = journal(out).read_bytes()
        ends = [found.start() for found in RECORD.finditer(content)]
        cut = self.rng.randrange(ends[1] + 1, len(content))
        journal(out).write_bytes(content[:cut])
        done = self._value(out, "--resume")
        warned = ("was torn" in done.stderr) != (cut in ends)
        row.same(done.returncode == 0 and warned and values(out).equals(whole), done.stderr[-300:])
        out, _ = self._killed("damaged", ())
        content = bytearray(journal(out).read_bytes())
        content[self.rng.randrange(0, ends[-1] // 2)] ^= 1
        journal(out).write_bytes(content)
        row.tells(self._value(out, "--resume").stderr, r"damaged at byte \d+")
        return row

    def disk(self) -> Row:
        row, whole = Row("disk"), self._whole()
        out, _ = self._killed("disk", ())
        size = journal(out).stat().st_size
        row.tells(self._value(out, "--resume", full=size + 50).stderr, "answers: cannot be written")
        if journal(out).stat().st_size != size:
            row.bad.append("the journal is not as it was")
        row.tells(self._value(out, "--resume", full=size + 10_000).stderr, "Nothing that was computed is lost")
        done = self._value(out, "--resume")
        row.same(done.returncode == 0 and values(out).equals(whole), done.stderr[-300:])
        return row

    def store(self) -> Row:
        row = Row("store")
        problem = cheap_problem(Cheap())
        pool, here = self.pool(problem), InProcess(problem)
        x = torch.rand(ROLLOUTS, 500, 2000, generator=torch.Generator().manual_seed(0))
        sets = TrainingSets(x, torch.zeros(500, dtype=torch.long), torch.ones(ROLLOUTS, 500), TASK)
        many = torch.rand(300_000, 2)
        for step in range(20):
            row.same(torch.equal(pool(sets, step=step), here(sets, step=step)), f"step {step}")
        for step in range(5):
            said = pool.predictions(sets[slice(0, 4)], many, step=step)
            row.same(torch.equal(said, here.predictions(sets[slice(0, 4)], many, step=step)), f"predictions {step}")
        row.more["bytes"] = 20 * x.nbytes + 5 * said.nbytes
        pool.close()
        return row

    def nan(self) -> Row:
        row, pool = Row("nan"), self.pool()
        self._once_and_always(row, pool, "nan", r"Step 4: the score of rollout 5 \(seed \d+\) is nan")
        pool.close()
        return row

    def hang(self) -> Row:
        row, pool = Row("hang"), self.pool(actors=1, timeout=3.0, tries=2)
        pattern = r"Step 4, rollouts 4 to 5 \(seeds \d+, \d+\): tried 2 times, .*took longer than 3 s"
        self._once_and_always(row, pool, "hang", pattern)
        pool.close()
        pool = self.pool(actors=2)  # the other one takes over, long before any timeout
        self._once(row, pool, "hang")
        pool.close()
        return row

    def _once_and_always(self, row: Row, pool: RayUtility, how: str, pattern: str) -> None:
        self._once(row, pool, how)
        try:
            self._steps(pool, Faulty(how, None))
            row.tells("no error", pattern)
        except RolloutError as error:
            row.tells(str(error), pattern)

    def _once(self, row: Row, pool: RayUtility, how: str) -> None:
        marker = tempfile.mktemp(dir=self.folder)
        found = self._steps(pool, Faulty(how, marker))
        struck = Path(marker).exists()
        row.same(struck and torch.equal(found, self._steps(None, Cheap())), f"{how}, once")

    def _steps(self, pool: RayUtility | None, predictor: Any) -> torch.Tensor:
        """The utilities (7, R) of seven steps."""
        problem = cheap_problem(predictor)
        utility: Any = InProcess(problem) if pool is None else pool
        utility.turn_to(problem)
        w = torch.rand(ROLLOUTS, 50, generator=torch.Generator().manual_seed(1))
        sets = TrainingSets(torch.rand(50, 2), torch.zeros(50, dtype=torch.long), w, TASK)
        return torch.stack([utility(sets, step=step) for step in range(7)])

    def _whole(self) -> Any:
        """The values of the command that nothing disturbed."""
        out = self.folder / "whole"
        if not out.exists():
            done = self._value(out)
            if done.returncode:
                raise RuntimeError(done.stderr)
        return values(out)

    def _command(self, out: Path, *more: str) -> list[str]:
        return [
            "value", "digits", "--sizes", "80", "40", "--noise", "0.2", "--steps", str(STEPS), "--rollouts",
            str(ROLLOUTS), "--shard", str(SHARD), "--outer-batch", "32", "--judge", "0", "--evidence", "validation",
            "neighbors", "--quiet", "--out", str(out), *more,
        ]  # fmt: skip

    def _value(self, out: Path, *more: str, notes: Path | None = None, full: int | None = None) -> Any:
        words = [FULL, str(full)] if full is not None else [NOTED, str(notes or os.devnull)]
        return subprocess.run(
            [sys.executable, "-c", *words, *self._command(out, *more)], capture_output=True, text=True, check=False
        )

    def _killed(self, name: str, place: tuple[str, ...]) -> tuple[Path, int]:
        """The --out of a command that was killed at a random time, and how many calls had begun."""
        while True:
            out = self.folder / f"{name}-{self.rng.randrange(10**9)}"
            notes = out.with_suffix(".notes")
            command = [sys.executable, "-c", NOTED, str(notes), *self._command(out, *place)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                while process.poll() is None and (not journal(out).exists() or answers(out) < 1):
                    time.sleep(0.002)
                until = self.rng.randrange(1, STEPS)  # steps take alike long, whatever else the machine does
                while process.poll() is None and answers(out) < until:
                    time.sleep(0.002)
                time.sleep(self.rng.uniform(0, 0.05))
                process.send_signal(signal.SIGKILL)
            if journal(out).exists():
                return out, notes.read_text().count("begun")


class Cheap:
    """Predicts by the mean of the weighted features: nothing to train."""

    differentiable = False

    def fit_predict(self, given: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        of = given.x if given.x.ndim == 3 else given.x.expand(given.rollouts, *given.x.shape)
        share = (of[..., 0] * given.w).mean(1).sigmoid()[:, None, None].expand(-1, len(x), 1)
        return torch.cat([share, 1 - share, torch.zeros_like(share)], -1)


class Faulty(Cheap):
    """Goes wrong at step 4, rollout 5: once, if there is a marker to leave, else always."""

    def __init__(self, how: str, marker: str | None) -> None:
        self.how, self.marker = how, marker
        self.at = int(cheap_problem(Cheap()).seeds(4, ROLLOUTS)[5])

    def fit_predict(self, given: TrainingSets, x: torch.Tensor, *, seed: Seeds) -> torch.Tensor:
        said = super().fit_predict(given, x, seed=seed)
        if self.at in seed.tolist() and self._now():
            if self.how == "hang":
                time.sleep(3600)
            said[seed.tolist().index(self.at)] = float("nan")
        return said

    def _now(self) -> bool:
        try:
            if self.marker is not None:
                os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def cheap_problem(predictor: Any) -> Problem:
    """Of a predictor that trains nothing; each rollout has a seed of its own."""
    valid = Examples(np.zeros((20, 2), np.float32), np.arange(20) % 2, np.arange(20))
    return Problem(predictor, valid, TASK, METRICS["expected-accuracy"], 5, shared_restart=False, shard=SHARD)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def journal(out: Path) -> Path:
    return out.parent / f".{out.name}.journal" / "answers"


def answers(out: Path) -> int:
    """Whole answers in a journal: records, less the first and one that may be in the making."""
    try:
        content = journal(out).read_bytes()
    except FileNotFoundError:
        return 0
    return max(0, sum(1 for _ in whole_records(content)) - 1)


def whole_records(content: bytes) -> Iterator[int]:
    start = 0
    while start + 32 <= len(content):
        start += 32 + int.from_bytes(content[start + 8 : start + 16], "little")
        if start <= len(content):
            yield start


def values(out: Path) -> Any:
    return pq.read_table(out / "values.parquet")


def started(folder: Path) -> Cluster:
    """A head; a busy machine may need more than the half minute that Ray allows it."""
    (folder / "ray").mkdir()
    os.environ["RAY_TMPDIR"] = str(folder)  # below it Ray notes the address, in a folder that it takes to be there
    for left in (4, 3, 2, 1, 0):
        try:
            return Cluster(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False,
                    "temp_dir": str(folder / "ray"),
                },
            )  # fmt: skip
        except Exception:
            if not left:
                raise
    raise AssertionError


FAULTS = ("actor", "node", "driver", "torn", "disk", "store", "nan", "hang")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="in which an actor is killed")
    parser.add_argument("--node-runs", type=int, default=20)
    parser.add_argument("--driver-runs", type=int, default=20)
    parser.add_argument("--only", nargs="+", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with redirect_stdout(sys.stderr):  # where Ray tells of what died
        return table(arguments, sys.__stdout__)


def table(arguments: argparse.Namespace, out: Any) -> int:
    bench, bad = Bench(arguments), False
    try:
        for fault in arguments.only:
            before = time.perf_counter()
            try:
                row: Row = getattr(bench, fault)()
            except Exception as error:
                row = Row(fault, bad=[repr(error)])
            bad = bad or bool(row.bad)
            line = {"fault": row.fault, "runs": row.runs, "identical": row.identical, "told": row.told, "bad": row.bad}
            print(
                json.dumps(line | row.more | {"seconds": round(time.perf_counter() - before, 1)}), file=out, flush=True
            )
    finally:
        bench.close()
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
