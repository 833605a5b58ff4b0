"""`raydm value` as a user runs it: what goes in, what comes out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_kit import QUICK, Call, Files, frame

import raydm
from raydm.data import load_set
from raydm.metrics import discovery_auc

DIGITS = ("value", "digits", "--sizes", "200", "50", *QUICK)


def test_one_json_line_on_stdout_and_words_on_stderr(call: Call) -> None:
    done = call(*DIGITS, "--noise", "0.2", "--out", "run")
    wanted = {"run", "method", "rows", "steps", "seconds", "utility", "test_score", "discovery_auc", "inputs"}
    assert wanted <= set(done.line)
    assert (done.line["run"], done.line["method"], done.line["rows"], done.line["steps"]) == ("run", "dvrl", 200, 4)
    assert set(done.line["inputs"]) == {"random", "pooled", "validation", "neighbors"}
    assert done.line["returned"] in {"learned", "pooled", "validation", "neighbors"}
    assert done.line["better_than_inputs"] == (done.line["discovery_auc"] >= max(done.line["inputs"].values()))
    assert 0 <= done.line["test_score"] <= 1
    assert "discovery AUC" in done.err
    assert "run is in run" in done.err
    assert "step/s" not in done.err  # --quiet


def test_progress_on_stderr_tells_step_utility_mean_h_and_time_left(call: Call) -> None:
    words = [word for word in DIGITS if word != "--quiet"]
    done = call(*words, "--out", "run")
    assert "4/4 [" in done.err
    assert "utility=" in done.err
    assert "mean_h=" in done.err
    assert len(done.line) > 0  # and stdout is still one line


def test_the_default_run_folder_is_named_after_the_data(call: Call, files: Files) -> None:
    done = call("value", files.train, "--valid", files.valid, *QUICK)
    folder = Path(done.line["run"])
    assert folder.parent == Path("runs")
    assert folder.name.startswith("train-value-")
    assert os.listdir("runs") == [folder.name]
    assert (folder / "values.parquet").exists()


@pytest.fixture
def by_csv(call: Call, files: Files) -> pa.Table:
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "by-csv").code == 0
    return pq.read_table("by-csv/values.parquet")


@pytest.mark.parametrize("suffix", [".tsv", ".csv.gz", ".parquet", ".feather"])
def test_the_same_rows_in_another_format_have_the_same_values(
    call: Call, files: Files, by_csv: pa.Table, suffix: str
) -> None:
    paths = {}
    for name in ("train", "valid", "test"):
        table, paths[name] = pd.read_csv(getattr(files, name)), Path(name + suffix)
        if suffix == ".parquet":
            table.to_parquet(paths[name])
        elif suffix == ".feather":
            table.to_feather(paths[name])
        else:
            table.to_csv(paths[name], index=False, sep="\t" if suffix == ".tsv" else ",")
    done = call(
        "value", paths["train"], "--valid", paths["valid"], "--test", paths["test"], *QUICK, "--out", "run"
    )  # fmt: skip
    assert done.line["test_score"] is not None
    assert done.line["discovery_auc"] is None  # nothing is known to be flipped
    assert pq.read_table("run/values.parquet").equals(by_csv)


def test_a_glob_stands_for_its_files_in_sorted_order(call: Call, files: Files, by_csv: pa.Table) -> None:
    table = pd.read_csv(files.train)
    table[:70].to_csv("part-1.csv", index=False)
    table[70:].to_csv("part-2.csv", index=False)
    for number, given in enumerate((["part-*.csv"], ["part-2.csv", "part-1.csv"])):
        done = call("value", *given, "--valid", files.valid, *QUICK, "--out", f"run{number}")
        assert done.line["rows"] == 120
        assert pq.read_table(f"run{number}/values.parquet").equals(by_csv)


def test_rows_are_named_by_the_id_column(call: Call, files: Files) -> None:
    names = [f"person-{row}" for row in range(120)]
    for column, flags in (("id", ()), ("who", ("--id", "who"))):
        pd.read_csv(files.train).assign(**{column: names}).to_csv(f"{column}.csv", index=False)
        assert (
            call("value", f"{column}.csv", "--valid", files.valid, *flags, *QUICK, "--out", column + "-run").code == 0
        )
        assert pq.read_table(f"{column}-run/values.parquet")["id"].to_pylist() == names
        roles = json.loads(Path(f"{column}-run/config.json").read_text())["roles"]
        assert column not in dict(roles["features"])
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "numbers").code == 0
    assert pq.read_table("numbers/values.parquet")["id"].to_pylist() == list(range(120))


def test_values_come_in_the_order_of_the_rows_with_their_rank(by_csv: pa.Table) -> None:
    assert by_csv.column_names == ["id", "value", "rank", "selected"]
    value, rank = by_csv["value"].to_numpy(), by_csv["rank"].to_numpy()
    assert sorted(rank) == list(range(1, 121))
    assert (np.diff(value[np.argsort(rank)]) <= 0).all()
    assert by_csv["selected"].to_pylist() == (value >= 0.5).tolist()
    assert ((value >= 0) & (value <= 1)).all()
    assert len(set(value.tolist())) > 100


def test_kind_and_features_and_label_override_what_is_inferred(call: Call, files: Files) -> None:
    for name in ("train", "valid"):
        table = pd.read_csv(getattr(files, name)).rename(columns={"label": "verdict"})
        table["k"] = np.arange(len(table)) % 3
        table.to_csv(f"{name}.csv", index=False)
    words = ("value", "train.csv", "--valid", "valid.csv", "--label", "verdict", "--features", "b", "k", *QUICK)
    for flags, width in (((), 2), (("--kind", "k=categorical"), 4)):
        assert call(*words, *flags, "--out", f"run{width}").code == 0
        config = json.loads(Path(f"run{width}/config.json").read_text())
        assert config["n_features"] == width  # b, and k as a number or as three categories
        assert [name for name, _ in config["roles"]["features"]] == ["b", "k"]
        assert config["roles"]["label"] == "verdict"


def test_a_text_column_is_read_as_text(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get("RAYDM_DATA"):
        pytest.skip("sms_spam needs RAYDM_DATA")
    loaded = load_set("sms_spam", seed=0, sizes=(150, 40))
    pq.write_table(loaded.train, "train.parquet")
    pd.DataFrame(loaded.valid.to_pydict()).to_csv("valid.csv", index=False)
    done = call("value", "train.parquet", "--valid", "valid.csv", *QUICK, "--noise", "0.2", "--out", "run")
    assert done.line["rows"] == 150
    kinds = dict(json.loads(Path("run/config.json").read_text())["roles"]["features"])
    assert set(kinds.values()) == {"text"}
    again = call("score", "run", "train.parquet", "--out", "again.parquet")
    assert again.line["rows"] == 150


def test_a_text_column_of_a_csv_file(call: Call) -> None:
    good, bad = "please call me when you are at home", "win a free prize now by sending this text"
    rows = [(f"{good if i % 2 else bad} number {i}", "ham" if i % 2 else "spam") for i in range(120)]
    pd.DataFrame(rows[:80], columns=["message", "label"]).to_csv("train.csv", index=False)
    pd.DataFrame(rows[80:], columns=["message", "label"]).to_csv("valid.csv", index=False)
    done = call("value", "train.csv", "--valid", "valid.csv", *QUICK, "--out", "run")
    assert done.line["utility"] > 0.9  # the words tell the classes apart
    assert json.loads(Path("run/config.json").read_text())["roles"]["features"] == [["message", "text"]]


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_regression_on_a_file(call: Call, targets: Files, metric: str) -> None:
    done = call(
        "value", targets.train, "--valid", targets.valid, "--test", targets.test, "--predictor", "linear",
        "--metric", metric, *QUICK, "--out", "run",
    )  # fmt: skip
    assert done.line["metric"] == metric
    assert (done.line["utility"] > 0) == (metric == "r2")  # higher is better, always
    assert done.line["test_score"] > 0  # in the metric's own direction
    assert done.line["discovery_auc"] is None
    predicted = raydm.load_run("run").predictor.predict(pa.csv.read_csv(targets.test).drop(["label"]))
    truth = pd.read_csv(targets.test)["label"].to_numpy()
    own = {
        "rmse": np.sqrt(np.mean((predicted - truth) ** 2)),
        "mae": np.mean(np.abs(predicted - truth)),
        "r2": 1 - np.mean((predicted - truth) ** 2) / truth.var(),
    }
    assert done.line["test_score"] == pytest.approx(own[metric], rel=1e-5)


def test_regression_on_a_named_set(call: Call) -> None:
    done = call("value", "diabetes", *QUICK, "--out", "run")
    assert done.line["metric"] == "rmse"
    assert json.loads(Path("run/config.json").read_text())["predictor"] == {"name": "linear"}
    assert 40 < done.line["test_score"] < 90  # the target's deviation is 77
    assert "removal gain on the test set" in done.err


@pytest.mark.parametrize(
    ("predictor", "arguments"),
    [
        ("logistic", {"epochs": 5}),
        ("mlp", {"hidden": [16], "epochs": 3}),
        ("cnn", {"channels": [4], "epochs": 2}),
        ("lightgbm", {"n_estimators": 3}),
        ("xgboost", {"n_estimators": 3}),
        ("naive-bayes", {}),
        ("random-forest", {"n_estimators": 5}),
        ("sklearn.neighbors.KNeighborsClassifier", {"n_neighbors": 3}),
        ("sklearn.tree.DecisionTreeClassifier", {"max_depth": 3}),
    ],
)
def test_predictors_by_name_and_their_arguments(call: Call, predictor: str, arguments: dict[str, object]) -> None:
    if predictor in ("lightgbm", "xgboost"):
        pytest.importorskip(predictor)
    done = call(
        *DIGITS, "--noise", "0.1", "--predictor", predictor, "--predictor-args", json.dumps(arguments), "--out", "run"
    )  # fmt: skip
    shape = {"image_shape": [8, 8, 1]} if predictor == "cnn" else {}  # told by the data
    assert json.loads(Path("run/config.json").read_text())["predictor"] == {"name": predictor, **arguments, **shape}
    loaded, split = raydm.load_run("run"), load_set("digits", seed=0, sizes=(200, 50))
    right = loaded.predictor.predict(split.test.drop(["label"])) == split.test["label"].to_numpy()
    assert right.mean() == pytest.approx(done.line["test_score"], abs=1e-9)  # the saved predictor is the run's own
    assert call("score", "run", _written(split.train), "--out", "scored.parquet").line["rows"] == 200


def _written(table: pa.Table) -> Path:
    pq.write_table(table, "rows.parquet")
    return Path("rows.parquet")


@pytest.mark.parametrize(("rows", "share", "flips"), [(200, "0.2", 40), (201, "0.3", 60), (110, "0.05", 6)])
def test_exactly_the_share_is_flipped_and_recorded(call: Call, rows: int, share: str, flips: int) -> None:
    done = call("value", "digits", "--sizes", str(rows), "50", "--noise", share, *QUICK, "--out", "run")
    table = pq.read_table("run/values.parquet")
    flipped = table["flipped"].to_numpy()
    assert flipped.dtype == bool
    assert flipped.sum() == flips
    assert done.line["discovery_auc"] == pytest.approx(discovery_auc(table["value"].to_numpy(), flipped), abs=1e-12)


def test_flips_are_the_same_whatever_the_method_and_differ_by_seed(call: Call) -> None:
    flipped = {}
    for name, flags in (("one", ()), ("other", ("--predictor", "naive-bayes")), ("seed", ("--seed", "1"))):
        assert call(*DIGITS, "--noise", "0.2", *flags, "--out", name).code == 0
        table = pq.read_table(f"{name}/values.parquet")
        flipped[name] = dict(zip(table["id"].to_pylist(), table["flipped"].to_pylist(), strict=True))
    assert flipped["one"] == flipped["other"]
    assert flipped["one"] != flipped["seed"]


def test_same_seed_same_bits_another_seed_other_values(call: Call, files: Files) -> None:
    words = ("value", files.train, "--valid", files.valid, "--noise", "0.1", *QUICK)
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert call(*words, "--seed", seed, "--out", name).code == 0
    first, again, other = (pq.read_table(f"{name}/values.parquet") for name in "abc")
    assert first.equals(again)
    assert not np.array_equal(first["value"].to_numpy(), other["value"].to_numpy())
    for name in ("policy.safetensors", "predictor/predictor.safetensors"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_other_rows_and_rows_that_had_to_be_mended_are_told(call: Call, files: Files) -> None:
    train, valid = frame(60, 5), frame(30, 6)
    train.loc[3, "a"] = np.nan
    train["same"] = 1.0
    valid["same"] = 1.0
    valid.loc[2, "g"] = "never seen"
    train.to_csv("train.csv", index=False)
    valid.to_csv("valid.csv", index=False)
    done = call("value", "train.csv", "--valid", "valid.csv", *QUICK, "--out", "run")
    assert done.code == 0
    assert "column 'a': 1 missing values imputed" in done.err
    assert "column 'same': constant, dropped" in done.err
    assert "warning: valid.csv, column 'g': 1 values of categories that training lacks (first 'never seen')" in done.err
    assert done.err.count("never seen") == 1  # each thing is told once
    assert json.loads(Path("run/config.json").read_text())["notes"][-1].startswith("valid.csv, column 'g'")


def test_selection_and_final_predictor_follow_threshold_and_final(call: Call, files: Files) -> None:
    words = ("value", files.train, "--valid", files.valid, *QUICK)
    done = call(*words, "--threshold", "1", "--final", "kept", "--out", "none")
    assert done.line["selected"] == 0
    assert "warning: No example reaches the threshold 1.0" in done.err
    assert call(*words, "--threshold", "0", "--final", "kept", "--out", "all").line["selected"] == 120


def test_without_noise_and_test_set_the_judge_is_named(call: Call, files: Files) -> None:
    done = call("value", files.train, "--valid", files.valid, *QUICK, "--out", "run")
    assert "removal gain on the validation set that they were learned from (give --test" in done.err
    assert done.line["test_score"] is None
    assert json.loads(Path("run/evidence.json").read_text())["removal"]["judge"] == "validation"
    assert not Path("run/discovery.png").exists()
