"""The command as a process of its own: its streams, its exit codes, and the interrupt key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cli_kit import QUICK, Files

RAYDM = (sys.executable, "-m", "raydm.cli")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAYDM, *map(str, words)], capture_output=True, text=True, timeout=200, check=False)


def test_a_run_in_its_own_process_is_like_one_here(files: Files, call: object) -> None:
    done = run("value", files.train, "--valid", files.valid, *QUICK, "--out", "there")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 120
    assert done.stdout.count("\n") == 1
    assert callable(call)
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "here").code == 0
    assert pq.read_table("there/values.parquet").equals(pq.read_table("here/values.parquet"))


def test_help_is_quick_for_it_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, raydm.cli\n"
        "try: raydm.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(len({'torch', 'ray', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_local_run_does_not_load_ray(files: Files) -> None:
    words = ["value", str(files.train), "--valid", str(files.valid), *QUICK]
    code = f"import sys, raydm.cli\nassert raydm.cli.main({words!r}) == 0\nsys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bad_input_ends_with_code_2(files: Files) -> None:
    done = run("value", files.train, "--valid", "absent.csv", *QUICK)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("raydm: absent.csv: no such file"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert os.listdir() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(files: Files, number: int, code: int) -> None:
    words = ("value", files.train, "--valid", files.valid, "--steps", "1000000", "--rollouts", "4")
    with subprocess.Popen([*RAYDM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        os.set_blocking(process.stderr.fileno(), False)
        told, until = b"", time.monotonic() + 120
        while b"utility=" not in told and time.monotonic() < until and process.poll() is None:
            told += process.stderr.read() or b""
            time.sleep(0.05)
        process.send_signal(number)
        os.set_blocking(process.stderr.fileno(), True)
        printed, rest = process.communicate(timeout=60)
    told += rest
    assert process.returncode == code, told
    assert (b"raydm: interrupted; nothing was written." in told) == (number == signal.SIGINT)
    assert b"Traceback" not in told
    assert printed == b""
    assert os.listdir() == []


def test_a_second_signal_does_not_cut_short_what_the_first_began() -> None:
    code = (
        "import signal, sys, raydm.cli, raydm.verbs.data as verb\n"
        "def run(arguments):\n"
        "    try: signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        print('cleaned up')\n"
        "verb.run = run\n"
        "raydm.cli.main(['data', 'list'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "cleaned up\n", "")


def test_a_run_on_ray_ends_by_a_signal_as_others_do(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("value", files.train, "--valid", files.valid, "--steps", "1000000", "--rollouts", "2", "--actors", "1",
             "--evidence", "validation", "--judge", "0")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as temp:  # a short name: sockets lie below it
        monkeypatch.setenv("TMPDIR", temp)
        with subprocess.Popen(
            [*RAYDM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stderr
            told = b""
            while b"utility=" not in told and (piece := process.stderr.read1()):
                told += piece
            process.send_signal(signal.SIGTERM)  # and all of its group, as `timeout` does
            os.killpg(process.pid, signal.SIGTERM)
            told += process.stderr.read()
        assert process.returncode == 143, told
        assert b"SIGTERM" not in told, told  # no trace of Ray's
        assert [name for name in os.listdir(temp) if name.startswith("raydm-")] == []
    assert os.listdir() == []


def test_actors_that_can_never_be_placed(files: Files) -> None:
    started = time.monotonic()
    done = run(
        "value", files.train, "--valid", files.valid, *QUICK, "--actors", "64", "--cpus-per-actor", "1000",
        "--out", "runs/run",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "64 rollout actors of 1000 CPU each can never be placed" in done.stderr
    assert "--cpus-per-actor" in done.stderr
    assert os.listdir() == []
    assert time.monotonic() - started < 120  # Ray itself would wait for ever


@pytest.mark.slow
def test_actors_give_the_bits_of_a_local_run(files: Files) -> None:
    words = ("value", files.train, "--valid", files.valid, *QUICK, "--shard", "2", "--noise", "0.2")
    for name, flags in (("local", ("--local",)), ("actors", ("--actors", "2"))):
        done = run(*words, *flags, "--out", name)
        assert done.returncode == 0, done.stderr
    assert pq.read_table("local/values.parquet").equals(pq.read_table("actors/values.parquet"))


def test_a_reader_that_stops_reading_gets_no_traceback() -> None:
    with subprocess.Popen([*RAYDM, "data", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before anything was written
        assert process.stderr.read() == b""
    assert process.returncode == 141
