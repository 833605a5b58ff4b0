"""The run directory: what it holds, that it reads back, and that a torn one is refused."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import raydm
from raydm.cli import main
from raydm.data import encode, fingerprint, flip_labels, load_set
from raydm.errors import ParameterError, RunError
from raydm.metrics import discovery_auc
from raydm.report.run import finite, values_table

PREDICTORS = ("logistic", "naive-bayes", "lightgbm", "xgboost")
READ = (
    "config.json",
    "policy.safetensors",
    "encoder.json",
    "encoder.safetensors",
    "predictor/predictor.*",
    "inputs/validation/0/predictor.*",
    "inputs/validation/5/predictor.*",
    "inputs/neighbors/4/neighbors.safetensors",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs on 200 digits with 20 % of the labels flipped, by predictor."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name in PREDICTORS:
        if name in ("lightgbm", "xgboost"):
            pytest.importorskip(name)
        words = f"value digits --sizes 200 50 --noise 0.2 --steps 4 --rollouts 4 --quiet --predictor {name}".split()
        words += ["--evidence", "validation", "neighbors"]
        words += ["--predictor-args", '{"n_estimators": 3}'] if name in ("lightgbm", "xgboost") else []
        with warnings.catch_warnings():  # main replaces showwarning
            warnings.simplefilter("default")
            assert main([*words, "--out", str(folder / name)]) == 0
        made[name] = folder / name
    return made


@pytest.fixture
def copy(runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["logistic"], tmp_path / "run"))


def test_what_it_holds(runs: dict[str, Path]) -> None:
    files = {str(p.relative_to(runs["logistic"])) for p in runs["logistic"].rglob("*") if p.is_file()}
    assert files == {
        "config.json",
        "values.parquet",
        "metrics.jsonl",
        "evidence.json",
        "discovery.png",
        "removal.png",
        "policy.safetensors",
        "encoder.json",
        "encoder.safetensors",
        "predictor/predictor.safetensors",
        *(f"inputs/validation/{k}/predictor.safetensors" for k in range(6)),  # without a fifth of the rows each; of all
        *(f"inputs/neighbors/{k}/neighbors.safetensors" for k in range(5)),
    }
    for run in runs.values():
        assert run.stat().st_mode & 0o777 == 0o700


def test_config_tells_what_was_run_on_what_by_which_versions(runs: dict[str, Path]) -> None:
    config = json.loads((runs["lightgbm"] / "config.json").read_text())
    split = load_set("digits", seed=0, sizes=(200, 50))
    parts = {"train": split.train, "valid": split.valid, "test": split.test}
    assert config["fingerprints"] == {name: fingerprint(table) for name, table in parts.items()}
    assert config["rows"] == {name: table.num_rows for name, table in parts.items()}
    for package in ("raydm", "torch", "numpy", "scikit-learn", "lightgbm"):
        assert config["packages"][package] == metadata.version(package)
    given = config["arguments"]
    assert (given["train"], given["sizes"], given["noise"], given["seed"]) == (["digits"], [200, 50], 0.2, 0)
    assert (given["steps"], given["rollouts"], given["outer_batch"]) == (4, 4, 64)
    assert config["predictor"] == {"name": "lightgbm", "n_estimators": 3}
    assert (config["metric"], config["threshold"], config["method"]) == ("accuracy", 0.5, "dvrl")
    assert config["task"] == {"kind": "classification", "n_outputs": 10}


def test_metrics_hold_one_line_a_step(runs: dict[str, Path]) -> None:
    lines = [json.loads(line) for line in (runs["logistic"] / "metrics.jsonl").read_text().splitlines()]
    assert [line["t"] for line in lines] == [0, 1, 2, 3]
    for line in lines:
        assert set(line) == {"t", "utility", "utility_min", "utility_max", "mean_h", "seconds"}
        assert line["utility_min"] <= line["utility"] <= line["utility_max"]
        assert 0 < line["mean_h"] < 1
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_evidence_agrees_with_the_values(runs: dict[str, Path]) -> None:
    table = pq.read_table(runs["logistic"] / "values.parquet")
    evidence = json.loads((runs["logistic"] / "evidence.json").read_text())
    values, flipped = table["value"].to_numpy(), table["flipped"].to_numpy()
    found = evidence["discovery"]
    assert found["auc"]["values"] == pytest.approx(discovery_auc(values, flipped), abs=1e-12)
    lowest = np.argsort(values)[:20]
    assert found["recall"]["values"][2] == pytest.approx(flipped[lowest].sum() / flipped.sum())  # a tenth inspected
    assert evidence["better_than_inputs"] == (
        found["auc"]["values"] >= max(v for k, v in found["auc"].items() if k != "values")
    )
    assert f"{found['auc']['values']:.4f}" in evidence["verdict"]
    assert ("NO better" in evidence["verdict"]) != evidence["better_than_inputs"]
    removal = evidence["removal"]
    assert removal["judge"] == "test"
    at_none = {curve[0] for end in ("lowest", "highest") for curve in removal[end].values()}
    assert at_none == {evidence["test_score_unvalued"]}  # nothing removed: one score for all


@pytest.mark.parametrize("name", PREDICTORS)
def test_read_back_it_values_and_predicts_alike(runs: dict[str, Path], name: str) -> None:
    loaded = raydm.load_run(runs[name])
    split = load_set("digits", seed=0, sizes=(200, 50))
    examples = encode(loaded, split.train, "train")
    y, flipped = flip_labels(examples.y, 0.2, n_classes=10, seed=0)
    table = pq.read_table(runs[name] / "values.parquet")
    assert np.array_equal(flipped, table["flipped"].to_numpy())
    noisy = type(examples)(examples.x, y, examples.ids)
    assert np.array_equal(loaded.values(noisy), table["value"].to_numpy())
    evidence = json.loads((runs[name] / "evidence.json").read_text())
    right = loaded.predictor.predict(split.test.drop(["label"])) == split.test["label"].to_numpy()
    assert right.mean() == pytest.approx(evidence["test_score"], abs=1e-9)
    p = loaded.predictor.predict_proba(split.test)
    assert p.shape == (split.test.num_rows, 10)
    assert loaded.threshold == 0.5


@pytest.mark.parametrize("name", PREDICTORS)
def test_no_part_of_it_is_pickled(runs: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in runs[name].rglob("*.*"):
        assert file.suffix in {".json", ".jsonl", ".parquet", ".png", ".safetensors", ".skops"}
        if file.suffix == ".skops":
            inside = zipfile.ZipFile(file).namelist()
            assert not [part for part in inside if part.endswith((".pkl", ".pickle"))]

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a pickle was read")

    for reader in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, reader, refuse)
    raydm.load_run(runs[name])


@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize("torn", ["deleted", "emptied", "halved", "a folder", "garbled"])
def test_a_torn_run_is_refused(runs: dict[str, Path], tmp_path: Path, name: str, torn: str) -> None:
    for pattern in READ:
        run = Path(shutil.copytree(runs[name], tmp_path / pattern.replace("/", "-").rstrip(".*")))
        (file,) = run.glob(pattern)
        content = file.read_bytes()
        file.unlink()
        if torn == "a folder":
            file.mkdir()
        elif torn != "deleted":
            half = content[: len(content) // 2]
            file.write_bytes({"emptied": b"", "halved": half, "garbled": b"\x00\xff" * 20}[torn])
        with pytest.raises(RunError) as caught:
            raydm.load_run(run)
        assert str(run) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        *(
            {key: value}
            for key in ("task", "n_features", "labels", "roles", "predictor", "threshold")
            for value in (None, [], {}, "x")
        ),
        {"value_function": []},
        {"value_function": {}},
        {"n_features": 3},
        {"task": {"kind": "classification", "n_outputs": 3}},
        {"task": {"kind": "regression", "n_outputs": 1}},
        {"predictor": {"name": "mlp"}},
        {"predictor": {"name": "magic"}},
        {"predictor": {"name": "logistic", "magic": 1}},
        {"format": 1},
        {"format": 2},
        {"format": 4},
        {"format": None},
    ],
    ids=str,
)
def test_a_changed_config_is_refused(copy: Path, change: dict[str, object]) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(RunError, match="run"):
        raydm.load_run(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"best": "magic"},
        {"best": None},
        {"members": []},
        {"members": None},
        {"members": [{"hidden": 7, "y_scale": [0, 1]}] * 2},
        {"members": [{"hidden": 100}] * 2},
        {"learned": True, "members": []},
        {"evidence": {}},
        {"evidence": {"sources": {}, "pools": {}, "seed": 0, "least": 1}},
        {"evidence": None},
    ],
    ids=str,
)
def test_a_changed_value_function_is_refused(copy: Path, change: dict[str, object]) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["value_function"] = {**config["value_function"], **change}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="run"):
        raydm.load_run(copy)


@pytest.mark.parametrize("lost", ["inputs", "inputs/neighbors", "inputs/neighbors/4", "inputs/validation/5"])
def test_lost_inputs_are_told_and_not_made_up_for(copy: Path, lost: str) -> None:
    shutil.rmtree(copy / lost)
    with pytest.raises(RunError, match="run"):
        raydm.load_run(copy)


def test_what_else_lies_in_its_folders_does_no_harm(copy: Path) -> None:
    before = raydm.load_run(copy)
    (copy / "inputs" / "neighbors" / ".DS_Store").write_text("")
    (copy / "inputs" / "more").mkdir()
    after = raydm.load_run(copy)
    examples = encode(before, load_set("digits", seed=0, sizes=(200, 50)).train, "train")
    assert np.array_equal(before.values(examples), after.values(examples))


@pytest.mark.parametrize("content", ["", "[]", "{", '"text"', "{}", "\x00"])
def test_a_config_that_is_none(copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json"):
        raydm.load_run(copy)


def test_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is not a run directory"):
        raydm.load_run(tmp_path)
    with pytest.raises(RunError, match="is not a run directory"):
        raydm.load_run(str(tmp_path / "absent"))
    with pytest.raises(RunError, match="file"):
        raydm.load_run(tmp_path / "file")


def test_a_predictor_of_one_s_own_is_asked_for(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "predictor": {"name": "custom", "module": "Mine"}}))
    with pytest.raises(RunError, match=r"load_run\(folder, predictor=\.\.\.\)"):
        raydm.load_run(copy)
    from raydm.predictors import make_predictor

    assert raydm.load_run(copy, predictor=make_predictor("logistic")).threshold == 0.5


def test_probabilities_are_for_classes(copy: Path) -> None:
    loaded = raydm.load_run(copy)
    target = type(loaded.labels)("regression", None, 0.0, 1.0)
    with pytest.raises(ParameterError, match="for classification"):
        type(loaded.predictor)(loaded.predictor.fitted, loaded.encoder, target).predict_proba(np.zeros((1, 64)))


def test_the_table_ranks_the_highest_value_first_and_ties_by_row() -> None:
    table = values_table(np.array(["p", "q", "r", "s"]), np.array([0.2, 0.9, 0.2, 0.4]), np.array([False, True] * 2))
    assert table.to_pydict() == {
        "id": ["p", "q", "r", "s"],
        "value": [0.2, 0.9, 0.2, 0.4],
        "rank": [3, 1, 4, 2],
        "selected": [False, True, False, True],
    }
    assert values_table(np.arange(1), np.ones(1), np.ones(1, bool), np.ones(1, bool)).column_names[-1] == "flipped"


def test_json_holds_null_for_what_it_cannot_say() -> None:
    content = {"a": [1.0, float("nan"), {"b": float("-inf")}], "c": "nan", "d": (2, True, None)}
    assert finite(content) == {"a": [1.0, None, {"b": None}], "c": "nan", "d": [2, True, None]}
