"""`raydm weight`: tables, texts and images in, one JSON line and a run directory out; refusals leave nothing behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_kit import Call, Files, Outcome, frame
from text_kit import write_tiny_bert

from raydm.data import vector_column
from raydm.errors import RunError
from raydm.report.run import load_run
from raydm.report.weight_run import load_weight_run

CPU = ("--predictor-args", '{"device": "cpu"}', "--quiet")
QUICK = ("--epochs", "2", "--warm-up", "1", *CPU)
KEYS = [
    "run", "method", "rows", "seconds", "steps", "seeds", "metric", "judge", "score", "sd", "valid_score", "compare",
    "gain", "zeros", "memory",
]  # fmt: skip
FILES = {
    "config.json", "weights.parquet", "metrics.jsonl", "evidence.json", "weights.png", "encoder.json",
    "predictor/predictor.safetensors",
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("cli") / "tiny")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def texts(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    words = [["bad", "poor", "awful", "dull"], ["good", "great", "fine", "superb"]]
    said = [f"the {rng.choice(['film', 'plot', 'actor'])} is {rng.choice(words[k])}" for k in y]
    return pd.DataFrame(
        {"id": [f"{seed}-{i}" for i in range(rows)], "review": said, "label": np.where(y, "up", "down")}
    )


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Parquet files of 60, 12 and 20 texts."""
    folder = tmp_path_factory.mktemp("reviews")
    made = Files(folder, *(folder / f"{name}.parquet" for name in ("train", "valid", "test")))
    for seed, (file, rows) in enumerate(((made.train, 60), (made.valid, 12), (made.test, 20))):
        texts(rows, seed).to_parquet(file)
    return made


def photos(rows: int, seed: int) -> pa.Table:
    """Bright images 6x6 are of class day."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    x = (rng.integers(0, 100, (rows, 6, 6, 3)) + 120 * y[:, None, None, None]).astype(np.uint8)
    return pa.table({"photo": vector_column(x), "label": np.where(y, "day", "night")})


def words(files: Files, *more: str | os.PathLike[str]) -> tuple[str | os.PathLike[str], ...]:
    return ("weight", files.train, "--valid", files.valid, "--test", files.test, *more)


def refused(outcome: Outcome, *said: str) -> None:
    """Ended with 2, said why, wrote nothing to stdout and left nothing behind."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    for part in said:
        assert part in outcome.err
    assert "Traceback" not in outcome.err
    assert list(Path.cwd().iterdir()) == []


def contents(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_a_table_from_files(call: Call, files: Files) -> None:
    outcome = call(*words(files, "--label", "label", *QUICK, "--out", "run", "--compare", "base", "proportion"))
    line = outcome.line
    assert list(line) == KEYS
    assert (line["method"], line["rows"], line["metric"], line["judge"]) == ("weight", 120, "accuracy", "test")
    assert list(line["compare"]) == list(line["gain"]) == ["base", "proportion"]
    assert line["gain"]["base"] == pytest.approx(line["score"] - line["compare"]["base"])
    assert line["sd"] is None
    told = outcome.err.index("estimated to take about")
    assert told < outcome.err.index("the run is in run")
    run = Path("run")
    assert contents(run) == FILES | {"encoder.safetensors"}
    assert run.stat().st_mode & 0o777 == 0o700
    weights = pq.read_table(run / "weights.parquet")
    assert weights.column_names == ["id", "weight", "label"]
    train = pd.read_csv(files.train)
    assert weights["label"].to_pylist() == train.label.tolist()
    assert weights["weight"].to_numpy().mean() == pytest.approx(1, abs=1e-3)
    steps = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == line["steps"]
    evidence = json.loads((run / "evidence.json").read_text())
    assert [point["epoch"] for point in evidence["curve"]] == [0, 1, 2]
    assert sum(c["rows"] for c in evidence["classes"]) == 120
    assert sum(c["share"] for c in evidence["classes"]) == pytest.approx(1)
    test = pd.read_csv(files.test)
    again = load_weight_run(run)
    said = again.predictor.predict(test.drop(columns="label"))
    assert (said == test.label).mean() == pytest.approx(line["score"])
    with pytest.raises(RunError, match="a run of `raydm weight`"):
        load_run(run)


def test_two_runs_are_alike_and_never_overwrite(call: Call, files: Files) -> None:
    for name in ("a", "b"):
        assert call(*words(files, *QUICK, "--out", name)).code == 0
    a, b = (pq.read_table(f"{name}/weights.parquet") for name in "ab")
    assert a.equals(b)
    again = call(*words(files, *QUICK, "--out", "a"))
    assert again.code == 2
    assert "exists already" in again.err
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["a", "b"]


def test_texts_by_a_model_in_a_folder(call: Call, reviews: Files, tiny: Path) -> None:
    outcome = call(*words(reviews, "--text", "review", "--model", tiny, *QUICK, "--out", "run", "--length", "8"))
    assert list(outcome.line) == KEYS
    run = Path("run")
    assert contents(run) > FILES
    assert "tokenizer/tokenizer.json" in contents(run)
    config = json.loads((run / "config.json").read_text())
    assert config["predictor"] == {"name": "text", "device": "cpu", "model": str(tiny)}
    test = pd.read_parquet(reviews.test)
    said = load_weight_run(run).predictor.predict(test)
    assert (said == test.label).mean() == pytest.approx(outcome.line["score"])
    ids = pq.read_table(run / "weights.parquet")["id"].to_pylist()
    assert ids == pd.read_parquet(reviews.train).id.tolist()
    named = call(
        *words(reviews, "--text", "review", "--predictor", f"text:{tiny}", *QUICK, "--out", "n", "--length", "8")
    )
    assert named.line["score"] == outcome.line["score"]


def test_missing_texts_are_told_and_taken_as_empty(call: Call, reviews: Files, tiny: Path, tmp_path: Path) -> None:
    holes = pd.read_parquet(reviews.train)
    holes.loc[[3, 7], "review"] = None
    file = tmp_path / "holes.parquet"
    holes.to_parquet(file)
    outcome = call("weight", file, "--valid", reviews.valid, "--text", "review", "--model", tiny, *QUICK, "--out", "r")
    assert outcome.line["rows"] == 60
    assert outcome.line["judge"] == "validation"
    assert "column 'review': 2 missing texts taken as empty" in outcome.err
    assert "give --test for a fair judge" in outcome.err
    holes.assign(review=pd.array([None] * 60, dtype="string")).to_parquet(file)
    outcome = call("weight", file, "--valid", reviews.valid, "--text", "review", "--model", tiny, *QUICK, "--out", "s")
    assert outcome.code == 2
    assert "every text is missing" in outcome.err
    assert not Path("s").exists()


def test_images_in_arrays(call: Call, tmp_path: Path) -> None:
    made = Files(tmp_path, *(tmp_path / f"{name}.parquet" for name in ("train", "valid", "test")))
    for seed, (file, rows) in enumerate(((made.train, 40), (made.valid, 12), (made.test, 20))):
        pq.write_table(photos(rows, seed), file)
    small = ("--epochs", "1", "--warm-up", "1", "--quiet", "--predictor-args",
             '{"device": "cpu", "widths": [2, 2, 2]}')  # fmt: skip
    outcome = call(*words(made, "--image", "photo", *small, "--out", "run"))
    assert list(outcome.line) == KEYS
    assert contents(Path("run")) == FILES
    predictor = json.loads(Path("run/config.json").read_text())["predictor"]
    assert (predictor["name"], predictor["channels"], len(predictor["normalize"][0])) == ("resnet-8", 3, 3)
    said = load_weight_run("run").predictor.predict(photos(20, 2))
    truth = np.array(photos(20, 2)["label"].to_pylist())
    assert (said == truth).mean() == pytest.approx(outcome.line["score"])


def test_images_in_files(call: Call, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for seed, (name, rows) in enumerate((("train", 30), ("valid", 10))):
        table = photos(rows, seed).to_pandas()
        table["photo"] = [str(tmp_path / f"{name}-{k}.png") for k in range(rows)]
        for file, pixels in zip(
            table.photo, photos(rows, seed)["photo"].combine_chunks().to_numpy_ndarray(), strict=True
        ):
            image.fromarray(pixels).save(file)
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    both = ("weight", tmp_path / "train.csv", "--valid", tmp_path / "valid.csv", "--image", "photo", "--epochs", "0")
    small = ("--warm-up", "1", "--quiet", "--predictor-args", '{"device": "cpu", "widths": [2, 2, 2]}')
    assert call(*both, *small, "--method", "base", "--out", "run").line["rows"] == 30
    assert load_weight_run("run").predictor.encoder.image_shape == (6, 6, 3)
    assert call(*both, *small, "--method", "base", "--image-size", "8", "4", "--out", "scaled").code == 0
    assert load_weight_run("scaled").predictor.encoder.image_shape == (8, 4, 3)
    (tmp_path / "train-7.png").write_bytes(b"no image")
    torn = call(*both, *small, "--out", "torn")
    assert torn.code == 2
    assert "column 'photo', row 8: cannot be read as an image" in torn.err
    assert not Path("torn").exists()


def test_seeds_and_their_spread(call: Call, files: Files) -> None:
    line = call(*words(files, *QUICK, "--seeds", "3", "--method", "ren2018", "--out", "run")).line
    assert line["seeds"] == 3
    assert line["sd"] >= 0
    evidence = json.loads(Path("run/evidence.json").read_text())
    each = evidence["scores"]["ren2018"]["each"]
    assert line["score"] == pytest.approx(np.mean(each))
    assert line["sd"] == pytest.approx(np.std(each, ddof=1))
    assert {point["seed"] for point in evidence["curve"]} == {0, 1, 2}


def test_targets_and_several_of_them(call: Call, tmp_path: Path) -> None:
    for name, rows in (("train", 60), ("valid", 20)):
        table = frame(rows, len(name), regression=True).drop(columns="g")
        table.assign(second=table.a - table.c, id=range(rows)).to_csv(tmp_path / f"{name}.csv", index=False)
    both = ("weight", tmp_path / "train.csv", "--valid", tmp_path / "valid.csv", "--label", "label", *QUICK)
    assert call(*both, "--features", "a", "b", "c", "--out", "one").line["metric"] == "rmse"
    assert call(*both, "--label", "second", "--weights", "network", "--out", "two").line["metric"] == "rmse"
    assert pq.read_table("two/weights.parquet").column_names == ["id", "weight", "label_label", "label_second"]


def test_a_named_set(call: Call) -> None:
    line = call("weight", "wine", "--sizes", "60", "20", *QUICK, "--method", "base", "--out", "run").line
    assert (line["rows"], line["judge"]) == (60, "test")


def test_a_class_that_the_trusted_rows_lack_is_warned_of(call: Call, files: Files, tmp_path: Path) -> None:
    valid = pd.read_csv(files.valid)
    valid[valid.label == "yes"].to_csv(tmp_path / "one.csv", index=False)
    outcome = call("weight", files.train, "--valid", tmp_path / "one.csv", *QUICK, "--out", "run")
    assert outcome.code == 0
    assert "No trusted row is of the classes ['no']" in outcome.err
    refused_by_auc = call(
        "weight", files.train, "--valid", tmp_path / "one.csv", *QUICK, "--metric", "auc", "--out", "b"
    )
    assert refused_by_auc.code == 2
    assert "auc" in refused_by_auc.err
    assert not Path("b").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--method", "magic"), ("method", "ren2018")),
        (("--compare", "magic"), ("method", "magic")),
        (("--compare", "weight"), ("--compare weight",)),
        (("--predictor", "forest"), ("predictor", "'mlp'")),
        (("--predictor", "resnet-8"), ("reads an image",)),
        (("--predictor-args", '{"depth": 3}'), ("cannot be made", "depth")),
        (("--predictor-args", "[1]"), ("JSON object",)),
        (("--model", "x"), ("is for texts",)),
        (("--text", "g"), ("needs a model",)),
        (("--text", "nope", "--model", "x"), ("nope",)),
        (("--text", "g", "--model", "no/such/model"), ("no/such/model",)),
        (("--text", "g", "--image", "a", "--model", "x"), ("Got both",)),
        (("--text", "g", "--model", "x", "--features", "a"), ("Leave features out",)),
        (("--image", "a"), ("holds no image",)),
        (("--image-size", "8", "8"), ("image_size",)),
        (("--label", "labl"), ("labl", "Did you mean 'label'")),
        (("--features", "a", "zz"), ("zz",)),
        (("--metric", "rmse"), ("rmse",)),
        (("--epochs", "-1"), ("epochs",)),
        (("--epochs", "0", "--warm-up", "0"), ("untrained",)),
        (("--decay", "0.5"), ("decay",)),
        (("--learning-rate", "fast"), ("batch",)),
        (("--learning-rate", "-1"), ("learning_rate",)),
        (("--look-ahead", "far"), ("look_ahead",)),
        (("--unroll", "2", "--method", "ren2018"), ("unroll",)),
        (("--unroll", "2", "--no-agreement"), ("--no-agreement", "one step ahead")),
        (("--predictor-args", '{"device": "cuda:99"}'), ("device", "'auto'")),
        (("--dev-batch", "0"), ("dev_batch",)),
        (("--seeds", "0"), ("seeds",)),
        (("--seed", "-1"), ("random_state",)),
        (("--sizes", "5", "5"), ("--sizes",)),
        (("--gpus-per-actor", "1"), ("--actors",)),
        (("--unknown",), ("unrecognized",)),
    ],
)
def test_wrong_flags_are_refused(call: Call, files: Files, flags: tuple[str, ...], said: tuple[str, ...]) -> None:
    refused(call(*words(files, "--epochs", "1", "--quiet", *flags)), *said)


def test_files_without_trusted_ones_and_targets_by_proportion_are_refused(
    call: Call, files: Files, targets: Files
) -> None:
    refused(call("weight", files.train), "--valid")
    refused(call("weight", "nowhere.csv", "--valid", files.valid), "nowhere.csv")
    refused(call(*words(targets, *QUICK, "--method", "proportion")), "proportion")
    beside = call(*words(targets, *QUICK, "--compare", "proportion"))
    refused(beside, "proportion")
    assert "a training step is estimated" not in beside.err  # which is said before the first


def test_a_run_that_is_torn_is_not_read(call: Call, files: Files) -> None:
    assert call(*words(files, *QUICK, "--out", "run")).code == 0
    run = Path("run")
    whole = (run / "predictor/predictor.safetensors").read_bytes()
    (run / "predictor/predictor.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError):
        load_weight_run(run)
    (run / "predictor/predictor.safetensors").write_bytes(whole)
    (run / "weights.parquet").unlink()
    with pytest.raises(RunError, match="torn"):
        load_weight_run(run)
    with pytest.raises(RunError, match="not a run directory"):
        load_weight_run("nowhere")


def test_a_full_disk_leaves_nothing_behind(call: Call, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("raydm.report.weight_run.pq.write_table", full)
    refused(call(*words(files, *QUICK, "--out", "sub/run")), "No space left on device")
