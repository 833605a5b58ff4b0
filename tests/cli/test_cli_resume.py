"""`--resume`: a run that was killed, or met a full disk, goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cli_kit import QUICK, Call, Files, Outcome

from raydm.records import Records

JOURNAL = Path(".run.journal")
Dies = Callable[..., Outcome | None]
# Runs the command, and is killed when so many records are written: the first says whose journal it is
KILLED = """
import os, signal, sys
import raydm.cli, raydm.records
add, left = raydm.records.Records.add, [int(sys.argv.pop(1))]
def killed(self, content):
    add(self, content)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
raydm.records.Records.add = killed
sys.exit(raydm.cli.main())
"""
# Runs the command where no file may take more bytes than this: as on a full disk
FULL = """
import resource, sys
import raydm.cli
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.exit(raydm.cli.main())
"""


class Died(BaseException):
    """Stands for SIGKILL where a process of its own would take too long."""


@pytest.fixture
def dies(call: Call, monkeypatch: pytest.MonkeyPatch) -> Dies:
    """Runs the command here, until so many records are written; then it dies, or does what is given."""

    def run(records: int, *words: str, how: Callable[[], object] | None = None) -> Outcome | None:
        left, add = [records], Records.add

        def counted(self: Records, content: bytes) -> None:
            add(self, content)
            left[0] -= 1
            if not left[0]:
                if how is None:
                    raise Died
                how()

        with monkeypatch.context() as changed, suppress(Died):
            changed.setattr(Records, "add", counted)
            return call(*words)
        return None

    return run


def python(code: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=280, check=False
    )


def value(files: Files, *more: str) -> tuple[str, ...]:
    return ("value", str(files.train), "--valid", str(files.valid), *QUICK, "--judge", "0", *more)


def test_a_killed_run_is_resumed_to_the_bit(files: Files, call: Call) -> None:
    assert call(*value(files, "--out", "whole")).code == 0
    done = python(KILLED, 3, *value(files, "--out", "run"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(os.listdir()) == [".run.journal", "whole"]
    refused = call(*value(files, "--out", "run"))
    assert refused.code == 2
    assert ".run.journal: holds what an interrupted run has done. Add --resume" in refused.err
    resumed = call(*value(files, "--out", "run", "--resume"))
    assert resumed.line["steps"] == 4
    assert sorted(os.listdir()) == ["run", "whole"]
    assert pq.read_table("run/values.parquet").equals(pq.read_table("whole/values.parquet"))
    for file in ("policy.safetensors", "evidence.json"):
        assert Path("run", file).read_bytes() == Path("whole", file).read_bytes()
    configs = [json.loads(Path(name, "config.json").read_text()) for name in ("run", "whole")]
    assert configs[0]["arguments"] == configs[1]["arguments"]


@pytest.mark.slow
def test_a_full_disk_loses_nothing(files: Files, call: Call) -> None:
    """The journal is too large first, then the run itself, and then there is room."""
    assert call(*value(files, "--out", "whole")).code == 0
    assert python(KILLED, 3, *value(files, "--out", "run")).returncode == -signal.SIGKILL
    size = (JOURNAL / "answers").stat().st_size
    journal = python(FULL, size + 50, *value(files, "--out", "run", "--resume"))
    assert journal.returncode == 2, journal.stderr
    assert (JOURNAL / "answers").stat().st_size == size  # nothing torn is left in it
    assert ".run.journal/answers: cannot be written (File too large)" in journal.stderr
    assert "go on with --resume" in journal.stderr
    run = python(FULL, 4000, *value(files, "--out", "run", "--resume"))
    assert run.returncode == 2, run.stderr
    assert "run: cannot be written (File too large)" in run.stderr
    assert "Nothing that was computed is lost: it is in .run.journal" in run.stderr
    assert sorted(os.listdir()) == [".run.journal", "whole"]
    assert call(*value(files, "--out", "run", "--resume")).code == 0
    assert pq.read_table("run/values.parquet").equals(pq.read_table("whole/values.parquet"))
    assert not JOURNAL.exists()


def test_a_torn_and_a_damaged_journal(files: Files, call: Call, dies: Dies) -> None:
    assert call(*value(files, "--out", "whole")).code == 0
    assert dies(4, *value(files, "--out", "run")) is None
    content = (JOURNAL / "answers").read_bytes()
    middle = len(content) // 2
    (JOURNAL / "answers").write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    damaged = call(*value(files, "--out", "run", "--resume"))
    assert damaged.code == 2
    assert ".run.journal/answers: is damaged at byte" in damaged.err
    (JOURNAL / "answers").write_bytes(content[:-7])
    torn = call(*value(files, "--out", "run", "--resume"))
    assert torn.code == 0, torn.err
    assert "raydm: warning: .run.journal/answers: its last record was torn" in torn.err
    assert pq.read_table("run/values.parquet").equals(pq.read_table("whole/values.parquet"))


def test_other_arguments_and_other_data_are_refused_by_name(files: Files, call: Call, dies: Dies) -> None:
    assert dies(2, *value(files, "--out", "run")) is None
    other = call(*value(files, "--out", "run", "--resume", "--rollouts", "6", "--final", "all"))
    assert other.code == 2
    assert 'arguments.final is null there and "all" here; arguments.rollouts is 4 there and 6 here' in other.err
    Path("train.csv").write_text(files.train.read_text().replace("yes", "maybe", 1))
    words = list(value(files, "--out", "run", "--resume"))
    words[1] = "train.csv"
    assert "fingerprints.train is" in call(*words).err
    Path("train.csv").write_text(files.train.read_text())
    assert call(*words).code == 0  # the same rows, elsewhere


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_interrupts_is_told_how_to_go_on(files: Files, dies: Dies, number: signal.Signals, code: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        done = dies(2, *value(files, "--out", "run"), how=lambda: signal.raise_signal(number))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done is not None
    assert done.code == code
    assert "raydm: what was computed is kept in .run.journal; the same command with --resume goes on" in done.err
    assert os.listdir() == [".run.journal"]


def test_limits_of_shards_are_for_actors(files: Files, call: Call) -> None:
    done = call(*value(files, "--rollout-timeout", "30"))
    assert (done.code, done.out) == (2, "")
    assert "--rollout-timeout and --rollout-tries are for shards on Ray actors: add --actors N" in done.err


def test_there_may_be_nothing_to_resume(files: Files, call: Call) -> None:
    fresh = [word for word in value(files, "--out", "run", "--resume") if word != "--quiet"]
    done = call(*fresh)
    assert done.code == 0
    assert "raydm: nothing to resume: beginning" in done.err
    assert "run: exists already" in call(*fresh).err


@pytest.mark.parametrize("verb", ["value", "compare", "mix"])
def test_resuming_needs_a_place(files: Files, call: Call, verb: str) -> None:
    done = call(verb, files.train, "--valid", files.valid, "--resume")
    assert (done.code, done.out) == (2, "")
    assert "--resume goes on with an interrupted run of the same --out: add --out" in done.err


@pytest.mark.slow
def test_a_killed_comparison_is_resumed(files: Files, call: Call, dies: Dies) -> None:
    words = ("compare", str(files.train), "--valid", str(files.valid), *QUICK, "--methods", "dvrl", "loo")

    def without_seconds(line: dict[str, object]) -> list[dict[str, object]]:
        methods = line["methods"]
        assert isinstance(methods, list)
        return [{k: v for k, v in row.items() if k != "seconds"} for row in methods]

    whole = call(*words).line
    assert dies(6, *words, "--out", "run") is None  # in the second method
    resumed = call(*words, "--out", "run", "--resume").line
    assert without_seconds(resumed) == without_seconds(whole)
    assert json.loads(Path("run").read_text()) == resumed
    assert os.listdir() == ["run"]


@pytest.mark.slow
def test_a_killed_mixing_is_resumed(targets: Files, call: Call, dies: Dies) -> None:
    words = (
        "mix", str(targets.train), "--valid", str(targets.valid), "--predictor", "linear", "--steps", "3", "--rollouts",
        "4", "--data-options", "1..3", "--label-options", "1..3", "--repeats", "1", "--test-repeats", "1", "--quiet",
        "--features", "a", "b", "c",
    )  # fmt: skip
    assert call(*words, "--out", "whole").code == 0
    assert dies(3, *words, "--out", "run") is None
    assert call(*words, "--out", "run", "--resume").code == 0
    assert pq.read_table("run/mixed.parquet").equals(pq.read_table("whole/mixed.parquet"))
    assert sorted(os.listdir()) == ["run", "whole"]
    assert "--resume is for learning" in call("mix", targets.train, "--apply", "run", "--resume").err
