"""Bad input: exit code 2, a message that names what and where, and nothing left behind."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cli_kit import QUICK, Call, Files, Outcome

import raydm.report.run

Change = Callable[[pd.DataFrame], pd.DataFrame]


def refused(done: Outcome, *words: str) -> None:
    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith("raydm: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err, done.err


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A place for a run, in a folder that must stay empty."""
    parent = tmp_path / "runs"
    parent.mkdir()
    yield parent / "run"
    assert list(parent.iterdir()) == []


def only_the_journal_is_left(out: Path) -> None:
    """What was computed; a resumed run writes it once there is room."""
    assert os.listdir(out.parent) == [".run.journal"]
    shutil.rmtree(out.parent / ".run.journal")


def _set(column: str, row: int, value: object) -> Change:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.loc[row, column] = value
        return table

    return change


CHANGED: list[tuple[str, Change, list[str]]] = [
    ("train", lambda t: t.drop(columns="label"), ["bad.csv", "which column is the label", "--label"]),
    ("valid", lambda t: t.drop(columns="label"), ["bad.csv", "lacks the columns ['label']", "Add them.\n"]),
    ("valid", lambda t: t.drop(columns=["a", "g"]), ["bad.csv", "lacks the columns ['a', 'g']"]),
    ("test", lambda t: t.drop(columns="label"), ["bad.csv", "lacks the columns ['label']"]),
    ("valid", lambda t: t.assign(label=np.arange(40) % 2), ["bad.csv", "'label'", "numbers where training has text"]),
    ("train", lambda t: t.assign(label=np.arange(120) % 2), ["valid.csv", "'label'", "text where training has num"]),
    ("valid", _set("label", 6, "maybe"), ["bad.csv", "'label'", "row 7", "'maybe' is a class that training lacks"]),
    ("test", _set("label", 0, "maybe"), ["bad.csv", "'label'", "row 1", "'maybe' is a class that training lacks"]),
    ("valid", lambda t: t[:0], ["bad.csv", "no rows, only the header"]),
    ("train", lambda t: t[:0], ["bad.csv", "no rows, only the header"]),
    ("train", _set("label", 4, None), ["bad.csv", "'label'", "row 5", "the label is missing"]),
    ("valid", _set("label", 4, None), ["bad.csv", "'label'", "row 5", "the label is missing"]),
    ("train", lambda t: t.assign(label="yes"), ["bad.csv", "'label'", "1 distinct values (['yes'])", "At least two"]),
    ("train", lambda t: t[["label"]], ["bad.csv", "no feature column"]),
    ("train", lambda t: t[["label"]].assign(a=1, b="x"), ["bad.csv", "every feature column is constant"]),
    ("train", lambda t: t.assign(id=[*range(119), 7]), ["bad.csv", "'id'", "id 7 stands in rows 8 and 120"]),
    ("train", lambda t: t.assign(id=["p", *"qr" * 59, "p"]), ["bad.csv", "'id'", "'q' stands in rows 2 and 4"]),
    ("train", _set("a", 2, "inf"), ["bad.csv", "'a'", "row 3", "infinite"]),
    ("valid", _set("a", 2, "many"), ["bad.csv", "'a'", "row 3", "'many'"]),
]


@pytest.mark.parametrize(("part", "change", "words"), CHANGED)
def test_rows_that_cannot_be_used(
    call: Call, files: Files, out: Path, part: str, change: Change, words: list[str]
) -> None:
    paths = {"train": str(files.train), "valid": str(files.valid), "test": str(files.test)}
    change(pd.read_csv(paths[part])).to_csv("bad.csv", index=False)
    paths[part] = "bad.csv"
    done = call(
        "value", paths["train"], "--valid", paths["valid"], "--test", paths["test"], *QUICK, "--out", out
    )  # fmt: skip
    refused(done, *words)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize(("label", "what"), [("nan", "missing"), ("", "missing"), ("inf", "infinite"), ("-inf", "inf")])
def test_targets_that_are_no_numbers(call: Call, targets: Files, out: Path, part: str, label: str, what: str) -> None:
    paths = {"train": str(targets.train), "valid": str(targets.valid), "test": str(targets.test)}
    _set("label", 9, label)(pd.read_csv(paths[part])).to_csv("bad.csv", index=False)
    paths[part] = "bad.csv"
    done = call(
        "value", paths["train"], "--valid", paths["valid"], "--test", paths["test"], *QUICK, "--out", out
    )  # fmt: skip
    refused(done, "bad.csv", "'label'", "row 10", f"the label is {what}")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, ["absent.csv", "no such file"]),
        ("absent-*.csv", None, ["absent-*.csv", "no file matches this pattern"]),
        ("rows.xlsx", b"PK", ["rows.xlsx", "unknown suffix '.xlsx'", ".parquet"]),
        ("rows.csv", b"", ["rows.csv", "Empty CSV"]),
        ("rows.csv", b"a,label\n1,yes\n2,no,3\n", ["rows.csv", "row 3", "3 fields", "2"]),
        ("rows.csv", b"a,label\n1,\xff\xfe\n2,no\n", ["rows.csv", "'label'", "UTF-8"]),
        ("rows.csv", b"a,a,label\n1,2,yes\n2,3,no\n", ["rows.csv", "more than one column is named 'a'"]),
        ("rows.parquet", b"PAR1 not really PAR1", ["rows.parquet", "cannot be read", "torn"]),
        ("rows.feather", b"ARROW1 not really", ["rows.feather", "cannot be read", "torn"]),
        ("rows.csv.gz", b"not gzipped", ["rows.csv.gz", "cannot be read"]),
    ],
)
@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_files_that_cannot_be_read(
    call: Call, files: Files, out: Path, part: str, name: str, content: bytes | None, words: list[str]
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    paths = {"train": str(files.train), "valid": str(files.valid), "test": str(files.test), part: name}
    done = call(
        "value", paths["train"], "--valid", paths["valid"], "--test", paths["test"], *QUICK, "--out", out
    )  # fmt: skip
    refused(done, *words)


def test_a_folder_named_like_a_file(call: Call, files: Files, out: Path) -> None:
    Path("x.csv").mkdir()
    refused(call("value", files.train, "--valid", "x.csv", *QUICK, "--out", out), "x.csv", "the directory holds no")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_torn_parquet_file(call: Call, files: Files, out: Path, share: float) -> None:
    pd.concat([pd.read_csv(files.train)] * 20).to_parquet("whole.parquet")
    whole = Path("whole.parquet").read_bytes()
    Path("torn.parquet").write_bytes(whole[: int(share * len(whole))])
    done = call("value", "torn.parquet", "--valid", files.valid, *QUICK, "--out", out)
    refused(done, "torn.parquet", "cannot be read as .parquet")


def test_a_parquet_file_with_a_hole(call: Call, files: Files, out: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=5000), "label": rng.integers(0, 2, 5000)})
    table.to_parquet("holed.parquet")
    content = bytearray(Path("holed.parquet").read_bytes())
    content[4:60] = bytes(56)  # the first page's header
    Path("holed.parquet").write_bytes(content)
    done = call("value", "holed.parquet", "--valid", files.valid, *QUICK, "--out", out)
    refused(done, "holed.parquet")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--noise 1", ["'noise'", "[0, 1)", "1.0"]),
        ("--noise -0.1", ["'noise'", "[0, 1)"]),
        ("--noise nan", ["'noise'", "[0, 1)"]),
        ("--noise 0.001", ["--noise 0.001 flips no label of the 120"]),
        ("--noise 0.999", ["--noise 0.999 flips every label of the 120"]),
        ("--seed -1", ["'seed'", ">= 0", "-1"]),
        ("--steps -1", ["'steps'", ">= 0", "-1"]),
        ("--steps 0 --start nothing", ["would leave h_phi untrained", "steps >= 1"]),
        ("--judge 1", ["'judge'", "0 or an integer >= 2", "1"]),
        ("--restarts -1", ["'restarts'", ">= 0"]),
        ("--start here", ["'start'", "'evidence', 'nothing'", "'here'"]),
        ("--evidence gossip", ["'evidence'", "'validation'", "'forest'", "'gossip'"]),
        ("--evidence forest forest", ["'evidence'", "different ones of"]),
        ("--policy greedy", ["'policy'", "'bernoulli'", "'greedy'"]),
        ("--policy gumbel --predictor naive-bayes", ["BlackBox cannot be differentiated", "policy='bernoulli'"]),
        ("--policy gumbel --control-variate taylor", ["control_variate='taylor' is for the score function"]),
        ("--control-variate taylor --predictor random-forest", ["cannot be differentiated", "'datamodel'"]),
        ("--control-variate luck", ["'control_variate'", "'taylor'"]),
        ("--temperature 0", ["'temperature'", "> 0"]),
        ("--mean-bounds 0.7 0.3", ["'mean_bounds'", "0 <= low <= high <= 1"]),
        ("--method magic", ["'method'", "'dvrl', 'loo', 'shapley'", "'magic'"]),
        ('--method-args {"permutations":3}', ["'method_params'", "'dvrl'", "empty", "arguments of their own"]),
        ('--method shapley --method-args {"magic":3}', ["'method_params'", "'permutations'", "'magic'"]),
        ('--method shapley --method-args {"permutations":0}', ["'permutations' parameter of shapley", ">= 1"]),
        ('--method shapley --method-args {"tolerance":"low"}', ["'tolerance'", "'low'"]),
        ('--method banzhaf --method-args {"subsets":1}', ["'subsets'", ">= 2"]),
        ('--method banzhaf --method-args {"subsets":2,"chunk":1}', ["left the values of", "unknown", "more often"]),
        ('--method loo --method-args {"chunk":"all"}', ["'chunk'", "'all'"]),
        ('--method knn-shapley --method-args {"k":0}', ["'k' parameter of knn_shapley", ">= 1"]),
        ('--method knn-shapley --method-args {"memory":"much"}', ["'memory'", ">= 1"]),
        ('--method influence --method-args {"damping":"much"}', ["'damping'", ">= 0"]),
        ('--method influence --method-args {"tolerance":null}', ["'tolerance'", "> 0"]),
        ("--method influence --predictor naive-bayes", ["Influence functions", "BlackBox has none", "'data-oob'"]),
        ('--method data-oob --method-args {"members":1}', ["'members'", ">= 2"]),
        ('--method data-oob --method-args {"score":"squared-error"}', ["'score'", "for classification"]),
        ("--method data-oob --threshold 1.5", ["'threshold'", "[0, 1]"]),
        ("--method loo --threshold nan", ["'threshold'", "a number"]),
        ("--method loo --final weighted", ["'final'", "'kept' or 'all' with method='loo'"]),
        ("--outer-batch 0", ["'outer_batch'", ">= 1"]),
        ("--rollouts 0", ["'rollouts'", ">= 1"]),
        ("--rollouts 1", ["'rollouts'", ">= 2", "moving-average"]),
        ("--baseline best", ["'baseline'", "'leave-one-out'", "'best'"]),
        ("--reward-scale 0", ["'reward_scale'", "> 0"]),
        ("--reward-scale nan", ["'reward_scale'", "> 0"]),
        ("--learning-rate 0", ["'learning_rate'", "> 0"]),
        ("--learning-rate inf", ["'learning_rate'", "> 0"]),
        ("--exploration -1", ["'exploration'", ">= 0"]),
        ("--threshold 1.5", ["'threshold'", "[0, 1]", "1.5"]),
        ("--threshold nan", ["'threshold'", "[0, 1]"]),
        ("--shard 0", ["'shard'", ">= 1"]),
        ("--actors 0", ["'actors'", ">= 1"]),
        ("--actors 1 --cpus-per-actor 0", ["'cpus_per_actor'", ">= 0.0001"]),
        ("--actors 1 --gpus-per-actor -1", ["'gpus_per_actor'", ">= 0"]),
        ("--cpus-per-actor 2", ["add --actors"]),
        ("--gpus-per-actor 1", ["add --actors"]),
        ("--address here:1", ["add --actors"]),
        ("--sizes 10 10", ["--sizes splits a named set"]),
        ("--predictor magic", ["'predictor'", "'logistic'", "'magic'"]),
        ("--predictor sklearn.svm.Nothing", ["'sklearn.svm.Nothing'", "no attribute 'Nothing'"]),
        ("--predictor sklearn.nothing.Nothing", ["'sklearn.nothing.Nothing'", "No module named"]),
        ("--predictor cnn", ["'cnn' needs images"]),
        ('--predictor-args {"magic":1}', ["'logistic'", "'magic'"]),
        ("--metric magic", ["'metric'", "'accuracy'", "'magic'"]),
        ("--metric rmse", ["'metric'", "'accuracy'", "for classification", "'rmse'"]),
        ("--task regression", ["train.csv", "text cannot be a regression target"]),
        ("--label absent", ["train.csv", "no label column 'absent'", "'a', 'b', 'c', 'g', 'label'"]),
        ("--label lable", ["Did you mean 'label'?"]),
        ("--id absent", ["train.csv", "no id column 'absent'"]),
        ("--id label", ["'id'", "another column than the label"]),
        ("--id g", ["train.csv", "'g'", "stands in rows"]),
        ("--features a absent", ["train.csv", "no feature column 'absent'"]),
        ("--features a label", ["'features'", "the label not among them"]),
        ("--features a a", ["'features'", "different columns"]),
        ("--kind a=colour", ["'numeric'", "'colour'"]),
        ("--kind absent=text", ["feature columns only", "'absent'"]),
        ("--kind g=numeric", ["train.csv", "'g'", "row 1", "numbers were expected"]),
    ],
)
def test_flags_out_of_their_range(call: Call, files: Files, out: Path, flags: str, words: list[str]) -> None:
    done = call("value", files.train, "--valid", files.valid, *QUICK, "--out", out, *flags.split(" "))
    refused(done, *words)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("--steps many", "--steps: invalid int value: 'many'"),
        ("--noise some", "--noise: invalid float value: 'some'"),
        ("--reward-scale large", "--reward-scale: expected a number > 0 or std, got 'large'"),
        ("--predictor-args {", "--predictor-args: not JSON"),
        ("--predictor-args [1]", "--predictor-args: expected a JSON object, got [1]"),
        ("--kind a", "--kind: expected COLUMN=KIND, got 'a'"),
        ("--kind =text", "--kind: expected COLUMN=KIND, got '=text'"),
        ("--final best", "--final: invalid choice: 'best'"),
        ("--method-args {", "--method-args: not JSON"),
        ("--method-args 3", "--method-args: expected a JSON object, got 3"),
        ("--evidence", "--evidence: expected at least one argument"),
        ("--mean-bounds 0.3", "--mean-bounds: expected 2 arguments"),
        ("--judge two", "--judge: invalid int value: 'two'"),
        ("--task ranking", "--task: invalid choice: 'ranking'"),
        ("--local --actors 2", "--actors: not allowed with argument --local"),
        ("--sizes 10", "--sizes: expected 2 arguments"),
    ],
)
def test_flags_that_cannot_be_read(call: Call, files: Files, out: Path, flags: str, word: str) -> None:
    done = call("value", files.train, "--valid", files.valid, *QUICK, "--out", out, *flags.split(" "))
    assert (done.code, done.out) == (2, "")
    assert f"error: argument {word}" in done.err


@pytest.mark.parametrize("verb", ["value", "compare"])
def test_several_label_columns(call: Call, targets: Files, out: Path, verb: str) -> None:
    words = [verb, targets.train, "--valid", targets.valid, *QUICK, "--label", "label", "--label"]
    place = ["--out", out] if verb == "value" else []
    refused(call(*words, "a", *place), "one label column", "Got 2: 'label', 'a'", "raydm mix takes several")
    refused(call(*words, "g", *place), "train.csv, column 'g', row 1", "text cannot be a regression target")
    refused(call(*words, "absent", *place), "train.csv", "no label column 'absent'")
    refused(call(*words, "label", *place), "'label'", "different columns")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("digits", "--sizes", "0", "5"), "at least 1 each"),
        (("digits", "--sizes", "1790", "100"), "at most 1796 rows together"),
        (("digits", "--valid", "x.csv"), "--valid is for files; the named set 'digits' splits itself"),
        (("digits", "--label", "x"), "--label is for files"),
        (("digit",), "If a named set was meant: one of 'adult'"),
        (("diabetes", "--noise", "0.1"), "--noise flips classes; this is a regression"),
        (("diabetes", "--metric", "accuracy"), "'rmse'"),
        (("diabetes", "--predictor", "naive-bayes"), "regression"),
    ],
)
def test_named_sets(call: Call, out: Path, words: tuple[str, ...], told: str) -> None:
    refused(call("value", *words, *QUICK, "--out", out), told)


def test_files_need_a_trusted_set(call: Call, files: Files, out: Path) -> None:
    done = call("value", files.train, *QUICK, "--out", out)
    refused(done, "add --valid FILE")
    assert "named set" not in done.err  # a path was given, so none was meant


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_metric_that_a_set_does_not_allow_is_refused_before_learning(
    call: Call, files: Files, out: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"valid": str(files.valid), "test": str(files.test)}
    pd.read_csv(paths[part]).assign(label="yes").to_csv("one-class.csv", index=False)
    paths[part] = "one-class.csv"
    monkeypatch.setattr("raydm.verbs.value.learn", lambda *_, **__: pytest.fail("it learned"))
    words = ("value", files.train, "--valid", paths["valid"], "--test", paths["test"], "--metric", "auc")
    refused(call(*words, *QUICK, "--out", out), "one-class.csv", "at least two classes")


def test_a_repeated_id_in_a_listed_feature_is_no_id(call: Call, files: Files) -> None:
    for name in ("train", "valid"):
        table = pd.read_csv(getattr(files, name))
        table.assign(id=np.arange(len(table)) % 7).to_csv(f"{name}.csv", index=False)
    done = call("value", "train.csv", "--valid", "valid.csv", "--features", "a", "b", "id", *QUICK, "--out", "run")
    assert done.line["rows"] == 120
    assert pq.read_table("run/values.parquet")["id"].to_pylist() == list(range(120))


def test_validation_rows_that_also_train_are_counted_and_the_run_goes_on(call: Call, files: Files) -> None:
    both = pd.concat([pd.read_csv(files.valid), pd.read_csv(files.train)[:3]])
    both.to_csv("both.csv", index=False)
    done = call("value", files.train, "--valid", "both.csv", *QUICK, "--out", "run")
    assert done.line["rows"] == 120
    assert "raydm: warning: both.csv: 3 of 43 rows have the same features as a row of" in done.err
    assert done.err.count("3 of 43 rows") == 1


def test_a_taken_place(call: Call, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydm.verbs.value.learn", lambda *_, **__: pytest.fail("it learned"))
    Path("full").mkdir()
    Path("full/mine").write_text("dear to me")
    Path("file").write_text("dear to me")
    Path("dangling").symlink_to("nowhere")
    for place in ("full", "file", "dangling", "file/run", "file/deeper/run", "x" * 300, "/proc/nothing/run"):
        done = call("value", files.train, "--valid", files.valid, *QUICK, "--out", place)
        refused(done, place, "--out")
    assert sorted(p.name for p in Path().iterdir()) == ["dangling", "file", "full"]
    assert Path("full/mine").read_text() == Path("file").read_text() == "dear to me"


def test_an_empty_folder_is_a_place(call: Call, files: Files) -> None:
    Path("empty").mkdir()
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "empty").line["run"] == "empty"
    assert Path("empty/values.parquet").exists()


@pytest.mark.parametrize(
    "torn",
    [
        "raydm.report.run.dump",
        "raydm.report.run.plot_removal",
        "raydm.valuation.value_function.save_file",
        "raydm.predictors.votes.save_file",
        "raydm.predictors.stacked.save_file",
    ],
)
def test_a_failure_while_writing_leaves_the_journal_alone(
    call: Call, files: Files, out: Path, monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torn, full)
    done = call("value", files.train, "--valid", files.valid, *QUICK, "--out", out)
    refused(done, str(out), "cannot be written (No space left on device)", "--resume goes on with it")
    only_the_journal_is_left(out)


def test_a_bug_while_writing_leaves_the_journal_and_is_not_hidden(
    call: Call, files: Files, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(raydm.report.run, "plot_removal", broken)
    with pytest.raises(ZeroDivisionError):
        call("value", files.train, "--valid", files.valid, *QUICK, "--out", out)
    only_the_journal_is_left(out)


@pytest.mark.parametrize("room", [1_000, 30_000])  # config.json ends it, or policy.safetensors
def test_a_disk_that_is_really_full(call: Call, files: Files, out: Path, room: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        done = call("value", files.train, "--valid", files.valid, *QUICK, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    refused(done, "cannot be written", "arge")  # "File too large"
    only_the_journal_is_left(out)
