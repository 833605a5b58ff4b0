"""What a sweep costs over its trainings: reward scales x thresholds on NO2 mixing, against the trainings alone.

    python jobs/bench/sweep.py [--scales 8] [--thresholds 20] [--cpus 2] [--steps 60] [--rollouts 16] [--pool]

Both parts run in this job on a Ray of so many CPUs, started before the clock. "alone" is `raydm.DataMixer` with one
reward scale and a threshold that is given, so that none is tried, fitted once for each scale, one after the other, its
rollouts on as many actors as there are CPUs (the actors wait for the next training, so none pays for their start).
"sweep" is `raydm sweep mix` with the same flags and `--thresholds`; all of its wall time counts, with thresholds, test
scores, tables and plots. It runs trials in processes of one CPU each, or, by --pool, on a pool of actors. Shards are of
half the rollouts for both, so that each step of a training keeps all actors busy.

Prints one JSON line: seconds of both, their ratio (asked: <= 1.15), each trial's seconds, and the best.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from raydm.cli import main as raydm
from raydm.data import load_set
from raydm.data.prepare import prepare
from raydm.distributed import RayRollouts, RayUtility, connect
from raydm.estimators import DataMixer
from raydm.utility import Problem

SCALES: tuple[Any, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, "std")


class Kept:
    """A utility whose actors stay for the next training."""

    def __init__(self, on: RayRollouts) -> None:
        self._on = on
        self._utility: RayUtility | None = None

    def __call__(self, problem: Problem) -> Any:
        if self._utility is None:
            self._utility = self._on(problem)
            self.close, self._utility.close = self._utility.close, lambda: None  # type: ignore[method-assign]
        self._utility.turn_to(problem)
        return self._utility

    def close(self) -> None:
        pass


def alone(given: argparse.Namespace, scales: tuple[Any, ...]) -> float:
    """Seconds of the trainings one after the other."""
    no2 = load_set("no2", seed=0)
    prepared = prepare(no2.train, no2.valid, no2.test, label=no2.label, task="regression")
    actors = Kept(RayRollouts(given.cpus))
    mixer = DataMixer(threshold=0.5, steps=0, rollouts=given.rollouts, shard=given.shard, utility=actors)
    for _ in mixer.iterate(prepared):  # actors are up, and everything is imported
        pass
    started = time.perf_counter()
    for scale in scales:
        mixer = DataMixer(
            threshold=0.5, pick="best", reward_scale=scale, steps=given.steps, rollouts=given.rollouts,
            shard=given.shard, utility=actors,
        )  # fmt: skip
        for _ in mixer.iterate(prepared):
            pass
        print(f"alone: reward scale {scale}, {time.perf_counter() - started:.0f} s so far", file=sys.stderr)
    seconds = time.perf_counter() - started
    actors.close()
    return seconds


def sweep(given: argparse.Namespace, scales: tuple[Any, ...], out: Path) -> tuple[float, dict[str, Any]]:
    """Seconds of the sweep, and its JSON line."""
    low_high_step = f"0:1:{1 / (given.thresholds - 1):.12g}"
    words = [
        "sweep", "mix", "no2", "--steps", str(given.steps), "--rollouts", str(given.rollouts),
        "--shard", str(given.shard), "--pick", "best", "--space", f"reward_scale=choice({', '.join(map(str, scales))})",
        "--thresholds", low_high_step, "--out", str(out),
        *(("--pool", str(given.cpus)) if given.pool else ()),
    ]  # fmt: skip
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()) as line:
        code = raydm(words)
    seconds = time.perf_counter() - started
    if code:
        raise SystemExit(code)
    return seconds, json.loads(line.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=int, default=8)
    parser.add_argument("--thresholds", type=int, default=20)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--pool", action="store_true", help="trials share a pool of actors")
    given = parser.parse_args()
    given.shard = max(1, given.rollouts // 2)
    scales = SCALES[: given.scales]
    connection = connect(num_cpus=given.cpus)
    try:
        with tempfile.TemporaryDirectory() as folder:
            alone_s = alone(given, scales)
            sweep_s, line = sweep(given, scales, Path(folder) / "sweep")
            rows = json.loads((Path(folder) / "sweep" / "sweep.json").read_text())["rows"]
    finally:
        connection.close()
    print(json.dumps({
        "scales": len(scales), "thresholds": len(rows[0]["curve"]), "cpus": given.cpus, "steps": given.steps,
        "rollouts": given.rollouts, "alone_s": round(alone_s, 1), "sweep_s": round(sweep_s, 1),
        "ratio": round(sweep_s / alone_s, 3), "trial_seconds": [row["seconds"] for row in rows],
        "finished": line["finished"], "best": line["best"], "load": os.getloadavg()[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
