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
    for name in ("common", "robust", "adapt", "regression", "validation_size"):
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


def test_what_the_jobs_name_is_known():
    assert {"fashion_mnist", "cifar10", "mnist", "usps", "enron1", "sms_spam", "no2", "diabetes"} <= set(SETS)
