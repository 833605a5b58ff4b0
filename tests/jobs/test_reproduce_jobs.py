"""The jobs of jobs/reproduce run, at a tiny size, and say what they promise."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from raydm.data import SETS, describe_sets
from raydm.errors import RunError

FOLDER = Path(__file__).parents[2] / "jobs" / "reproduce"
TINY = ["--settings", json.dumps({"steps": 2, "rollouts": 2, "evidence": ["validation"]}), "--seeds", "1"]


def needs(*names):
    """Skips where a set's files are not at hand; nothing is downloaded for a test."""
    absent = [
        s["name"] for s in describe_sets() if s["name"] in names and s["source"] not in {"embedded", "RAYDM_DATA"}
    ]
    if absent:
        pytest.skip(f"{', '.join(absent)}: not in the folder that RAYDM_DATA names ({os.environ.get('RAYDM_DATA')})")


@pytest.fixture
def job(monkeypatch, capsys):
    """Runs a job by name: its JSON lines, the last ones being the summaries, and its other lines."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def run(name, *arguments):
        module = importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        module.main()
        lines = capsys.readouterr().out.splitlines()
        return [json.loads(line) for line in lines if line[0] == "{"], [line for line in lines if line[0] != "{"]

    yield run
    for name in ("common", "robust", "adapt", "regression", "validation_size", "mixing", "mixing_analyses"):
        sys.modules.pop(name, None)  # names so plain are not left to other tests


@pytest.mark.parametrize("noise", ["uniform", "background"])
def test_robust(job, noise):
    needs("fashion_mnist")
    rows, _ = job("robust", "fashion_mnist", "--noise", noise, "--sizes", 60, 20, "--pool", 4, *TINY,
                  "--predictor-args", '{"channels": [2], "epochs": 2}')  # fmt: skip
    assert [row["method"] for row in rows] == ["default", "dvrl"] * 2  # each seed's lines, then the summaries
    for figure in ("all", "clean", "trusted", "weighted", "weighted_by_best_input", "kept", "final", "auc"):
        assert 0 <= rows[0][figure] <= 1
    assert rows[2]["seeds"] == 1
    assert rows[2]["all"]["mean"] == rows[0]["all"]


def test_background_noise_is_a_share_of_all_rows_and_none_was_of_that_class(job, monkeypatch):
    robust = importlib.import_module("robust")
    y = np.repeat(np.arange(10), 10)
    labels, wrong = robust.background(y, 0.4, 10, seed=3)
    assert wrong.sum() == 40
    assert len(set(labels[wrong])) == 1
    assert ((labels != y) == wrong).all()


@pytest.mark.parametrize("pair", ["mnist-usps", "mnist-usps-cropped", "enron-sms"])
def test_adapt(job, pair):
    needs("enron1", "sms_spam") if pair == "enron-sms" else needs("mnist", "usps")
    rows, _ = job("adapt", pair, "--sizes", 100, 30, "--methods", "default", *TINY)
    first, summary = rows
    assert first["gain"] == pytest.approx(first["final"] - first["uniform"], abs=2e-4)
    assert summary["paper_gain"]["mean"] in (0.164, 0.219)
    assert {"target_alone", "source_and_target", "weighted_and_target", "kept_10%"} <= set(first)


def test_cropped_digits_fill_their_frame(job):
    adapt = importlib.import_module("adapt")
    image = np.zeros((1, 28, 28, 1), np.float32)
    image[0, 8:20, 10:16] = 255
    table = adapt.pa.table({"x": adapt.vector_column(image), "label": [0]})
    cropped, whole = (adapt.to_array(adapt.digits(table, most=255.0, crop=crop)["x"]) for crop in (True, False))
    assert cropped.shape == whole.shape == (1, 16, 16, 1)
    assert cropped.min() == 1
    assert whole[0, 0, 0, 0] == 0


@pytest.mark.parametrize("methods", [["default"], ["dvrl", "knn-shapley"]])
def test_regression(job, methods):
    rows, _ = job("regression", "diabetes", "--sizes", 60, 20, *TINY, "--methods", *methods)
    assert [row["method"] for row in rows] == methods * 2
    assert all(0 <= row["auc"] <= 1 and row["final"] > 0 for row in rows[: len(methods)])


def test_replaced_targets_are_those_of_other_rows(job):
    regression = importlib.import_module("regression")
    y = np.arange(100.0)
    corrupted, wrong = regression.replaced(y, 0.2, seed=1)
    assert wrong.sum() == 20
    assert (corrupted[~wrong] == y[~wrong]).all()
    assert set(corrupted) <= set(y)


def test_validation_size(job, tmp_path):
    picture = tmp_path / "new" / "size.png"
    rows, others = job(
        "validation_size", "--sets", "digits", "--valid", 10, 20, "--train", 80, "--plot", picture, *TINY
    )
    assert [(row["trusted_rows"], row["method"]) for row in rows[:6]] == [
        (m, method) for m in (10, 20) for method in ("default", "validation", "dvrl")
    ]
    assert rows[0]["all"] == rows[3]["all"]  # training and test rows do not depend on how many are trusted
    assert sum(line.startswith("| digits") for line in others) == 6
    assert picture.stat().st_size > 10_000


TINY_MIX = [
    *("--settings", json.dumps({"steps": 2, "rollouts": 2, "repeats": 1, "data_options": "1,2", "label_options": "1"})),
    *("--predictor-args", '{"hidden": [4], "steps": 20, "patience": 1, "check_every": 5}'),
    *("--sizes", 40, 20, "--test-repeats", 2),
]


@pytest.mark.parametrize("stop", ["valid", "holdout", "never"])
def test_mixing(job, stop):
    needs("no2")
    methods = ["mixrl", "none", "global-knn"]
    rows, _ = job("mixing", "no2", "--stop", stop, "--seeds", 2, "--methods", *methods, *TINY_MIX)
    each, summaries = rows[:6], rows[6:]
    assert [(row["method"], row["seed"]) for row in each] == [(m, seed) for seed in (0, 1) for m in methods]
    assert [(row["set"], row["stop"], row["method"], row["seeds"]) for row in summaries] == [
        ("no2", stop, method, 2) for method in methods
    ]
    for row in each:
        assert row["ratio"] == pytest.approx(row["rmse"] / row["rmse_none"], abs=1e-3)
        # Without mixing a seed's error is the same beside every method: rows that are absent have no part in it
        assert row["rmse_none"] == pytest.approx(each[3 * row["seed"]]["rmse_none"], abs=2e-4)
    assert each[1]["ratio"] == each[4]["ratio"] == 1.0
    assert each[0]["rmse_none"] != each[3]["rmse_none"]
    for summary, method in zip(summaries, methods, strict=True):
        ratios = [row["ratio"] for row in each if row["method"] == method]
        assert summary["ratio"]["min"] == min(ratios)
        assert summary["ratio"]["mean"] == pytest.approx(np.mean(ratios), abs=1e-3)


def test_mixing_of_several_labels(job):
    needs("thin_film")
    rows, _ = job("mixing", "thin_film", "--seeds", 1, "--methods", "c-mixup", *TINY_MIX)
    assert rows[0]["mixed_rows"] > 0
    assert rows[0]["rmse"] > 1  # in nm


def test_what_mixing_watches(job, monkeypatch):
    needs("no2")
    mixing = importlib.import_module("mixing")
    seen = []
    monkeypatch.setattr(mixing, "gains", lambda problem, train, *_: seen.append((problem, train)) or {})
    for stop in mixing.STOPS:
        job("mixing", "no2", "--stop", stop, "--seeds", 1, "--methods", "none", *TINY_MIX)
    valid, holdout, never = (problem.predictor for problem, _ in seen)
    assert [len(train) for _, train in seen] == [40, 36, 40]
    assert valid.watched is seen[0][0].valid
    assert len(holdout.watched) == 4
    assert not {*holdout.watched.ids} & {*seen[1][1].ids}  # what is watched is not trained on
    assert never.early_stopping is None


def test_mixing_refuses_another_predictor(job):
    with pytest.raises(SystemExit):
        job("mixing", "no2", "--predictor", "linear")


def analysis(job, tmp_path, what, *words):
    """Its JSON lines, and what its file holds."""
    lines, _ = job("mixing_analyses", what, "no2", "--seeds", 2, "--out", tmp_path / "new", *TINY_MIX, *words)
    file = tmp_path / "new" / f"{what}-no2-valid.json"
    assert file.with_suffix(".png").stat().st_size > 10_000
    return lines, json.loads(file.read_text())


def test_how_wrong_mixed_labels_are(job, tmp_path):
    needs("no2")
    lines, told = analysis(job, tmp_path, "linearity")
    assert [line["seed"] for line in lines[:2]] == [0, 1]
    first, second = told["seeds"]
    mean = told["mean"]
    assert lines[0]["nearest_data"] == pytest.approx(first["by_data"]["error"][0], abs=1e-4)
    assert mean["by_data"]["error"][2] == pytest.approx(
        (first["by_data"]["error"][2] + second["by_data"]["error"][2]) / 2
    )
    gap = abs(first["real_rows"]["error"] - second["real_rows"]["error"])
    assert mean["real_rows"]["standard_error"] == pytest.approx(gap / 2)  # of two values
    assert mean["mixed_rows"] is None


def test_what_rows_are_worth_to_mixing(job, tmp_path):
    needs("no2")
    lines, told = analysis(job, tmp_path, "sizes", "--methods", "global-knn")
    cells = [(5, 20), (10, 20), (20, 20), (40, 20), (40, 2), (40, 5), (40, 10)]
    assert [(row["training_rows"], row["trusted_rows"]) for row in told["rows"]] == cells * 2
    assert [(line["training_rows"], line["trusted_rows"]) for line in lines[14:]] == cells
    assert told["compared"]["global-knn"]["steps"] == 2


@pytest.mark.parametrize("what", ["ablations", "options"])
def test_what_limits_and_options_are_worth(job, tmp_path, what):
    needs("no2")
    lines, told = analysis(job, tmp_path, what)
    names = list(importlib.import_module("mixing_analyses").__dict__[what.upper()])
    assert [row["method"] for row in told["rows"]] == names * 2
    assert [line["method"] for line in lines[2 * len(names) :]] == names
    if what == "ablations":
        assert told["compared"]["no label limit"]["label_options"] == "none"
        assert told["compared"]["no data limit"]["data_options"] == "none"
        assert told["compared"]["both limits"]["data_options"] == "1,2"  # as --settings says


def test_analyses_never_overwrite_and_know_their_names(job, tmp_path):
    needs("no2")
    with pytest.raises(SystemExit):
        job("mixing_analyses", "options", "no2", "--methods", "mixup", "--out", tmp_path)
    (tmp_path / "options-no2-valid.png").write_text("there")
    with pytest.raises(RunError, match="exists already"):
        job("mixing_analyses", "options", "no2", "--out", tmp_path)


def test_what_the_jobs_name_is_known():
    assert {"fashion_mnist", "cifar10", "mnist", "usps", "enron1", "sms_spam", "no2", "diabetes"} <= set(SETS)
