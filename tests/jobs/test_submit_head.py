"""`raydm submit` and `raydm jobs` on a real head of this machine: token authentication, dashboard on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
QUICK = ("--steps", "1", "--rollouts", "2", "--evidence", "validation", "--judge", "0", "--quiet")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or not shutil.which("openssl"), reason="clusters/one-machine.sh"),
    pytest.mark.timeout(600),  # on a machine whose cores are taken
]


@dataclass(frozen=True)
class Head:
    """A running head; `folder` holds train.csv and valid.csv."""

    url: str
    token: str
    folder: Path

    def start(self, *words: str | Path, token: str | None = None, **environment: str) -> subprocess.Popen[str]:
        """Begins `raydm` with some words in the folder."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        more = {"PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN": self.token if token is None else token, **environment}
        return subprocess.Popen(
            [sys.executable, "-m", "raydm.cli", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder, env=kept | more,
        )  # fmt: skip

    def run(self, *words: str | Path, token: str | None = None) -> tuple[int, str, str]:
        """The same, to its end: code, stdout, stderr."""
        return ended(self.start(*words, token=token))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    port, dashboard = (str(server.getsockname()[1]) for server in servers)
    for server in servers:
        server.close()
    words = [ROOT / "clusters" / "one-machine.sh", "--cpus", "2", "--folder", folder / "secrets"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    path = os.pathsep.join((str(RAY.parent), os.environ["PATH"]))
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*map(str, words), "--port", port, "--dashboard-port", dashboard],
            stdout=out, stderr=subprocess.STDOUT, env=kept | {"PATH": path},
        )  # fmt: skip
    try:
        until = time.monotonic() + 290
        while "Stop: Ctrl-C" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        rng = np.random.default_rng(0)
        for name, rows in (("train.csv", 60), ("valid.csv", 30)):
            table = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
            table.assign(label=np.where(table.a > table.b, "yes", "no")).to_csv(folder / name, index=False)
        yield Head(f"http://127.0.0.1:{dashboard}", (folder / "secrets" / "auth_token").read_text(), folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def test_jobs_end_as_their_verb_does(head: Head) -> None:
    """One that succeeds and one that fails, side by side, for each takes seconds to start."""
    to = ("--address", head.url)
    sets = ("train.csv", "--valid", "valid.csv")
    good = head.start("submit", *to, "value", *sets, *QUICK, "--storage", head.folder / "out", "--out", "one")
    bad = head.start("submit", "value", "/absent/train.csv", "--valid", "valid.csv", *to)
    code, out, err = ended(bad)
    assert (code, out) == (2, ""), err
    assert err.splitlines()[-1].startswith("raydm: /absent/train.csv: no such file or directory")
    code, out, err = ended(good)
    assert code == 0, err
    assert out.count("\n") == 1
    assert json.loads(out)["run"] == str(head.folder / "out" / "one")
    assert "raydm: the run is in" in err
    assert (head.folder / "out" / "one" / "config.json").exists()
    code, out, _ = head.run("jobs", "list", "--json", *to)
    jobs = {job["job"]: job for job in json.loads(out)}
    assert {(job["status"], job["code"]) for job in jobs.values()} == {("SUCCEEDED", 0), ("FAILED", 2)}
    for name in jobs:
        log = head.run("jobs", "logs", name, *to)[1]
        assert "python -m raydm.cli value" in log
        assert head.token not in log + json.dumps(jobs) + out + err
    kept = [head.folder / "out" / "one" / name for name in ("config.json", "evidence.json")]
    assert not any(head.token in file.read_text() for file in kept)


def test_a_wrong_token_is_refused_and_no_token_too(head: Head) -> None:
    for token in ("0" * 64, ""):
        code, out, err = head.run("jobs", "list", "--address", head.url, token=token)
        assert (code, out) == (2, "")
        assert "refused the token (or there is none here)" in err.splitlines()[-1]
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_job_is_followed_later_and_stopped(head: Head) -> None:
    to = ("--address", head.url)
    words = ("value", "train.csv", "--valid", "valid.csv", "--steps", "1000000", "--rollouts", "2")
    code, out, err = head.run("submit", *words, "--no-follow", *to)
    assert code == 0, err
    assert "without --storage the output stays in the job's own folder" in err
    job = json.loads(out)["job"]
    following = head.start("jobs", "logs", job, "--follow", *to)
    time.sleep(5)
    code, out, err = head.run("jobs", "stop", job, *to)
    assert code == 0, err
    assert json.loads(out)["status"] == "STOPPED"
    assert ended(following)[0] == 0
    assert json.loads(head.run("jobs", "stop", job, *to)[1])["status"] == "STOPPED"
    code, _, err = head.run("jobs", "logs", "raydm-none", *to)
    assert (code, "has no job 'raydm-none'" in err) == (2, True)


@pytest.mark.slow
def test_a_job_that_is_stopped_ends_who_follows_it(head: Head) -> None:
    to = ("--address", head.url)
    words = ("value", "train.csv", "--valid", "valid.csv", "--steps", "1000000", "--rollouts", "2", *to)
    following = head.start("submit", *words)
    until, jobs = time.monotonic() + 200, []
    while not jobs and time.monotonic() < until:
        jobs = [
            job["job"] for job in json.loads(head.run("jobs", "list", "--json", *to)[1]) if job["status"] == "RUNNING"
        ]
    assert head.run("jobs", "stop", jobs[-1], *to)[0] == 0
    code, out, err = ended(following)
    assert (code, out) == (128 + signal.SIGTERM, "")
    assert err.splitlines()[-1] == f"raydm: job {jobs[-1]} was stopped"


@pytest.mark.slow
def test_who_stops_following_leaves_the_job(head: Head) -> None:
    to = ("--address", head.url)
    words = ("value", "train.csv", "--valid", "valid.csv", *QUICK, "--storage", head.folder / "out", *to)
    following = head.start("submit", *words)
    assert following.stderr
    for line in following.stderr:
        if "is submitted to" in line:
            break
    job = line.split()[2]
    time.sleep(1)
    following.send_signal(signal.SIGINT)
    code, out, err = ended(following)
    assert (code, out) == (130, ""), err
    assert "interrupted; the job goes on" in err
    code, out, _ = head.run("jobs", "logs", job, "--follow", *to)
    assert code == 0
    assert json.loads(out.splitlines()[-1])["rows"] == 60


@pytest.mark.slow
def test_a_script_of_the_folder_jobs_is_a_job_of_ray(head: Head) -> None:
    """As `ray job submit` runs it, from the repository."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") and k != "PYTHONPATH"}
    words = [RAY, "job", "submit", "--address", head.url, "--working-dir", ".", "--", "python", "jobs/value.py",
             head.folder / "train.csv", "--valid", head.folder / "valid.csv", *QUICK]  # fmt: skip
    for name in ("raydm", "jobs"):
        shutil.copytree(ROOT / name, head.folder / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [*map(str, words), "--storage", str(head.folder / "out"), "--out", "by-ray"],
        capture_output=True, text=True, check=False, cwd=head.folder / "checkout",
        env=kept | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (head.folder / "out" / "by-ray" / "values.parquet").exists()


@pytest.mark.slow
def test_the_same_job_twice_finds_nothing_of_the_first(head: Head) -> None:
    words = ("submit", "value", "train.csv", "--valid", "valid.csv", *QUICK, "--out", "out", "--address", head.url)
    for _ in range(2):
        code, out, err = head.run(*words)
        assert code == 0, err
        assert json.loads(out)["run"] == "out"
