"""raydm, pyDVL, cleanlab and OpenDataVal on the same arrays: who finds flipped labels, what removing by value gains.

    python jobs/bench/peers.py digits synthetic breast_cancer --peer-python PEERS/bin/python
    RAYDM_DATA=... python jobs/bench/peers.py adult fashion_mnist --noise .2 --methods 'raydm*' 'cleanlab*'
    python jobs/bench/peers.py digits --valid-noise .2      # a share of the trusted labels is flipped too
    python jobs/bench/peers.py --table                       # what the results file holds, nothing is run

Every method gets the same encoded training and trusted rows and the same flips, drawn by the seed; none sees what was
flipped, nor the test set. Seeds are 1000 and on: nothing was tuned on them. Peers run in `--peer-python`, an
environment of their own (see peer_methods.py); those that it lacks are named and left out. Each result is one line of a
JSONL file, so a run that was cut short goes on where it was; a result is taken again when the arrays or the method's
version changed. One thread each. Prints a table, then one JSON line per set, noise and method.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from peer_cases import Bench, bench, markdown, read_rows, summaries
from peer_methods import PEERS
from threadpoolctl import threadpool_limits

import raydm
from raydm import DataValuator
from raydm.data.vectors import vector_column

SETS = ("digits", "breast_cancer", "synthetic", "adult", "fashion_mnist")
DEFAULT = "dvrl"
RAYDM = {f"raydm {name}": name for name in (DEFAULT, "data-oob", "knn-shapley", "influence")}
RAYDM_EXPENSIVE = {f"raydm {name}": name for name in ("loo", "shapley", "banzhaf")}
INPUT = "raydm input: "  # the evidence that the default stands on, each ranking by itself
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}


class Worker:
    """A process in the peers' environment.

    Args:
        python: its interpreter.

    Attributes:
        versions: each peer package's version there, None where it is not installed.
    """

    def __init__(self, python: str) -> None:
        self.python = python
        self._start()

    def _start(self) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # lives as long as the process
        self.process = subprocess.Popen(
            [self.python, "-W", "ignore", str(Path(__file__).with_name("peer_methods.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=os.environ | ONE_THREAD,
        )  # fmt: skip
        hello = self._reply(300)
        if "versions" not in hello:
            raise SystemExit(f"{self.python} cannot run the peers: {hello['error']}")
        self.versions: dict[str, str | None] = hello["versions"]

    def ask(self, limit: float, **request: Any) -> dict[str, Any]:
        """The answer to a request; an error where the process ended or took longer than `limit` seconds."""
        assert self.process.stdin is not None
        if self.process.poll() is not None:
            self._start()
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._reply(limit)

    def _reply(self, limit: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(limit, lambda: (late.set(), self.process.kill()))
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line:
            return dict(json.loads(line))
        self.process.wait()
        self.log.seek(0)
        said = self.log.read().strip().rsplit("\n", 1)[-1]
        return {"error": f"took longer than {limit:g} s" if late.is_set() else f"the process ended: {said}"}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def raydm_version() -> str:
    """raydm's version with a hash of its source, so that every change counts as another version."""
    folder, digest = Path(raydm.__file__).parent, hashlib.blake2b(digest_size=4)
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.read_bytes())
    return f"{raydm.__version__}+{digest.hexdigest()}"


def raydm_values(case: Bench, method: str, seed: int) -> dict[str, tuple[np.ndarray[Any, Any], float | None]]:
    """Name -> values and seconds: of the method, and for the default also of the inputs that it stands on."""
    # One column of vectors: the encoder then keeps the geometry of the arrays, which it would else standardise again.
    train, valid = (
        pa.table({"x": vector_column(x), "label": y}) for x, y in ((case.x, case.y), (case.x_valid, case.y_valid))
    )
    chosen = {} if method == DEFAULT else {"method": method}
    valuator = DataValuator(random_state=seed, **chosen)
    started = time.perf_counter()
    valuator.fit(train, "label", X_valid=valid)
    found: dict[str, tuple[np.ndarray[Any, Any], float | None]] = {
        f"raydm {method}": (np.asarray(valuator.values_), time.perf_counter() - started)
    }
    if method == DEFAULT:
        found |= {INPUT + name.replace("_", " "): (np.asarray(r), None) for name, r in valuator.inputs_.items()}
    return found


def chosen_methods(arguments: argparse.Namespace, versions: dict[str, str | None]) -> tuple[list[str], list[str]]:
    """The methods of raydm and the peers that were asked for and can run here."""
    ours = [*RAYDM, *(RAYDM_EXPENSIVE if arguments.expensive else ())]
    if "method" not in DataValuator().get_params():
        ours = [f"raydm {DEFAULT}"]
    theirs = [
        name
        for name, peer in PEERS.items()
        # Trusted labels do not matter to those that never look at them.
        if arguments.expensive >= peer.expensive and (peer.validation or not arguments.valid_noise)
    ]
    absent = sorted({PEERS[name].package for name in theirs if not versions.get(PEERS[name].package)})
    if absent and not arguments.only_raydm:
        print(f"peers: not installed there, left out: {', '.join(absent)}", file=sys.stderr)
    theirs = [name for name in theirs if versions.get(PEERS[name].package)]
    if arguments.methods:
        ours, theirs = ([n for n in names if asked(n, arguments.methods)] for names in (ours, theirs))
    return ([] if arguments.only_peers else ours), ([] if arguments.only_raydm else theirs)


def asked(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def results(
    case: Bench,
    seed: int,
    ours: list[str],
    theirs: list[str],
    fresh: Callable[[str, str], bool],
    worker: Worker | None,
    limit: float,
) -> Iterator[dict[str, Any]]:
    """What is lacking of one case: rows with method, version and figures, or an error."""
    version = raydm_version()
    for name in ours:
        if fresh(name, version):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = raydm_values(case, (RAYDM | RAYDM_EXPENSIVE)[name], seed)
            for label, (values, seconds) in found.items():
                yield {"method": label, "version": version, "seconds": seconds, **case.judged(values)}
        except Exception as error:  # a method's failure is a finding to report, whatever it is
            yield {"method": name, "version": version, "error": f"{type(error).__name__}: {error}"}
    lacking = [n for n in theirs if worker and not fresh(n, f"{PEERS[n].package} {worker.versions[PEERS[n].package]}")]
    if not (worker and lacking):
        return
    with tempfile.TemporaryDirectory() as folder:
        np.savez(file := f"{folder}/arrays.npz", **case.shown())
        for name in lacking:
            row = {"method": name, "version": f"{PEERS[name].package} {worker.versions[PEERS[name].package]}"}
            reply = worker.ask(limit, arrays=file, method=name, seed=seed)
            try:
                if "error" not in reply:
                    reply = {"seconds": reply["seconds"], **case.judged(np.array(reply["values"]))}
            except ValueError as error:
                reply = {"error": str(error)}
            yield row | reply


def run(arguments: argparse.Namespace, known: dict[tuple[Any, ...], dict[str, Any]]) -> list[str]:
    """Runs what the results file lacks; returns the names of the methods that were asked for."""
    worker = None if arguments.only_raydm else Worker(arguments.peer_python)
    ours, theirs = chosen_methods(arguments, worker.versions if worker else {})
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    cells = [(s, name, noise) for s in seeds for name in arguments.sets for noise in arguments.noise]
    with arguments.results.open("a+") as file:
        file.seek(0)
        file.write("" if file.read()[-1:] in ("", "\n") else "\n")  # an interrupted run may have left half a line
        for seed, name, noise in cells:
            case = bench(name, seed, noise, arguments.valid_noise)
            place = {"set": name, "noise": noise, "valid_noise": arguments.valid_noise, "seed": seed}

            def fresh(method: str, version: str, place: Any = place, case: Bench = case) -> bool:
                row = known.get((*place.values(), method), {})
                return "auc" in row and (row["version"], row["data"]) == (version, case.fingerprint)

            for row in results(case, seed, ours, theirs, fresh, worker, arguments.limit):
                line = place | {"data": case.fingerprint} | row
                known[(*place.values(), line["method"])] = line
                file.write(json.dumps(line) + "\n")
                file.flush()
                told = f"AUC {line['auc']:.3f}" if "auc" in line else line["error"]
                print(f"peers: {name} {noise:g} seed {seed}: {line['method']}: {told}", file=sys.stderr, flush=True)
    if worker:
        worker.close()
    return [*ours, *theirs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"named sets; by default {', '.join(SETS)}")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.2, 0.4], help="shares of flipped labels")
    parser.add_argument("--valid-noise", type=float, default=0.0, help="share of the trusted labels flipped too")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--methods", nargs="+", help="patterns of names, such as 'cleanlab*' 'raydm dvrl'")
    parser.add_argument("--only-peers", action="store_true")
    parser.add_argument("--only-raydm", action="store_true")
    parser.add_argument("--expensive", action="store_true", help="also those that take minutes a case")
    parser.add_argument("--limit", type=float, default=1200, help="seconds that a peer may take for a case")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter of the peers' environment")
    parser.add_argument("--results", type=Path, default=Path("runs/peers.jsonl"), help="is read and added to")
    parser.add_argument("--table", action="store_true", help="print what the results file holds and run nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    known = read_rows(arguments.results.open().readlines()) if arguments.results.exists() else {}
    if not arguments.table:
        with threadpool_limits(1):
            names = run(arguments, known)
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        known = {
            key: row
            for key, row in known.items()
            if key[0] in arguments.sets and key[1] in arguments.noise and key[2] == arguments.valid_noise
            and key[3] in seeds and (key[4] in names or (key[4].startswith(INPUT) and f"raydm {DEFAULT}" in names))
        }  # fmt: skip
    lines = summaries(sorted(known.values(), key=lambda row: (row["set"], row["valid_noise"], row["noise"])))
    print(markdown(lines))
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
