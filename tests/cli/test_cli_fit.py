"""`raydm fit`: what runs say of rows, checkpoints, and that Ray Train's workers train what this process trains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cli_kit import QUICK, Call, Files, Outcome, frame
from safetensors.torch import load_file

from raydm.data.blocks import TableRows
from raydm.fitting import Checkpoints, block_rows, sampled
from raydm.report.enlarge_run import load_enlarge_run
from raydm.report.fit_run import load_fit_run
from raydm.report.weight_run import load_weight_run

LINE = ("--predictor", "linear", "--predictor-args", '{"optimizer": "sgd", "momentum": 0.0}', "--lr", "0.5")
# As in tests/fitting/test_fit_training.py: relative to the largest number of a tensor
BOUND = 1e-5
PATIENCE = 900  # seconds, on a busy machine


def parameters(run: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(run) / "predictor" / "predictor.safetensors")


def same_bits(one: str | Path, other: str | Path) -> bool:
    a, b = parameters(one), parameters(other)
    return a.keys() == b.keys() and all(torch.equal(t, b[k]) for k, t in a.items())


def furthest(one: str | Path, other: str | Path) -> float:
    a, b = parameters(one), parameters(other)
    return max(float((t - b[k]).abs().max() / t.abs().max().clamp_min(1e-12)) for k, t in a.items())


def fit(call: Call, *words: Any, out: str) -> Outcome:
    return call("fit", *words, "--local", "--quiet", "--out", out)


@pytest.fixture(scope="module")
def line() -> pa.Table:
    """At x = -1, y is 0 and 4; at x = 1, 10 and 2."""
    return pa.table({"x": np.tile([-1.0, -1, 1, 1], 30), "y": np.tile([0.0, 4, 10, 2], 30)})


def ends(run: str | Path) -> list[float]:
    """What a line is at -1 and 1."""
    predicted: list[float] = load_fit_run(run).predictor.predict(pd.DataFrame({"x": [-1.0, 1.0]})).tolist()
    return predicted


WEIGHED = ("--label", "y", *LINE, "--batch-size", "120", "--epochs", "16", "--task", "regression")


@pytest.fixture
def weighed(line: pa.Table) -> list[str]:
    """The words that fit a line by the weights 1, 3, 1, 1: the weighted means are 3 and 6, and it goes through both."""
    pq.write_table(line, "line.parquet")
    pq.write_table(pa.table({"id": np.arange(120), "weight": np.tile([1.0, 3, 1, 1], 30)}), "w.parquet")
    return ["line.parquet", "--weights", "w.parquet", *WEIGHED]


def test_weights_of_a_file_give_the_weighted_least_squares(call: Call, weighed: list[str]) -> None:
    told = fit(call, *weighed, out="run").line
    assert told == {**told, "use": "weighted", "rows": 120, "used_rows": 120, "steps": 16, "workers": 0}
    assert ends("run") == pytest.approx([3, 6], abs=1e-4)
    assert fit(call, "line.parquet", *WEIGHED, out="alike").line["use"] == "all"
    assert ends("alike") == pytest.approx([2, 6], abs=1e-4)
    assert fit(call, *weighed, "--stream", out="streamed").code == 0
    assert same_bits("run", "streamed")
    pq.write_table(pa.table({"id": np.arange(120)[::-1], "weight": np.ones(120)}), "w.parquet")
    done = fit(call, *weighed, out="other")
    assert (done.code, done.out) == (2, "")
    assert "its id is 0, and the weight" in done.err
    assert not any(name.startswith(".") for name in os.listdir())


def test_a_run_of_values_selects_or_weighs(call: Call, files: Files) -> None:
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "values").code == 0
    values = pq.read_table("values/values.parquet").to_pandas()
    used: dict[str, int] = {}
    for final in ("weighted", "kept", "all"):
        told = fit(call, files.train, "--run", "values", "--test", files.test, "--final", final, out=final).line
        assert told["use"] == final
        assert told["test_score"] is not None
        used[final] = told["used_rows"]
    assert used == {"weighted": int((values.value > 0).sum()), "kept": int(values.selected.sum()), "all": 120}
    judged = fit(call, files.train, "--run", "values", out="judged").line
    config = json.loads(Path("values/config.json").read_text())
    trainings = config["judge"]["verdict"]["trainings"]
    best = max(trainings, key=trainings.get)
    assert judged["use"] == (best.partition(", ")[2] or ("all" if best == "unvalued" else "weighted"))
    # Another table than the run's, and a run whose labels were flipped, say nothing of these rows
    frame(120, 7).to_csv("other.csv", index=False)
    assert "is not the table that the run was made from" in fit(call, "other.csv", "--run", "values", out="no").err
    config["arguments"]["noise"] = 0.2
    Path("values/config.json").write_text(json.dumps(config))
    assert "20% of its labels were flipped" in fit(call, files.train, "--run", "values", out="no").err
    assert not Path("no").exists()


def test_a_run_of_weights_and_its_predictor(call: Call, files: Files) -> None:
    words = (files.train, "--valid", files.valid, "--epochs", "1", "--warm-up", "0", "--predictor-args",
             '{"hidden": [7]}', "--quiet")  # fmt: skip
    assert call("weight", *words, "--out", "weights").code == 0
    assert fit(call, files.train, "--run", "weights", "--epochs", "2", out="run").line["use"] == "weighted"
    run = load_fit_run("run")
    assert run.config["predictor"] == load_weight_run("weights").config["predictor"]
    assert set(run.predictor.predict(pd.read_csv(files.test))) <= {"yes", "no"}
    assert run.predictor.predict_proba(pd.read_csv(files.test)).shape == (80, 2)


@pytest.mark.slow
def test_new_rows_stand_beside_the_training_rows(call: Call, files: Files, targets: Files) -> None:
    learn = ("--epochs", "2", "--warm-up", "1", "--quiet")
    for verb in ("augment", "synthesize"):
        assert call(verb, files.train, "--valid", files.valid, *learn, "--rows", "30", "--out", verb).code == 0
        told = fit(call, files.train, "--run", verb, out=f"{verb}-fit").line
        assert (told["use"], told["new_rows"], told["used_rows"]) == ("new rows", 30, 150)
        rows = load_enlarge_run(verb).rows
        assert rows is not None
        both = pa.concat_tables([pa.Table.from_pandas(pd.read_csv(files.train)), rows.select([*"abcg", "label"])],
                                promote_options="permissive")  # fmt: skip
        pq.write_table(both, "both.parquet")
        assert fit(call, "both.parquet", out=f"{verb}-all").line["used_rows"] == 150
    words = (targets.train, "--features", *"abc", "--valid", targets.valid, "--steps", "2", "--rollouts", "2")
    assert call("mix", *words, "--quiet", "--out", "mix").code == 0
    told = fit(call, targets.train, "--run", "mix", "--valid", targets.valid, out="mix-fit").line
    assert told["new_rows"] == pq.read_metadata("mix/mixed.parquet").num_rows
    assert told["metric"] == "rmse"
    assert load_fit_run("mix-fit").roles.features.keys() == {*"abc"}


def test_an_interrupted_run_goes_on_to_the_bit(call: Call, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (files.train, "--valid", files.valid, "--epochs", "5")
    assert fit(call, *words, out="whole").code == 0
    add = Checkpoints.add

    def stop(self: Checkpoints, checkpoint: Any, identity: str) -> None:
        add(self, checkpoint, identity)
        if checkpoint.epochs == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as key:
        key.setattr(Checkpoints, "add", stop)
        done = fit(call, *words, out="again")
    assert done.code == 130
    assert "with --resume goes on with it" in done.err
    assert "Add --resume" in fit(call, *words, out="again").err
    assert "is a checkpoint of another training" in fit(call, *words, "--resume", "--lr", "0.1", out="again").err
    newest = Path(Checkpoints(".again.checkpoints").found()[0])
    (newest / "state.safetensors").write_bytes((newest / "state.safetensors").read_bytes()[:-1])
    done = call("fit", *words, "--local", "--resume", "--out", "again")
    assert done.code == 0
    assert "this checkpoint is torn" in done.err
    assert "going on after epoch 2" in done.err
    assert same_bits("whole", "again")
    assert sorted(os.listdir()) == ["again", "whole"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--final", "kept"), "--final is how the values of a run are used"),
        (("--run", "absent"), "is not a run directory"),
        (("--run", "absent", "--weights", "w.parquet"), "--weights are of no run"),
        (("--workers", "2"), "--workers is for workers on Ray"),
        (("--predictor", "lightgbm"), "'predictor'"),
        (("--predictor-args", '{"precision": "bfloat16"}'), "Use --precision"),
        (("--precision", "float16"), "without GPUs"),
        (("--keep", "best"), "without trusted rows"),
        (("--epochs", "0"), "'epochs'"),
        (("--batch-size", "0"), "'batch_size'"),
        (("--resume",), "add --out"),
        (("--label", "lable"), "Did you mean 'label'?"),
        (("--sizes", "3", "4"), "--sizes splits a named set"),
        (("--seed", "-1"), "'seed'"),
    ],
)
def test_flags_that_cannot_be(call: Call, files: Files, flags: tuple[str, ...], words: str) -> None:
    done = call("fit", files.train, "--local", "--quiet", *flags)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert os.listdir() == []


def cli(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "raydm.cli", "fit", *map(str, words), "--quiet"]


def test_two_workers_of_ray_train_train_what_this_process_trains(call: Call, weighed: list[str]) -> None:
    assert fit(call, *weighed, out="here").code == 0
    done = subprocess.run(
        [*cli(*weighed), "--workers", "2", "--out", "there"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["workers"] == 2
    assert ends("there") == pytest.approx([3, 6], abs=1e-4)  # a mean of the workers' means would be another line
    assert furthest("here", "there") < BOUND
    assert not any(name.startswith(".") for name in os.listdir())


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_one_worker_gives_the_bits_of_this_process(call: Call, files: Files, stream: bool) -> None:
    words: list[Any] = [files.train, "--valid", files.valid, "--test", files.test, "--epochs", "3"]
    assert fit(call, *words, out="here").code == 0
    flags = ["--stream"] if stream else []
    assert call("fit", *words, *flags, "--quiet", "--out", "there").code == 0
    assert same_bits("here", "there")
    assert call("fit", *words, *flags, "--workers", "2", "--quiet", "--out", "two").code == 0
    assert furthest("here", "two") < BOUND


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The process ids of the training workers that a command's own Ray started."""
    parents, found = {process.pid}, []
    stats = {int(p.name): p for p in Path("/proc").iterdir() if p.name.isdigit()}
    for _ in range(4):  # its raylet, and what that started
        for pid, folder in stats.items():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if parent in parents:
                parents.add(pid)
                if b"RayTrainWorker" in command:
                    found.append(pid)
    return sorted(set(found))


def after_epochs(process: subprocess.Popen[bytes], place: str, epochs: int) -> None:
    """Waits until a command has trained so many epochs."""
    until = time.monotonic() + PATIENCE
    while len(Checkpoints(place).history()) < epochs:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)


LONG = ("--epochs", "40", "--predictor-args", '{"hidden": [64, 64]}', "--batch-size", "8")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_begun_again(call: Call, files: Files) -> None:
    words = (files.train, "--valid", files.valid, *LONG)
    assert fit(call, *words, out="here").code == 0
    with subprocess.Popen([*cli(*words), "--out", "there"], stderr=subprocess.PIPE) as process:
        after_epochs(process, ".there.checkpoints", 2)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert same_bits("here", "there")


@pytest.mark.slow
def test_workers_that_are_killed_too_often_end_with_an_error(call: Call, files: Files) -> None:
    words = (files.train, "--valid", files.valid, *LONG)
    with subprocess.Popen([*cli(*words), "--tries", "1", "--out", "there"], stderr=subprocess.PIPE) as process:
        after_epochs(process, ".there.checkpoints", 2)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert b"workers failed 1 times (--tries)" in told
    assert b"--resume goes on with them" in told
    assert not Path("there").exists()
    assert fit(call, *words, out="here").code == 0
    assert fit(call, *words, "--resume", out="there").code == 0  # and here, without Ray
    assert same_bits("here", "there")


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on(call: Call, files: Files) -> None:
    words = (files.train, "--valid", files.valid, *LONG)
    assert fit(call, *words, out="here").code == 0
    with subprocess.Popen([*cli(*words), "--out", "there"], stderr=subprocess.PIPE) as process:
        after_epochs(process, ".there.checkpoints", 2)
        process.kill()
    done = subprocess.run(
        [*cli(*words)[:-1], "--resume", "--out", "there"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stderr
    assert same_bits("here", "there")


@pytest.mark.slow
def test_rows_that_cannot_be_read_end_all_workers_at_once() -> None:
    n = 140_000  # more than encoders learn from
    table = pa.table({"row": np.arange(n), "b": np.linspace(-1, 1, n), "y": np.linspace(0, 5, n)})
    seen = sampled(TableRows(table, "t"), block_rows(n, table.nbytes / n), 0)["row"].to_numpy()
    bad = int(np.setdiff1d(np.arange(n), seen)[-1])
    b = np.where(np.arange(n) == bad, np.inf, table["b"].to_numpy())
    pq.write_table(table.set_column(1, "b", pa.array(b)), "bad.parquet")
    words = ("--features", "b", "--stream", "--workers", "2", "--batch-size", "4096", "--out", "no")
    done = subprocess.run([*cli("bad.parquet"), *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(word in done.stderr for word in ("bad.parquet", "'b'", "infinite")), done.stderr
    assert "failed" not in done.stderr  # and was not tried again
    assert os.listdir() == ["bad.parquet"]


@pytest.mark.slow
def test_workers_that_can_never_be_placed(files: Files) -> None:
    done = subprocess.run(
        [*cli(files.train), "--workers", "3", "--cpus-per-worker", "1000", "--gpus-per-worker", "1", "--out", "no"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "3 training workers of 1000 CPU, 1 GPU each can never be placed" in done.stderr
    assert "--cpus-per-worker" in done.stderr
    assert os.listdir() == []
