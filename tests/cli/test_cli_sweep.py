"""`raydm sweep`: trials, thresholds, tables, plots and a config that runs; interrupted, failing, infeasible."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from cli_kit import Call, Files, Outcome
from sklearn.linear_model import Ridge

FAST = ("--steps", "4", "--rollouts", "4", "--shard", "2", "--predictor", "linear", "--predictor-args", '{"epochs": 5}',
        "--data-options", "1..2", "--label-options", "1..2", "--admit", "1")  # fmt: skip
ONCE = ("--repeats", "2", "--test-repeats", "2")
VALUE = ("--steps", "4", "--rollouts", "4", "--shard", "2", "--outer-batch", "32", "--evidence", "validation",
         "neighbors", "--judge", "0")  # fmt: skip
SCALES = ("--space", "reward_scale=choice(0.5, 2, std)")
FILES = {"best.yaml", "sweep.json", "trials.parquet", "parallel.png", "threshold.png", "reward_scale.png"}
KEYS = ["run", "verb", "search", "scheduler", "trials", "finished", "stopped", "failed", "metric", "best", "seconds",
        "config"]  # fmt: skip
# Runs the command, and is killed when so many trials of its ledger have ended
KILLED = """
import os, signal, sys
import raydm.cli, raydm.sweep.ledger as ledger
left = [int(sys.argv.pop(1))]
end = ledger.Ledger.end
def killed(self, row):
    end(self, row)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
ledger.Ledger.end = killed
sys.exit(raydm.cli.main())
"""
# In any process that finds it: the first fits of Ridge with alpha 2 fail
FLAKY = """
import os
from sklearn.linear_model import Ridge
fit = Ridge.fit
def flaky(self, X, y, sample_weight=None):
    with open(os.environ["FLAKY"], "a+") as file:
        file.write(f"{self.alpha} ")
        file.seek(0)
        tried = file.read().split().count(str(self.alpha))
    if self.alpha == 2.0 and tried <= int(os.environ["FAILS"]):
        raise OSError("the disk of this node is gone")
    return fit(self, X, y, sample_weight)
Ridge.fit = flaky
"""


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray of four CPUs for this file; the command stays connected to it."""
    from raydm.distributed import connect

    connection = connect(num_cpus=4)
    yield
    connection.close()


def mix(targets: Files, *more: str) -> tuple[str, ...]:
    files = ("sweep", "mix", str(targets.train), "--valid", str(targets.valid), "--test", str(targets.test))
    return (*files, "--features", "a", "b", "c", *FAST, *ONCE, *more)


def ridge(targets: Files, alphas: str) -> tuple[str, ...]:
    words = [*mix(targets, "--space", f"predictor.alpha=choice({alphas})")]
    words[words.index("linear")] = "sklearn.linear_model.Ridge"
    del words[words.index("--predictor-args") : words.index("--predictor-args") + 2]
    return tuple(words)


def value(files: Files, *more: str) -> tuple[str, ...]:
    return ("sweep", "value", str(files.train), "--valid", str(files.valid), *VALUE, *more)


def rows(run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(run, "sweep.json").read_text())["rows"]
    return found


def without_seconds(run: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "tries")} for row in rows(run)]


def refused(done: Outcome, *told: str) -> None:
    assert (done.code, done.out) == (2, ""), done.err
    assert "Traceback" not in done.err
    for word in told:
        assert word in done.err, done.err


def test_a_sweep_of_mixing_and_the_run_of_its_best(call: Call, targets: Files) -> None:
    done = call(*mix(targets, *SCALES, "--thresholds", "0:1:0.25", "--local", "--out", "s"))
    line = done.line
    assert list(line) == KEYS
    assert (line["trials"], line["finished"], line["failed"], line["metric"]) == (3, 3, 0, "rmse")
    assert {file.name for file in Path("s").iterdir()} == FILES
    assert [path.name for path in Path().iterdir()] == ["s"]  # no work is left
    found = rows("s")
    assert [row["settings"]["reward_scale"] for row in found] == [0.5, 2, "std"]
    for row in found:
        assert {point["threshold"] for point in row["curve"]} == {0.0, 0.25, 0.5, 0.75, 1.0}
        assert {point["pick"] for point in row["curve"]} == {"best", "most"}
        top = max(row["curve"], key=lambda point: point["utility"])
        assert top["utility"] == max(
            p["utility"] for p in row["curve"] if {k: p[k] for k in ("threshold", "pick")} == row["chosen"]
        )
        assert row["utility"] == -row["valid_score"]
    best = max(found, key=lambda row: row["utility"])
    assert line["best"] == {k: best[k] for k in ("trial", "settings", "chosen", "utility", "valid_score", "test_score")}
    table = pq.read_table("s/trials.parquet").to_pylist()
    assert [row["utility"] for row in table] == [row["utility"] for row in found]
    assert [row["reward_scale"] for row in table] == ["0.5", "2", "std"]
    again = call("mix", "--config", "s/best.yaml", "--quiet", "--out", "m").line
    assert again["valid_score"] == best["valid_score"]  # to the bit
    assert (again["rmse"], again["chosen"]) == (best["test_score"], best["chosen"])
    told = done.err.splitlines()
    assert told[0].split() == ["trial", "state", "reward_scale", "threshold", "utility", "valid", "test", "seconds"]
    assert [text.split()[:3] for text in told[1:4]] == [["0", "finished", "0.5"], ["1", "finished", "2"],
                                                       ["2", "finished", "std"]]  # fmt: skip


def test_a_sweep_of_valuation_and_the_run_of_its_best(call: Call, files: Files) -> None:
    words = ("--noise", "0.2", "--seed", "3", "--space", "predictor.epochs=choice(3, 12)", "--quiet")
    line = call(*value(files, *words, "--thresholds", "0.3,0.5,0.7", "--local", "--out", "s")).line
    best = line["best"]
    assert best["chosen"]["final"] == "kept"
    config = yaml.safe_load(Path("s/best.yaml").read_text())
    assert config["predictor_args"] == {"epochs": best["settings"]["predictor.epochs"]}
    assert (config["verb"], config["noise"], config["seed"]) == ("value", 0.2, 3)
    again = call("value", "--config", "s/best.yaml", "--quiet", "--out", "v").line
    assert again["valid_score"] == best["valid_score"] == best["utility"]
    curve = next(row for row in rows("s") if row["trial"] == best["trial"])["curve"]
    kept = [point["rows"] for point in curve]
    assert kept == sorted(kept, reverse=True)
    assert again["selected"] == next(p["rows"] for p in curve if p["threshold"] == best["chosen"]["threshold"])


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["weight", "augment", "synthesize"])
def test_a_sweep_of_a_joint_training_and_the_run_of_its_best(call: Call, files: Files, verb: str) -> None:
    words = (verb, str(files.train), "--valid", str(files.valid), "--epochs", "2", "--warm-up", "1", "--seeds", "2",
             "--predictor-args", '{"device": "cpu"}', "--quiet")  # fmt: skip
    line = call("sweep", *words, "--space", "learning_rate=choice(0.1, 1.0)", "--local", "--out", "s").line
    again = call(verb, "--config", "s/best.yaml", "--out", "w").line
    assert again["valid_score"] == line["best"]["valid_score"]
    assert {file.name for file in Path("s").iterdir()} == FILES - {"threshold.png", "reward_scale.png"}


def test_a_killed_sweep_goes_on_where_it_was(call: Call, targets: Files) -> None:
    words = mix(targets, *SCALES, "--local", "--quiet")
    assert call(*words, "--out", "whole").code == 0
    command = [sys.executable, "-c", KILLED, "2", *words, "--out", "s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(os.listdir()) == [".s.sweep", "whole"]
    refused(call(*words, "--out", "s"), ".s.sweep: holds what an interrupted sweep has done. Add --resume")
    other = ("--admit", "0.5", "--out", "s", "--resume")
    refused(call(*words, *other), "is the work of another sweep: it differs in flags")
    resumed = call(*[word for word in words if word != "--quiet"], "--out", "s", "--resume")
    assert resumed.line["trials"] == 3
    assert "raydm: going on after 2 of 3 trials" in resumed.err
    assert without_seconds("s") == without_seconds("whole")
    assert Path("s/best.yaml").read_bytes() == Path("whole/best.yaml").read_bytes()
    assert sorted(os.listdir()) == ["s", "whole"]


@pytest.mark.parametrize("fails", [1, 99])
def test_a_trial_that_fails_is_tried_again(
    call: Call, targets: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    monkeypatch.setenv("FLAKY", str(tmp_path / "log"))
    monkeypatch.setenv("FAILS", str(fails))
    monkeypatch.setattr(Ridge, "fit", Ridge.fit)  # puts it back
    exec(FLAKY, {})
    done = call(*ridge(targets, "1.0, 2.0"), "--tries", "2", "--local", "--out", "s")
    assert done.code == 0, done.err
    first, second = rows("s")
    assert (first["state"], first["tries"], second["tries"]) == ("finished", 1, 2)
    assert second["state"] == ("finished" if fails == 1 else "failed")
    assert done.line["failed"] == (fails == 99)
    if fails == 99:
        assert "the disk of this node is gone" in second["error"]
        assert "raydm: 1 of 2 trials failed; trials.parquet says why" in done.err


def test_on_ray_it_is_the_same_and_what_has_no_room_is_refused(call: Call, targets: Files, ray_here: None) -> None:
    """Trials in their own processes; infeasible ones at once, and before anything is left."""
    for place, told in (
        (("--cpus-per-trial", "5"), "A trial, of 5 CPU, can never be placed: the cluster's 1 node(s) offer 4 CPU"),
        (("--gpus-per-trial", "0.5"), "A trial, of 1 CPU, 0.5 GPU, can never be placed"),
        (("--actors-per-trial", "5"), "A trial with 5 rollout actors, of 1 CPU each, can never be placed"),
        (("--pool", "5"), "A pool of 5 rollout actors, of 1 CPU each, can never be placed"),
    ):
        refused(call(*mix(targets, *SCALES, *place, "--out", "s")), told, "hold ")
    assert os.listdir() == []
    words = ("--space", "reward_scale=choice(0.5, std)", "--thresholds", "0:1:0.25", "--quiet")
    assert call(*mix(targets, *words, "--local", "--out", "here")).code == 0
    assert call(*mix(targets, *words, "--cpus-per-trial", "0.5", "--trials-at-once", "2", "--out", "ray")).code == 0
    assert without_seconds("ray") == without_seconds("here")
    assert sorted(os.listdir()) == ["here", "ray"]


@pytest.mark.slow
@pytest.mark.parametrize("place", [("--pool", "2", "--trials-at-once", "3"), ("--actors-per-trial", "2")])
def test_actors_of_a_trial_and_of_all_give_the_same(
    call: Call, targets: Files, ray_here: None, place: tuple[str, ...]
) -> None:
    words = (*SCALES, "--thresholds", "0:1:0.25", "--quiet")
    assert call(*mix(targets, *words, "--local", "--out", "here")).code == 0
    assert call(*mix(targets, *words, *place, "--out", "ray")).code == 0
    assert without_seconds("ray") == without_seconds("here")


@pytest.mark.slow
def test_a_trial_that_fails_on_ray_is_tried_again(
    call: Call, targets: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a Ray of its own, whose processes find the predictor; killed and resumed on the way."""
    (tmp_path / "sitecustomize.py").write_text(FLAKY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("FLAKY", str(tmp_path / "log"))
    monkeypatch.setenv("FAILS", "1")
    words = (*ridge(targets, "1.0, 2.0, 3.0, 4.0"), "--trials-at-once", "1")
    command = [sys.executable, "-c", KILLED, "3", *words, "--out", "s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = subprocess.run(
        [sys.executable, "-m", "raydm.cli", *words, "--out", "s", "--resume"], capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after 3 of 4 trials" in resumed.stderr
    assert [row["state"] for row in rows("s")] == ["finished"] * 4
    assert [row["tries"] for row in rows("s")] == [1, 2, 1, 1]


@pytest.mark.slow
def test_asha_stops_trials_that_do_badly(call: Call, targets: Files, ray_here: None) -> None:
    words = [*mix(targets, "--space", "predictor.lr=choice(0.05, 0.04, 1e-4, 1e-5, 1e-6, 1e-7)", "--quiet")]
    words[words.index("--steps") + 1] = "20"
    done = call(*words, "--scheduler", "asha", "--grace", "2", "--trials-at-once", "1", "--out", "s")
    assert done.line["stopped"] >= 1
    states = {row["settings"]["predictor.lr"]: row["state"] for row in rows("s")}
    assert states[0.05] == "finished"
    assert "stopped" in {states[1e-5], states[1e-6], states[1e-7]}


@pytest.mark.slow
def test_a_population_changes_settings_and_its_best_runs_again(call: Call, targets: Files, ray_here: None) -> None:
    words = [
        *mix(targets, "--space", "learning_rate=loguniform(1e-3, 1.0)", "--space", "reward_scale=choice(.5, 1, 2)")
    ]
    words[words.index("--steps") + 1] = "40"
    done = call(*words, "--search", "random", "--samples", "4", "--scheduler", "pbt", "--grace", "2", "--out", "s")
    assert done.line["finished"] == 4, done.err
    schedules = [row["settings"].get("schedule", {}) for row in rows("s")]
    assert any(schedules)
    for schedule in schedules:
        assert all(set(changes) <= {"learning_rate", "reward_scale"} for changes in schedule.values())
    for row in rows("s"):  # not the best alone: each line of settings is a run
        if row["settings"].get("schedule"):
            flags = {**yaml.safe_load(Path("s/best.yaml").read_text()), **row["settings"], **row["chosen"]}
            Path("c.yaml").write_text(yaml.safe_dump(flags))
            again = call("mix", "--config", "c.yaml", "--quiet", "--out", f"m{row['trial']}").line
            assert again["valid_score"] == row["valid_score"]
            break


REFUSED = [
    ((), "A sweep needs settings to try"),
    (("--space", "steps"), "--space steps: expected NAME=choice"),
    (("--space", "stepps=choice(1, 2)"), "--space stepps: is no setting of `raydm mix` that can be searched"),
    (("--space", "metric=choice(rmse, mae)"), "--space metric: is no setting"),
    (("--space", "quiet=choice(true)"), "--space quiet: is no setting"),
    (("--space", "steps=choice(3, 5)"), "--space steps: is given as a flag too"),
    (("--space", "pick=choice(best)", "--space", "pick=choice(most)"), "--space pick: stands twice"),
    (("--space", "learning_rate=choice(0.1, -1)"), "--space learning_rate, value -1: The 'learning_rate' parameter"),
    (("--space", "baseline=choice(none)"), "--space baseline, value 'none': The 'baseline' parameter"),
    (("--space", "alpha=choice(1, 2)"), "--space alpha, value 1: --alpha is of --lam beta"),
    (("--space", "lam=uniform(0, 1)"), "--search grid tries every value"),
    ((*SCALES, "--search", "magic"), "'search' parameter"),
    ((*SCALES, "--samples", "3"), "--samples is how many trials are drawn"),
    ((*SCALES, "--threshold", ".5", "--thresholds", "0:1:.1"), "--threshold says what --thresholds is to find"),
    (("--space", "threshold=uniform(0, 1)"), "T is tried without learning again. Use --thresholds"),
    ((*SCALES, "--actors", "2"), "--actors says not whose"),
    ((*SCALES, "--pool", "1", "--actors-per-trial", "1"), "two places for rollouts"),
    ((*SCALES, "--local", "--pool", "1"), "--pool is for Ray, and --local"),
    ((*SCALES, "--local", "--scheduler", "asha"), "--scheduler asha needs trials side by side"),
    ((*SCALES, "--gpus-per-actor", "1"), "--gpus-per-actor has no part where trials train in their own process"),
    ((*SCALES, "--pool", "1", "--cpus-per-trial", "1"), "--cpus-per-trial has no part where trials train on actors"),
    ((*SCALES, "--resume"), "--resume goes on with an interrupted sweep of the same --out"),
    ((*SCALES, "--scheduler", "pbt"), "--scheduler pbt begins with settings at random"),
    (("--space", "outer_batch=int(9, 50)", "--search", "random", "--scheduler", "pbt"), "outer_batch holds for a"),
    ((*SCALES, "--tries", "0"), "'tries' parameter"), ((*SCALES, "--apply", "run"), "--apply has no part in a sweep"),
    (("--space", "predictor.alpha=choice(1, 2)"), "--space predictor.alpha, value 1: The predictor 'linear' cannot be"),
    ((*SCALES, "--kind", "absent=vector"), "'kinds' parameter"),
    ((*SCALES, "--reduction", "1"), "'reduction' parameter"), ((*SCALES, "--grace", "21"), "'grace' parameter"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "told"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_does_not_fit_is_refused_before_anything_is_trained(
    call: Call, targets: Files, words: tuple[str, ...], told: str
) -> None:
    refused(call(*mix(targets, *words)), told)
    assert os.listdir() == []


def test_a_resumed_sweep_begins_trials_again_that_failed(
    call: Call, targets: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAKY", str(tmp_path / "log"))
    monkeypatch.setenv("FAILS", "1")
    monkeypatch.setattr(Ridge, "fit", Ridge.fit)  # puts it back
    exec(FLAKY, {})
    words = (*ridge(targets, "2.0"), "--tries", "1", "--local", "--out", "s")
    done = call(*words)
    assert (done.code, done.out) == (2, "")
    assert "None of the 1 trials finished. The first said: " in done.err
    assert "--out s --resume goes on with it" in done.err
    assert call(*words, "--resume").line["finished"] == 1
    assert os.listdir() == ["s"]


@pytest.mark.parametrize(
    ("verb", "words", "told"),
    [
        ("weight", ("--thresholds", "0:1:.1"), "--thresholds is for value and mix: raydm weight has none"),
        ("weight", ("--pool", "2"), "--pool is of rollouts, and raydm weight has none"),
        (
            "augment",
            ("--scheduler", "pbt"),
            "--scheduler pbt goes on from other trials' journals, and raydm augment has",
        ),
        ("synthesize", ("--space", "method.k=choice(1)"), "--space method.k: is no setting of `raydm synthesize`"),
    ],
)
def test_what_a_verb_does_not_have_is_refused(
    call: Call, files: Files, verb: str, words: tuple[str, ...], told: str
) -> None:
    scales = ("--space", "learning_rate=choice(0.1, 1.0)")
    refused(call("sweep", verb, files.train, "--valid", files.valid, *scales, *words), told)
