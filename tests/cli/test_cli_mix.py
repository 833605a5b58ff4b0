"""`raydm mix`: files and named sets in, one JSON line and a run directory out."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cli_kit import Call, Files, Outcome

from raydm.mixing.methods import METHODS

LINE = ("--predictor", "linear", "--predictor-args", '{"epochs": 5}', "--test-repeats", "2", "--quiet")
ONCE = (*LINE, "--repeats", "1")
OPTIONS = (*ONCE, "--data-options", "1,2", "--label-options", "1,3")
QUICK = (*OPTIONS, "--steps", "2", "--rollouts", "4")
QUICK_OF = {"none": LINE, "adamixup": LINE, "mixup": ONCE, "c-mixup": ONCE, "global-knn": OPTIONS}  # else QUICK
FIXED = (*LINE, "--method", "global-knn", "--method-args", '{"k": 1, "distance": "data"}')  # nothing is chosen
KEYS = [
    "run",
    "method",
    "rows",
    "mixed_rows",
    "seconds",
    "rmse",
    "r2",
    "rmse_none",
    "r2_none",
    "ratio",
    "judge",
    "valid_score",
    "chosen",
]
FILES = {
    "config.json", "mixed.parquet", "metrics.jsonl", "evidence.json", "mixing.png", "encoder.json",
    "encoder.safetensors", "predictor/predictor.safetensors",
}  # fmt: skip
LEARNED = ("mixrl", "adamixup", "mixrl+adamixup")


def table(rows: int, seed: int) -> pd.DataFrame:
    """Named rows on two lines: y = 1 + 2 a - b, z = 100 - 50 a."""
    t = pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 2)), columns=["a", "b"])
    return t.assign(y=1 + 2 * t.a - t.b, z=100 - 50 * t.a, id=[f"{seed}-{i}" for i in range(rows)])


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Parquet files of 60, 20 and 30 rows."""
    folder = tmp_path_factory.mktemp("lines")
    made = Files(folder, *(folder / f"{name}.parquet" for name in ("train", "valid", "test")))
    for seed, (file, rows) in enumerate(((made.train, 60), (made.valid, 20), (made.test, 30))):
        table(rows, seed).to_parquet(file)
    return made


def words(lines: Files, *more: str | os.PathLike[str]) -> tuple[str | os.PathLike[str], ...]:
    return ("mix", lines.train, "--valid", lines.valid, "--test", lines.test, "--features", "a", "b", *more)


@pytest.fixture
def run(call: Call, lines: Files) -> Path:
    assert call(*words(lines, *FIXED, "--label", "y", "--out", "run")).code == 0
    return Path("run")


def refused(done: Outcome, *told: str) -> None:
    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith("raydm: ")
    assert "Traceback" not in done.err
    for word in told:
        assert word in done.err, done.err


# What comes out


@pytest.mark.parametrize("method", METHODS)
def test_every_method(call: Call, lines: Files, method: str) -> None:
    params = ("--method-args", '{"steps": 3, "hidden": [4]}') if "adamixup" in method else ()
    quick = QUICK_OF.get(method, QUICK)
    done = call(*words(lines, *quick, *params, "--label", "y", "--method", method, "--out", "runs/one"))
    line = done.line
    assert list(line) == KEYS
    assert (line["run"], line["method"], line["rows"], line["judge"]) == ("runs/one", method, 60, "test")
    assert line["ratio"] == pytest.approx(line["rmse"] / line["rmse_none"])
    assert line["r2"] < 1
    assert (line["mixed_rows"] > 0) == (method != "none")
    files = {str(p.relative_to("runs/one")) for p in Path("runs/one").rglob("*") if p.is_file()}
    reference = {f"reference-{n}/predictor.skops" for n in range(2)} if method.startswith("mixrl") else set()
    assert files == FILES | reference | ({"mixing.safetensors"} if method in LEARNED else set())
    mixed = pq.read_table("runs/one/mixed.parquet")
    assert mixed.num_rows == line["mixed_rows"]
    steps = [json.loads(text) for text in Path("runs/one/metrics.jsonl").read_text().splitlines()]
    assert [step["t"] for step in steps] == list(range(len(steps)))
    assert "raydm: the run is in runs/one" in done.err
    assert [p.name for p in Path().iterdir()] == ["runs"]
    if method == "none":
        assert (line["ratio"], line["rmse"]) == (1.0, line["rmse_none"])


def test_mixed_rows_are_in_the_data_s_own_units_with_their_parents(call: Call, lines: Files) -> None:
    done = call(
        *words(lines, *QUICK, "--label", "y", "--label", "z", "--lam", "beta", "--threshold", "0", "--out", "run")
    )
    mixed, train = pd.read_parquet("run/mixed.parquet"), pd.read_parquet(lines.train).set_index("id")
    assert [*mixed.columns] == ["a", "b", "y", "z", "mix_parent", "mix_partner", "mix_lambda", "mix_kind"]
    assert len(mixed) == done.line["mixed_rows"] > 0
    parents, partners = (train.loc[mixed[name]].reset_index() for name in ("mix_parent", "mix_partner"))
    for name in ("a", "b", "y", "z"):
        expected = mixed.mix_lambda * parents[name] + (1 - mixed.mix_lambda) * partners[name]
        np.testing.assert_array_equal(mixed[name], expected)
    np.testing.assert_allclose(mixed.y, 1 + 2 * mixed.a - mixed.b)
    assert mixed.mix_lambda.between(0, 1).all()
    assert mixed.mix_lambda.nunique() == len(mixed)
    assert set(mixed.mix_kind) <= {"data", "label"}
    assert (mixed.mix_parent != mixed.mix_partner).all()


def test_a_fixed_lambda_and_a_fixed_threshold(call: Call, lines: Files) -> None:
    done = call(*words(lines, *QUICK, "--label", "y", "--lam", "0.25", "--threshold", "0", "--out", "run"))
    assert done.line["chosen"] == {"threshold": 0.0, "pick": "best"}
    assert json.loads(Path("run/evidence.json").read_text())["candidates"] == []
    assert set(pd.read_parquet("run/mixed.parquet").mix_lambda) == {0.25}


def test_the_run_tells_what_was_run_on_what(call: Call, lines: Files) -> None:
    line = call(*words(lines, *QUICK, "--label", "y", "--seed", "3", "--out", "run")).line
    config = json.loads(Path("run/config.json").read_text())
    assert (config["method"], config["metric"], config["chosen"]) == ("mixrl", "rmse", line["chosen"])
    assert config["predictor"] == {"name": "linear", "epochs": 5}
    assert config["rows"] == {"train": 60, "valid": 20, "test": 30}
    assert set(config["fingerprints"]) == {"train", "valid", "test"}
    given = config["arguments"]
    assert (given["seed"], given["steps"], given["label"], given["data_options"]) == (3, 2, ["y"], "1,2")
    evidence = json.loads(Path("run/evidence.json").read_text())
    assert evidence["judge"] == "test"
    assert evidence["scores"] == {name: line[name] for name in ("rmse", "r2", "rmse_none", "r2_none", "ratio")}
    assert line["chosen"]["threshold"] in [c["threshold"] for c in evidence["candidates"]]
    for found in evidence["neighbors"].values():
        assert sum(found["rows"]) == 60


def test_without_a_test_set_the_trusted_rows_judge_and_it_says_so(call: Call, lines: Files) -> None:
    files = ("mix", lines.train, "--valid", lines.valid, "--features", "a", "--label", "y", "--out", "run")
    done = call(*files, *FIXED)
    assert done.line["judge"] == "validation"
    assert "on which the settings were chosen: give --test for a fair judge" in done.err


def test_one_trusted_row_has_an_error_and_no_r2(call: Call, lines: Files) -> None:
    pd.read_parquet(lines.valid)[:1].to_csv("one.csv", index=False)
    done = call(
        "mix", lines.train, "--valid", "one.csv", "--features", "a", "b", "--label", "y", *FIXED, "--out", "run"
    )
    assert done.line["r2"] is None
    assert done.line["rmse"] > 0


def test_equal_seeds_give_equal_runs(call: Call, lines: Files) -> None:
    made = {}
    for name, seed in (("one", "0"), ("again", "0"), ("other", "1")):
        line = call(*words(lines, *QUICK, "--label", "y", "--lam", "beta", "--seed", seed, "--out", name)).line
        made[name] = (line["rmse"], pq.read_table(f"{name}/mixed.parquet"))
    assert made["again"][0] == made["one"][0] != made["other"][0]
    assert made["again"][1].equals(made["one"][1])
    assert not made["other"][1].equals(made["one"][1])


def test_a_named_set(call: Call) -> None:
    done = call("mix", "diabetes", "--sizes", "60", "20", *QUICK)
    assert (done.line["rows"], done.line["judge"]) == (60, "test")
    assert Path(done.line["run"]).parent == Path("runs")
    assert Path(done.line["run"]).name.startswith("diabetes-mix-")
    assert pq.read_table(Path(done.line["run"], "mixed.parquet")).num_rows == done.line["mixed_rows"]


def test_the_default_predictor_stops_early_and_is_read_back(call: Call, lines: Files) -> None:
    tiny = '{"hidden": [4], "steps": 30, "patience": 2, "check_every": 5}'
    done = call(*words(lines, *QUICK, "--label", "y", "--predictor", "auto", "--predictor-args", tiny, "--out", "run"))
    assert done.line["rows"] == 60
    predictor = json.loads(Path("run/config.json").read_text())["predictor"]
    assert predictor == {"name": "mlp", "lr": 0.001, "batch_size": 32, **json.loads(tiny)}
    assert call("mix", lines.test, "--apply", "run").line["rows"] == 30


# Apply


@pytest.mark.parametrize("method", METHODS)
def test_the_training_rows_are_mixed_as_they_were(call: Call, lines: Files, method: str) -> None:
    params = ("--method-args", '{"steps": 3, "hidden": [4]}') if "adamixup" in method else ()
    quick = QUICK_OF.get(method, QUICK)
    made = call(*words(lines, *quick, *params, "--label", "y", "--label", "z", "--method", method, "--out", "run"))
    done = call("mix", lines.train, "--apply", "run")
    expected = {"run": "run", "out": "mixed.parquet", "rows": 60, "mixed_rows": made.line["mixed_rows"]}
    assert expected.items() <= done.line.items()
    assert pq.read_table("mixed.parquet").equals(pq.read_table("run/mixed.parquet"))


def test_other_rows_are_mixed_among_themselves(call: Call, lines: Files, run: Path) -> None:
    rows = pd.read_parquet(lines.test)
    rows[["id", "y", "b", "a"]].assign(extra="text").to_csv("rows.csv", index=False)  # in another order, and more
    line = call("mix", "rows.csv", "--apply", run, "--out", "deep/rows.parquet").line
    assert (line["out"], line["rows"]) == ("deep/rows.parquet", 30)
    mixed = pd.read_parquet("deep/rows.parquet")
    assert [*mixed.columns] == ["a", "b", "y", "mix_parent", "mix_partner", "mix_lambda", "mix_kind"]
    parents, partners = (rows.set_index("id").loc[mixed[name]] for name in ("mix_parent", "mix_partner"))
    np.testing.assert_allclose(mixed.y, (parents.y.to_numpy() + partners.y.to_numpy()) / 2)
    call("mix", "rows.csv", lines.valid, "--apply", run, "--out", "both.parquet")  # several files are one set of rows


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.drop(columns="y"), ["rows.csv", "no label column 'y'"]),
        (lambda t: t.drop(columns="b"), ["rows.csv", "no feature column 'b'"]),
        (lambda t: t.assign(b="x"), ["rows.csv", "'b'", "row 1", "text 'x'"]),
        (lambda t: t.assign(y=np.nan), ["rows.csv", "'y'", "row 1", "the label is missing"]),
        (lambda t: t.assign(id="p"), ["rows.csv", "'id'", "stands in rows 1 and 2"]),
    ],
)
def test_rows_that_cannot_be_mixed(
    call: Call, lines: Files, run: Path, change: Callable[[pd.DataFrame], pd.DataFrame], told: list[str]
) -> None:
    change(pd.read_parquet(lines.test)).to_csv("rows.csv", index=False)
    refused(call("mix", "rows.csv", "--apply", run, "--out", "new/mixed.parquet"), *told)
    assert not Path("new").exists()


def test_what_learning_takes_is_refused_beside_apply(call: Call, lines: Files, run: Path) -> None:
    for flag, value in (("valid", lines.valid), ("test", lines.test), ("label", "y"), ("id", "id"), ("features", "a")):
        refused(call("mix", lines.train, "--apply", run, f"--{flag}", value), f"--{flag} is for learning")
    refused(call("mix", lines.train, "--apply", run, "--sizes", "1", "1"), "--sizes is for learning")
    refused(call("mix", lines.train, "--apply", run, "--kind", "a=text"), "--kind is for learning")
    refused(call("mix", lines.train, "--apply", run, "--seed", "-1"), "'seed'", ">= 0")
    assert [p.name for p in Path().iterdir()] == ["run"]


def test_what_apply_would_write_is_never_overwritten(call: Call, lines: Files, run: Path) -> None:
    mine = Path("mixed.parquet")
    mine.write_text("dear to me")
    for out in ((), ("--out", mine), ("--out", run / "mixed.parquet"), ("--out", run)):
        refused(call("mix", lines.test, "--apply", run, *out), "never overwritten")
    assert mine.read_text() == "dear to me"
    Path("empty").mkdir()
    refused(call("mix", lines.test, "--apply", run, "--out", "empty"), "is a folder")


# Runs that are no runs of this verb


def test_runs_of_the_other_verb(call: Call, lines: Files, run: Path) -> None:
    value = ("value", lines.train, "--valid", lines.valid, "--features", "a", "--label", "y", "--method", "knn-shapley")
    assert call(*value, "--quiet", "--out", "values").code == 0
    refused(
        call("mix", lines.train, "--apply", "values"), "values: is a run of `raydm value`, and one of `raydm mix` is"
    )
    refused(call("score", run, lines.train), "run: is a run of `raydm mix`, and one of `raydm value` is needed")


def test_what_is_no_run(call: Call, lines: Files) -> None:
    for place in ("absent", lines.folder, lines.train):
        done = call("mix", lines.train, "--apply", place)
        refused(done, str(place), "--out" if place != lines.train else "raydm mix")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "torn", ["config.json", "encoder.json", "encoder.safetensors", "predictor/predictor.safetensors"]
)
def test_a_torn_run_mixes_nothing_and_says_so(call: Call, lines: Files, run: Path, torn: str) -> None:
    (run / torn).unlink()
    refused(call("mix", lines.train, "--apply", run), "raydm: run")
    assert not Path("mixed.parquet").exists()


# Bad input


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--seed -1", ["'seed' parameter of raydm mix", ">= 0", "-1"]),
        ("--test-repeats 0", ["'test_repeats' parameter of raydm mix", ">= 1"]),
        ("--method magic", ["'method'", "'mixrl', 'none', 'mixup'", "'magic'"]),
        ('--method-args {"alpha":2}', ["'method_params'", "'mixrl'", "arguments of their own"]),
        ('--method mixup --method-args {"beta":2}', ["'method_params'", "'alphas'", "'beta'"]),
        ('--method mixup --method-args {"alpha":0}', ["'alpha' parameter of mixup", "> 0"]),
        ('--method global-knn --method-args {"k":"0"}', ["'k' parameter", "1..16", "'0'"]),
        ("--data-options 0..4", ["'data_options' parameter", "10..270:10", "'0..4'"]),
        ("--label-options many", ["'label_options' parameter", "'many'"]),
        ("--data-options none --label-options none", ["needs an option"]),
        ("--data-options 60 --label-options none", ["Each of 60 training rows has 59 others", "begin at 60"]),
        ("--lam 1.5", ["'lam'", "[0, 1]"]),
        ("--lam nan", ["'lam'", "[0, 1]"]),
        ("--lam beta --alpha 0", ["'alpha'", "> 0"]),
        ("--threshold 2", ["'threshold'", "[0, 1]"]),
        ("--repeats 0", ["'repeats'", ">= 1"]),
        ("--steps -1", ["'steps'", ">= 0"]),
        ("--rollouts 1", ["'rollouts'", ">= 2"]),
        ("--outer-batch 0", ["'outer_batch'", ">= 1"]),
        ("--baseline full-data", ["'baseline'", "'leave-one-out'", "'full-data'"]),
        ("--reward-scale 0", ["'reward_scale'", "> 0"]),
        ("--learning-rate 0", ["'learning_rate'", "> 0"]),
        ("--exploration -1", ["'exploration'", ">= 0"]),
        ("--mean-bounds .9 .1", ["'mean_bounds'", "0 <= low <= high <= 1"]),
        ("--shard 0", ["'shard'", ">= 1"]),
        ("--gpus-per-actor 1", ["add --actors"]),
        ("--sizes 10 10", ["--sizes splits a named set"]),
        ("--predictor magic", ["'predictor'", "'magic'"]),
        ("--predictor logistic", ["'predictor'", "another than 'logistic' for regression"]),
        ("--predictor naive-bayes --predictor-args {}", ["regression"]),
        ("--predictor cnn", ["needs images"]),
        ('--predictor mlp --predictor-args {"patience":0}', ["'patience'", ">= 1"]),
        ('--predictor mlp --predictor-args {"steps":5,"batch_size":null}', ["batch_size beside steps"]),
        ("--metric accuracy", ["'metric'", "'rmse'", "for regression", "'accuracy'"]),
        ("--label absent", ["train.parquet", "no label column 'absent'"]),
        ("--label y", ["'label'", "different columns"]),
        ("--label id", ["train.parquet", "'id'", "text cannot be a regression target"]),
        ("--features a id", ["train.parquet: mixing interpolates", "'id' (text)", "one-hot", "--features"]),
        ("--kind a=categorical", ["these columns are no numbers: 'a' (categorical)"]),
    ],
)
def test_flags_out_of_their_range(
    call: Call, lines: Files, flags: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(word in flags for word in ("predictor", "60", '":')):  # which the data or the method's own parts tell
        monkeypatch.setattr("raydm.verbs.mix._learn", lambda *_, **__: pytest.fail("it learned"))
    quick = LINE if "--method " in flags else QUICK
    done = call(*words(lines, *quick, "--label", "y", "--out", "new/run", *flags.split(" ")))
    refused(done, *told)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--lam half", "--lam: expected a number in [0, 1] or beta, got 'half'"),
        ("--reward-scale large", "--reward-scale: expected a number > 0 or std, got 'large'"),
        ("--method-args {", "--method-args: not JSON"),
        ("--steps many", "--steps: invalid int value: 'many'"),
        ("--local --actors 2", "--actors: not allowed with argument --local"),
    ],
)
def test_flags_that_cannot_be_read(call: Call, lines: Files, flags: str, told: str) -> None:
    done = call(*words(lines, *QUICK, "--label", "y", *flags.split(" ")))
    assert (done.code, done.out) == (2, "")
    assert f"error: argument {told}" in done.err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("digits",), "raydm mix interpolates targets, and the labels of 'digits' are classes"),
        (("diabetes", "--valid", "x.csv"), "--valid is for files; the named set 'diabetes' splits itself"),
        (("diabetes", "--sizes", "0", "5"), "at least 1 each"),
        (("diabete",), "If a named set was meant: one of"),
    ],
)
def test_named_sets(call: Call, given: tuple[str, ...], told: str) -> None:
    refused(call("mix", *given, *QUICK, "--out", "run"), told)


def test_files_need_a_trusted_set_and_a_label(call: Call, lines: Files) -> None:
    done = call("mix", lines.train, *QUICK)
    refused(done, "add --valid FILE")
    assert "Valuing" not in done.err
    pd.read_parquet(lines.train)[["a", "z"]].to_csv("rows.csv", index=False)
    refused(call("mix", "rows.csv", "--valid", lines.valid, *QUICK), "rows.csv", "which column is the label", "--label")


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_rows_that_cannot_be_used(call: Call, lines: Files, part: str) -> None:
    for change, told in (
        (lambda t: t.drop(columns="a"), "'a'"),
        (lambda t: t.assign(y="much"), "'y'"),
        (lambda t: t.assign(y=np.where(t.index == 4, np.nan, t.y)), "row 5: the label is missing"),
        (lambda t: t[:0], "no rows"),
    ):
        change(pd.read_parquet(getattr(lines, part))).to_csv("bad.csv", index=False)
        files: dict[str, Any] = {name: getattr(lines, name) for name in ("train", "valid", "test")} | {part: "bad.csv"}
        done = call(
            "mix", files["train"], "--valid", files["valid"], "--test", files["test"], "--features", "a", "b",
            "--label", "y", *QUICK, "--out", "run",
        )  # fmt: skip
        refused(done, "bad.csv", told)
    assert [p.name for p in Path().iterdir()] == ["bad.csv"]


@pytest.mark.parametrize("metric", ["r2", "rmspe"])
def test_a_metric_that_the_trusted_rows_do_not_allow_is_refused_before_learning(
    call: Call, lines: Files, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raydm.verbs.mix._learn", lambda *_, **__: pytest.fail("it learned"))
    pd.read_parquet(lines.valid).assign(y=0.0).to_csv("flat.csv", index=False)
    files = ("mix", lines.train, "--valid", "flat.csv", "--features", "a", "--label", "y")
    refused(call(*files, *QUICK, "--metric", metric), f"flat.csv: The metric '{metric}' divides by")


def test_a_column_that_the_mixed_rows_need(call: Call, lines: Files, run: Path) -> None:
    parts = [pd.read_parquet(lines.train).drop(columns="id"), pd.read_parquet(run / "mixed.parquet")]
    both = pd.concat(parts, ignore_index=True)
    both.to_parquet("both.parquet")
    pd.read_parquet(lines.valid).assign(mix_parent="", mix_partner="", mix_lambda=1.0, mix_kind="").to_parquet(
        "v.parquet"
    )
    files = ("mix", "both.parquet", "--valid", "v.parquet", "--label", "y", *FIXED, "--out", "again")
    refused(call(*files), "both.parquet: has the column 'mix_parent', which the mixed rows need")
    assert call(*files, "--features", "a", "b").line["rows"] == len(both)  # what is no feature is in nobody's way


def test_a_predictor_that_needs_more_rows(call: Call, lines: Files) -> None:
    neighbours = ("--predictor", "sklearn.neighbors.KNeighborsRegressor", "--predictor-args", '{"n_neighbors": 70}')
    for method, quick in (("none", LINE), ("mixrl", QUICK)):
        done = call(*words(lines, *quick, *neighbours, "--label", "y", "--method", method, "--out", "run"))
        refused(done, "failed: ValueError('Expected n_neighbors <= n_samples_fit")
    assert {file.name for file in Path().iterdir()} <= {".run.journal"}  # of what was answered before


# Whole or not at all


def test_a_taken_place(call: Call, lines: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydm.verbs.mix._learn", lambda *_, **__: pytest.fail("it learned"))
    Path("full").mkdir()
    Path("full/mine").write_text("dear to me")
    Path("file").write_text("dear to me")
    for place in ("full", "file", "file/run"):
        refused(call(*words(lines, *QUICK, "--label", "y", "--out", place)), place, "--out")
    assert Path("full/mine").read_text() == Path("file").read_text() == "dear to me"


TORN = [
    "raydm.report.mix_run.dump",
    "raydm.report.mix_run.pq.write_table",
    "raydm.data.encoding.save_file",
    "raydm.mixing.mixer.save_file",
    "raydm.predictors.stacked.save_file",
    "raydm.verbs.mix.plot_mixing",
]


@pytest.mark.parametrize("torn", TORN)
def test_a_failure_while_writing_leaves_the_journal_alone(
    call: Call, lines: Files, monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torn, full)
    done = call(*words(lines, *QUICK, "--label", "y", "--out", "deep/run"))
    refused(done, "deep/run", "cannot be written (No space left on device)", "--resume goes on with it")
    assert [str(file) for file in Path("deep").iterdir()] == ["deep/.run.journal"]


@pytest.mark.parametrize("where", ["raydm.verbs.mix._learn", "raydm.verbs.mix.gains", "raydm.verbs.mix.plot_mixing"])
def test_an_interrupt_leaves_no_half_run(call: Call, lines: Files, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    done = call(*words(lines, *QUICK, "--label", "y", "--out", "deep/run"))
    assert (done.code, done.out) == (130, "")
    assert "raydm: interrupted; nothing was written." in done.err
    if where == "raydm.verbs.mix._learn":
        assert list(Path().iterdir()) == []
    else:
        assert [str(file) for file in Path("deep").iterdir()] == ["deep/.run.journal"]
        assert "what was computed is kept in deep/.run.journal; the same command with --resume" in done.err


def test_apply_that_is_interrupted_leaves_nothing(
    call: Call, lines: Files, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(table: object, file: Path) -> None:
        file.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("pyarrow.parquet.write_table", interrupt)
    assert call("mix", lines.train, "--apply", run, "--out", "deep/mixed.parquet").code == 130
    assert [p.name for p in Path().iterdir()] == ["run"]


# What is told


def test_help_names_every_method_and_flag(call: Call) -> None:
    told = " ".join(call("mix", "--help").out.split())
    assert told.startswith("usage: raydm mix")
    for method in METHODS:
        assert method in told
    for flag in ("--apply RUN", "--lam L", "--data-options K", "--threshold T", "--test-repeats S", "--actors N"):
        assert flag in told
    assert "--task" not in told  # it is regression


def test_progress_is_shown_unless_it_is_quiet(call: Call, lines: Files) -> None:
    loud = tuple(word for word in QUICK if word != "--quiet")
    assert "mixrl: 100%" in call(*words(lines, *loud, "--label", "y", "--out", "loud")).err
    assert "mixrl:" not in call(*words(lines, *QUICK, "--label", "y", "--out", "quiet")).err


def test_trusted_rows_that_also_train_are_counted(call: Call, lines: Files) -> None:
    pd.read_parquet(lines.train)[:5].to_csv("same.csv", index=False)
    done = call(
        "mix", lines.train, "--valid", "same.csv", "--features", "a", "b", "--label", "y", *FIXED, "--out", "run"
    )
    assert "raydm: warning: same.csv: 5 of 5 rows have the same features as a row of" in done.err
