"""`raydm value --method`, and `raydm compare`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cli_kit import QUICK, Call, Files, frame

import raydm
from raydm.errors import RunError
from raydm.report.evidence import LEARNED
from raydm.report.plots import _COLOURS
from raydm.valuation.evidence import POOLED, SOURCES
from raydm.valuation.methods import GAMES, METHODS

SETTINGS = {"shapley": {"permutations": 4}, "banzhaf": {"subsets": 64}, "data-oob": {"members": 16}}
LOGISTIC = ("--predictor", "logistic", "--predictor-args", '{"epochs": 10}')


@pytest.mark.parametrize("method", GAMES)
def test_a_game_s_run_holds_what_a_game_can_tell(call: Call, files: Files, method: str) -> None:
    words = ("value", files.train, "--valid", files.valid, "--test", files.test, "--noise", "0.2", "--quiet", *LOGISTIC)
    own = SETTINGS.get(method, {})
    done = call(*words, "--method", method, "--method-args", json.dumps(own), "--out", "run")
    line = done.line
    assert (line["method"], line["returned"], line["rows"]) == (method, method, 120)
    assert line["utility"] is None  # a mean over rollouts, which games have not
    assert set(line["inputs"]) == {"random", "validation"}
    assert 0 <= line["discovery_auc"] <= 1
    assert f"discovery AUC: {line['discovery_auc']:.4f}" in done.err
    table = pq.read_table("run/values.parquet")
    sampled = method in {"shapley", "banzhaf", "knn-shapley", "data-oob"}
    assert ("standard_error" in table.column_names) == sampled
    value = table["value"].to_numpy()
    threshold = 0.5 if method == "data-oob" else 0.0
    assert table["selected"].to_pylist() == (value >= threshold).tolist()
    config = json.loads(Path("run/config.json").read_text())
    assert (config["method"], config["arguments"]["method_args"]) == (method, own)
    assert (config["threshold"], config["value_function"], config["judge"]) == (threshold, None, None)
    assert not Path("run/policy.safetensors").exists()
    assert not Path("run/inputs").exists()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    lines = Path("run/metrics.jsonl").read_text().splitlines()
    assert all(json.loads(entry, parse_constant=refuse) for entry in lines)
    assert len(lines) == line["steps"]
    loaded = raydm.load_run("run")
    predicted = loaded.predictor.predict(pd.read_csv(files.test))
    assert (predicted == pd.read_csv(files.test)["label"].to_numpy()).mean() == pytest.approx(line["test_score"])
    with pytest.raises(RunError, match=f"The method '{method}' values only the rows that it was run on"):
        loaded.values(None)


def test_a_game_s_run_scores_nothing(call: Call, files: Files) -> None:
    assert call("value", files.train, "--valid", files.valid, "--method", "knn-shapley", "--quiet", "--out", "run").line
    done = call("score", "run", files.test)
    assert (done.code, done.out) == (2, "")
    assert "'knn-shapley' values only the rows that it was run on: see the run's values.parquet" in done.err
    assert "--method dvrl" in done.err
    assert not Path("values.parquet").exists()


def test_the_progress_of_a_game_is_told(call: Call, files: Files) -> None:
    words = ("value", files.train, "--valid", files.valid, *LOGISTIC, "--method", "banzhaf")
    done = call(*words, "--method-args", '{"subsets": 64, "chunk": 32}', "--out", "run")
    assert "banzhaf: " in done.err
    assert "share=" in done.err
    assert done.line["steps"] == 2


def test_a_game_of_targets(call: Call, targets: Files) -> None:
    words = ("value", targets.train, "--valid", targets.valid, "--quiet", "--method", "data-oob")
    done = call(*words, "--method-args", '{"members": 16}', "--out", "run")
    value = pq.read_table("run/values.parquet")["value"].to_numpy()
    assert (value <= 0).all()
    assert 60 < done.line["selected"] <= 120  # a line explains these targets
    refused = call(*words, "--final", "weighted", "--out", "other")
    assert refused.code == 2
    assert "'final'" in refused.err
    assert "for regression" in refused.err


# DVRL's own words


def test_no_steps_give_the_best_input(call: Call, files: Files) -> None:
    done = call("value", files.train, "--valid", files.valid, "--noise", "0.2", *QUICK, "--steps", "0", "--out", "run")
    line = done.line
    assert (line["steps"], line["utility"]) == (0, None)
    assert line["returned"] in {"pooled", "validation", "neighbors"}
    assert line["discovery_auc"] == line["inputs"][line["returned"]]
    assert f"of the input {line['returned']!r}: nothing that was learned was better" in done.err
    assert Path("run/metrics.jsonl").read_text() == ""
    assert call("score", "run", files.train, "--out", "again.parquet").code == 0
    assert call("score", "run", files.test, "--out", "new.parquet").line["rows"] == 80


def test_collapses_are_told_and_kept(call: Call, files: Files) -> None:
    words = ("--learning-rate", "100", "--exploration", "0", "--judge", "0", "--restarts", "1", "--start", "nothing")
    done = call("value", files.train, "--valid", files.valid, *QUICK, *words, "--out", "run")
    assert done.line["returned"] == "pooled"
    told = [line for line in done.err.splitlines() if "collapsed" in line]
    assert told[0].endswith("in fold 0, attempt 0: learned again from other draws")
    assert told[1].endswith("in fold 0, attempt 1: given up in this fold")
    judge = json.loads(Path("run/config.json").read_text())["judge"]
    assert [event["attempt"] for event in judge["restarts"]] == [0, 1]
    assert judge["verdict"] is None
    assert set(judge["detection_of_inputs"]) == {"pooled", "validation", "neighbors"}


def test_the_verdict_is_kept(call: Call, files: Files) -> None:
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "run").line["returned"]
    verdict = json.loads(Path("run/config.json").read_text())["judge"]["verdict"]
    assert set(verdict) == {"detection", "utility", "hits", "trainings"}
    assert set(verdict["detection"]) == {"learned", "start", "error"}


def test_every_curve_has_a_colour() -> None:
    assert set(_COLOURS) == {LEARNED, POOLED, "random", *SOURCES}
    assert len({*_COLOURS.values()}) == len(_COLOURS)


def test_all_evidence_together_scores_the_training_file_to_the_run_s_values(
    call: Call, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["raydm.valuation.evidence.gather"], "_TREE_COUNT", 10)
    words = ("--steps", "4", "--rollouts", "4", "--quiet", "--noise", "0")
    done = call("value", files.train, "--valid", files.valid, *words, "--out", "run")
    assert set(done.line["inputs"]) == {"random", POOLED, *SOURCES}
    assert sorted(p.name for p in Path("run/inputs").iterdir()) == sorted(SOURCES)
    assert call("score", "run", files.train, "--out", "again.parquet").code == 0
    assert pq.read_table("again.parquet").equals(pq.read_table("run/values.parquet"))


@pytest.mark.parametrize("lost", ["inputs", "inputs/neighbors/2", "policy.safetensors"])
def test_a_torn_run_scores_nothing_and_says_so(call: Call, files: Files, lost: str) -> None:
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "run").code == 0
    Path("run", lost).rename("lost")
    done = call("score", "run", files.test)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("raydm: run")
    assert "Traceback" not in done.err
    assert not Path("values.parquet").exists()


def test_a_run_of_the_first_format_is_refused(call: Call, files: Files) -> None:
    Path("old").mkdir()
    Path("old/config.json").write_text(json.dumps({"format": 1, "estimator": {"n_features": 3, "hidden": 100}}))
    done = call("score", "old", files.test)
    assert done.code == 2
    assert "is not of format 3 of `raydm value`, which this raydm reads. Run it again." in done.err


# Compare


def test_compare_prints_a_table_and_one_line(call: Call, files: Files) -> None:
    words = ("compare", files.train, "--valid", files.valid, "--test", files.test, "--noise", "0.2", *QUICK, *LOGISTIC)
    done = call(
        *words, "--methods", "knn-shapley", "dvrl", "data-oob", "--method-args", '{"data-oob": {"members": 16}}'
    )  # fmt: skip
    line = done.line
    assert (line["set"], line["rows"], line["noise"], line["judge"]) == ("train", 120, 0.2, "test")
    rows = {row["method"]: row for row in line["methods"]}
    inputs = {f"input: {name}" for name in ("random", "validation", "neighbors", "pooled")}
    assert set(rows) == {"knn-shapley", "dvrl", "data-oob", *inputs}
    assert len(rows) == len(line["methods"])  # what several methods have in common stands there once
    for name, row in rows.items():
        assert set(row) == {"method", "auc", "f1", "recall", "removal_gain", "test_score", "seconds"}
        assert 0 <= row["auc"] <= 1
        assert (row["seconds"] is None) == (row["test_score"] is None) == (name in inputs)
    told = [entry for entry in done.err.splitlines() if not entry.startswith("raydm: ")]
    assert told[0].split() == ["method", "auc", "f1", "recall", "removal_gain", "test_score", "seconds"]
    assert len(told) == 1 + len(rows)
    assert f"{rows['dvrl']['auc']:.4f}" in done.err
    assert list(Path().iterdir()) == []  # nothing is written
    # The same rows, flips and values as `raydm value` has.
    value = call("value", *words[1:], "--out", "run").line
    assert value["discovery_auc"] == rows["dvrl"]["auc"]
    assert value["removal_gain"] == rows["dvrl"]["removal_gain"]
    assert value["test_score"] == rows["dvrl"]["test_score"]
    assert value["inputs"] == {name.removeprefix("input: "): rows[name]["auc"] for name in inputs}


def test_compare_without_flips_and_test_rows(call: Call, targets: Files) -> None:
    done = call("compare", targets.train, "--valid", targets.valid, "--methods", "knn-shapley", "loo", "--quiet")
    assert done.line["judge"] == "validation"
    for row in done.line["methods"]:
        assert row["auc"] is row["f1"] is row["recall"] is row["test_score"] is None
        assert np.isfinite(row["removal_gain"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--methods", "dvrl", "dvrl"], ["'methods' parameter of raydm compare", "different methods"]),
        (["--methods", "magic"], ["'method'", "'knn-shapley'", "'magic'"]),
        (["--methods", "loo", "--method-args", '{"shapley": {}}'], ["'method_args'", "['loo']"]),
        (["--methods", "loo", "--method-args", '{"loo": 3}'], ["'method_args'", "['loo']"]),
        (["--methods", "loo", "--method-args", '{"loo": {"k": 3}}'], ["'method_params'", "'chunk'"]),
        (["--methods", "loo", "--noise", "2"], ["'noise' parameter of raydm compare", "[0, 1)"]),
        (["--methods", "loo", "--metric", "rmse"], ["'metric'", "'accuracy'"]),
        (["--methods", "loo", "--gpus-per-actor", "1"], ["add --actors"]),
        (["--methods", "loo", "dvrl", "--final", "weighted"], ["'final'", "method='loo'"]),
    ],
)
def test_compare_refuses(call: Call, files: Files, flags: list[str], words: list[str]) -> None:
    done = call("compare", files.train, "--valid", files.valid, *QUICK, *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("raydm: ")
    assert all(word in done.err for word in words), done.err


def test_compare_writes_its_line_to_a_file(call: Call, files: Files) -> None:
    words = ("compare", files.train, "--valid", files.valid, *QUICK, "--methods", "loo", "--out", "deep/loo.json")
    line = call(*words).line
    assert os.listdir("deep") == ["loo.json"]
    assert json.loads(Path("deep/loo.json").read_text()) == line


def test_help_names_every_method_and_source(call: Call) -> None:
    for verb in ("value", "compare"):
        told = " ".join(call(verb, "--help").out.split())
        assert ", ".join(METHODS[1:]) in told
        assert ", ".join(SOURCES) in told


# Rows that are hard to learn from, with the defaults


def small(rows: int, classes: int = 2) -> pd.DataFrame:
    table = frame(rows, 1)
    return table.assign(label=[f"c{i % classes}" for i in range(rows)])


@pytest.mark.parametrize("method", ["dvrl", "knn-shapley", "data-oob", "influence", "loo"])
@pytest.mark.parametrize("trusted", [1, 2, 4])
def test_five_rows_and_a_few_trusted_ones(call: Call, method: str, trusted: int) -> None:
    small(5).to_csv("train.csv", index=False)
    small(trusted).to_csv("valid.csv", index=False)
    words = ("--method", method, *QUICK, *LOGISTIC)
    done = call("value", "train.csv", "--valid", "valid.csv", *words, "--out", "run")
    assert done.line["rows"] == 5
    assert np.isfinite(pq.read_table("run/values.parquet")["value"].to_numpy()).all()


def test_ten_classes_of_which_the_trusted_rows_lack_some(call: Call) -> None:
    small(60, 10).to_csv("train.csv", index=False)
    small(4, 10).to_csv("valid.csv", index=False)
    done = call("value", "train.csv", "--valid", "valid.csv", *QUICK, "--out", "run")
    assert done.line["rows"] == 60


def test_a_predictor_that_cannot_predict_is_told_and_not_a_traceback(call: Call) -> None:
    small(5).to_csv("train.csv", index=False)
    small(3).to_csv("valid.csv", index=False)
    five = ("--predictor", "sklearn.neighbors.KNeighborsClassifier", "--quiet")  # neighbours, and three trusted rows
    for method in ("dvrl", "loo"):
        done = call("value", "train.csv", "--valid", "valid.csv", *five, "--method", method, "--out", "run")
        assert (done.code, done.out) == (2, "")
        assert "The evidence 'validation' failed: ValueError('Expected n_neighbors <= n_samples_fit" in done.err
        assert not Path("run").exists()


def test_a_predictor_that_fails_on_what_removal_leaves_is_told(call: Call) -> None:
    small(8).to_csv("train.csv", index=False)
    small(40).to_csv("valid.csv", index=False)
    words = ("--predictor", "sklearn.neighbors.KNeighborsClassifier", "--evidence", "validation", "neighbors")
    done = call("value", "train.csv", "--valid", "valid.csv", *words, "--steps", "0", "--quiet", "--out", "run")
    assert (done.code, done.out) == (2, "")
    assert "A predictor of the removal curves failed: ValueError('Expected n_neighbors" in done.err
    assert not Path("run").exists()


def test_targets_of_two_values_that_are_predicted_exactly(call: Call) -> None:
    """The spread about the prediction is then nothing, and log-odds must not be."""
    for name, rows in (("train", 400), ("valid", 60)):
        table = frame(rows, rows)
        table.assign(label=np.where(table.a > 0, 0.0, 1.5)).to_csv(f"{name}.csv", index=False)
    words = ("--task", "regression", "--predictor", "sklearn.tree.DecisionTreeRegressor", "--evidence", "out-of-fold")
    done = call("value", "train.csv", "--valid", "valid.csv", *words, "--steps", "0", "--quiet", "--out", "run")
    assert done.code == 0, done.err
    assert np.isfinite(pq.read_table("run/values.parquet")["value"].to_numpy()).all()
