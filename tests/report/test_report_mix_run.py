"""The run directory of `raydm mix`: it reads back, nothing in it is pickled, and a torn one is refused."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raydm.cli import main
from raydm.data import encode, read_table
from raydm.errors import RunError
from raydm.report.mix_run import load_mix_run
from raydm.report.run import load_run

METHODS = ("mixrl", "mixrl+adamixup", "c-mixup")
QUICK = (
    *("--repeats", "1", "--test-repeats", "1", "--quiet", "--predictor", "linear", "--predictor-args", '{"epochs": 5}'),
)
LEARNING = ("--steps", "2", "--rollouts", "4")
OWN = {
    "mixrl": (*LEARNING, "--lam", "beta"), "c-mixup": (),
    "mixrl+adamixup": (*LEARNING, "--method-args", '{"steps": 2, "hidden": [4]}'),
}  # fmt: skip
READ = ("config.json", "encoder.json", "encoder.safetensors", "mixing.safetensors", "predictor/predictor.safetensors")


def rows(n: int, seed: int) -> pd.DataFrame:
    table = pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 2)), columns=["a", "b"])
    return table.assign(y=1 + 2 * table.a - table.b, z=100 - 50 * table.a)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs on 40 rows with two targets, by method."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, (name, n) in enumerate((("train", 40), ("valid", 12))):
        rows(n, seed).to_parquet(folder / f"{name}.parquet")
    made = {}
    for method in METHODS:
        words = ["mix", f"{folder}/train.parquet", "--valid", f"{folder}/valid.parquet", "--label", "y", "--label", "z"]
        words += [*QUICK, "--method", method, *OWN[method]]
        with warnings.catch_warnings():  # main replaces showwarning
            warnings.simplefilter("default")
            assert main([*words, "--out", str(folder / method)]) == 0
        made[method] = folder / method
    return made


@pytest.fixture
def copy(runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["mixrl"], tmp_path / "run"))


@pytest.mark.parametrize("method", METHODS)
def test_read_back_it_mixes_and_predicts_alike(runs: dict[str, Path], method: str) -> None:
    learned = load_mix_run(runs[method])
    table = read_table(str(runs[method].parent / "train.parquet"))
    pairs = learned.mixer.pairs(encode(learned, table, "train"), 0)
    mixed = pd.read_parquet(runs[method] / "mixed.parquet")
    assert mixed.mix_parent.tolist() == pairs.i.tolist()
    assert mixed.mix_partner.tolist() == pairs.j.tolist()
    assert mixed.mix_lambda.tolist() == pairs.lam.tolist()
    p = learned.predictor.predict(table)
    assert p.shape == (40, 2)
    truth = np.stack([table["y"], table["z"]], 1)
    assert np.abs(p - truth).mean() < np.abs(truth - truth.mean(0)).mean()
    assert (learned.roles.labels, learned.labels.n_outputs) == (("y", "z"), 2)


def test_config_tells_the_versions(runs: dict[str, Path]) -> None:
    config = json.loads((runs["mixrl"] / "config.json").read_text())
    for package in ("raydm", "torch", "numpy", "scikit-learn"):
        assert config["packages"][package] == metadata.version(package)
    assert config["task"] == {"kind": "regression", "n_outputs": 2}
    assert config["mix_format"] == 1


@pytest.mark.parametrize("method", METHODS)
def test_no_part_of_it_is_pickled(runs: dict[str, Path], method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in runs[method].rglob("*.*"):
        assert file.suffix in {".json", ".jsonl", ".parquet", ".png", ".safetensors", ".skops"}

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a pickle was read")

    for reader in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, reader, refuse)
    load_mix_run(runs[method])
    assert runs[method].stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("torn", ["deleted", "emptied", "halved", "a folder", "garbled"])
@pytest.mark.parametrize("method", METHODS)
def test_a_torn_run_is_refused(runs: dict[str, Path], tmp_path: Path, method: str, torn: str) -> None:
    for name in READ:
        if name == "mixing.safetensors" and method == "c-mixup":
            assert not (runs[method] / name).exists()  # it learned nothing
            continue
        run = Path(shutil.copytree(runs[method], tmp_path / name.replace("/", "-")))
        content = (run / name).read_bytes()
        (run / name).unlink()
        if torn == "a folder":
            (run / name).mkdir()
        elif torn != "deleted":
            half = content[: len(content) // 2]
            (run / name).write_bytes({"emptied": b"", "halved": half, "garbled": b"\x00\xff" * 20}[torn])
        with pytest.raises(RunError) as caught:
            load_mix_run(run)
        assert str(run) in str(caught.value)
        assert "raydm value" not in str(caught.value)


@pytest.mark.parametrize("lost", ["mixed.parquet", "metrics.jsonl", "evidence.json", "mixing.png"])
def test_what_is_for_people_is_not_needed(copy: Path, lost: str) -> None:
    (copy / lost).unlink()
    assert load_mix_run(copy).config["method"] == "mixrl"


@pytest.mark.parametrize(
    "change",
    [
        *(
            {key: value}
            for key in ("task", "n_features", "labels", "roles", "predictor", "mixer")
            for value in (None, [], {}, "x")
        ),
        {"n_features": 3},
        {"task": {"kind": "regression", "n_outputs": 1}},
        {"predictor": {"name": "mlp"}},
        {"predictor": {"name": "magic"}},
        {"predictor": {"name": "custom"}},
        {"mixer": {"partners": {"name": "magic"}, "shares": {"name": "fixed", "lam": 0.5}}},
        {"mix_format": 0},
        {"mix_format": 2},
        {"mix_format": None},
    ],
    ids=str,
)
def test_a_changed_config_is_refused(copy: Path, change: dict[str, object]) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(RunError, match="run"):
        load_mix_run(copy)


def test_what_was_learned_elsewhere_does_not_fit(runs: dict[str, Path], copy: Path) -> None:
    shutil.copy(runs["mixrl+adamixup"] / "mixing.safetensors", copy)  # whose tensors stand beside those of a region
    assert load_mix_run(copy).config["method"] == "mixrl"
    config = json.loads((copy / "config.json").read_text())
    config["mixer"]["partners"]["options"]["data"] = [1, 2]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="cannot be read as a mixer"):
        load_mix_run(copy)


@pytest.mark.parametrize("content", ["", "[]", "{", '"text"', "{}", "\x00", "null"])
def test_a_config_that_is_none(copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json"):
        load_mix_run(copy)


def test_runs_of_the_other_verb_are_told_apart(copy: Path) -> None:
    with pytest.raises(RunError, match="is a run of `raydm mix`, and one of `raydm value` is needed"):
        load_run(copy)
    (copy / "config.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(RunError, match="is a run of `raydm value`, and one of `raydm mix` is needed"):
        load_mix_run(copy)
