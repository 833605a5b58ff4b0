"""What `raydm submit` costs beyond Ray's own `ray job submit` of the same command, on a head of this machine.

    python jobs/bench/submit.py [--runs 5] [--address http://127.0.0.1:8265]

Without --address a head is started by clusters/one-machine.sh, and ended again. Each run submits `raydm score` of a
small run on a few rows, once by each of the two, in turns, and takes the seconds from the command's start to its end,
and those that the job itself ran, as the head says. Ray's own gets the same folder: this raydm, the run and the rows. A
job that fails must be told by its exit code and its own error last, which is looked at, too. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import raydm

ROOT = Path(__file__).parents[2]
HERE = Path(sys.executable).parent
ENV = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"


@contextmanager
def head(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A head on this machine: its address, and the variables by which it lets us in."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    port, dashboard = (str(server.getsockname()[1]) for server in servers)
    for server in servers:
        server.close()
    words = [ROOT / "clusters" / "one-machine.sh", "--port", port, "--dashboard-port", dashboard, "--folder", folder]
    path = os.pathsep.join((str(HERE), os.environ["PATH"]))
    log = folder.with_suffix(".log")
    with log.open("wb") as out:
        started = subprocess.Popen([*map(str, words)], stdout=out, stderr=out, env=os.environ | {"PATH": path})
    try:
        while "Stop: Ctrl-C" not in log.read_text():
            if started.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.2)
        yield f"http://127.0.0.1:{dashboard}", {ENV[0]: "token", ENV[1]: str(folder / "auth_token")}
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(timeout=60)


def files(folder: Path) -> None:
    """A small run and rows, and this raydm, as `ray job submit --working-dir` wants them."""
    rng = np.random.default_rng(0)
    for name, rows in (("train", 60), ("valid", 30), ("rows", 100)):
        table = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
        table.assign(label=np.where(table.a > table.b, "yes", "no")).to_parquet(folder / f"{name}.parquet")
    words = [
        "value",
        "train.parquet",
        "--valid",
        "valid.parquet",
        "--steps",
        "0",
        "--evidence",
        "validation",
        "--quiet",
    ]
    subprocess.run([sys.executable, "-m", "raydm.cli", *words, "--judge", "0", "--out", "run"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    shutil.copytree(Path(raydm.__file__).parent, folder / "raydm", ignore=shutil.ignore_patterns("__pycache__"))


def timed(
    words: list[str], folder: Path, environment: dict[str, str]
) -> tuple[float, subprocess.CompletedProcess[str]]:
    started = time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False)
    return time.perf_counter() - started, done


def measure(url: str, environment: dict[str, str], folder: Path, runs: int) -> dict[str, Any]:
    command = ["score", "run", "rows.parquet"]
    by = {
        "raydm": [sys.executable, "-m", "raydm.cli", "submit", *command, "--address", url],
        "ray": [str(HERE / "ray"), "job", "submit", "--address", url, "--working-dir", ".", "--", "python", "-m",
                "raydm.cli", *command],
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in by}
    for number in range(runs + 1):
        for name, words in by.items():
            (folder / ".run").write_text(f"{name} {number}")  # else Ray's own jobs would share a folder, and outputs
            took, done = timed(words, folder, environment)
            if done.returncode:
                sys.exit(f"{name}: {done.stdout}{done.stderr}")
            if number:  # the first of each starts what the others find there
                seconds[name].append(round(took, 2))
    _, failed = timed([*by["raydm"][:4], "score", "/absent", "rows.parquet", "--address", url], folder, environment)
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "seconds": seconds,
        "median": middle,
        "over": round(middle["raydm"] - middle["ray"], 2),
        "failed_code": failed.returncode,
        "failed_last_line": failed.stderr.splitlines()[-1] if failed.stderr else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--address", help="of a running head's dashboard, whose token the environment has")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as below:
        folder = Path(below) / "work"
        folder.mkdir()
        files(folder)
        if arguments.address:
            line = measure(arguments.address, {}, folder, arguments.runs)
        else:
            with head(Path(below) / "head") as (url, environment):
                line = measure(url, environment, folder, arguments.runs)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
