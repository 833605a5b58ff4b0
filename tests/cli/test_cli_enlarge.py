"""`raydm augment` and `raydm synthesize`: one JSON line and a run directory out; refusals leave nothing behind."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_kit import Call, Files, Outcome
from text_kit import write_tiny_bert

from raydm.data import vector_column
from raydm.data.vectors import to_array
from raydm.errors import RunError
from raydm.report.enlarge_run import load_enlarge_run
from raydm.report.weight_run import load_weight_run

VERBS = ("augment", "synthesize")
CPU = ("--predictor-args", '{"device": "cpu"}', "--quiet")
QUICK = ("--epochs", "2", "--warm-up", "1", *CPU)
SMALL = ("--epochs", "1", "--warm-up", "1", "--quiet", "--predictor-args", '{"device": "cpu", "widths": [2, 2, 2]}')
KEYS = [
    "run", "method", "rows", "new_rows", "seconds", "steps", "seeds", "metric", "judge", "score", "sd",
    "valid_score", "compare", "gain", "memory",
]  # fmt: skip
FILES = {
    "config.json", "rows.parquet", "metrics.jsonl", "evidence.json", "learned.png", "encoder.json",
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
    y = rng.permutation(np.arange(rows) % 2)
    words = [["bad", "poor", "awful", "dull"], ["good", "great", "fine", "superb"]]
    said = [f"the {rng.choice(['film', 'plot', 'actor'])} is {rng.choice(words[k])}" for k in y]
    return pd.DataFrame(
        {"id": [f"{seed}-{i}" for i in range(rows)], "review": said, "label": np.where(y, "up", "down")}
    )


def photos(rows: int, seed: int) -> pa.Table:
    """Bright images 6x6 are of class day."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % 2)
    x = (rng.integers(0, 100, (rows, 6, 6, 3)) + 120 * y[:, None, None, None]).astype(np.uint8)
    return pa.table({"photo": vector_column(x), "label": np.where(y, "day", "night")})


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


@pytest.mark.parametrize("verb", VERBS)
def test_a_table_from_files(call: Call, files: Files, verb: str) -> None:
    both = (verb, files.train, "--valid", files.valid, "--test", files.test, "--label", "label", *QUICK)
    outcome = call(*both, "--out", "run", "--compare", "none", "--rows", "70")
    line = outcome.line
    assert list(line) == KEYS
    assert (line["method"], line["rows"], line["new_rows"], line["judge"]) == ("learned", 120, 70, "test")
    assert line["gain"]["none"] == pytest.approx(line["score"] - line["compare"]["none"])
    assert outcome.err.index("estimated to take about") < outcome.err.index("the run is in run")
    run = Path("run")
    assert contents(run) == FILES | {"encoder.safetensors"}
    assert run.stat().st_mode & 0o777 == 0o700
    again = load_enlarge_run(run)
    assert again.rows is not None
    assert again.rows.column_names == ["a", "b", "c", "g", "label", "parent_id", "how", "seed", "draw"]
    assert set(again.rows["g"].to_pylist()) <= set("uvw")
    train = pd.read_csv(files.train)
    if verb == "augment":
        parents = again.rows["parent_id"].to_pylist()
        assert again.rows["label"].to_pylist() == train.label[parents].tolist()
    else:
        assert again.rows["parent_id"].null_count == 70
    evidence = json.loads((run / "evidence.json").read_text())
    assert [point["epoch"] for point in evidence["curve"]] == [0, 1, 2]
    first = evidence["summary"][0]
    assert set(first) == ({"feature", "noise", "masked"} if verb == "augment" else {"scale", "fitted", "learned"})
    steps = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == line["steps"]
    test = pd.read_csv(files.test)
    assert (again.predictor.predict(test) == test.label).mean() == pytest.approx(line["score"])
    with pytest.raises(RunError, match="a run of `raydm augment` or `raydm synthesize`, and one of `raydm weight`"):
        load_weight_run(run)
    assert call(*both, "--out", "again", "--rows", "7").code == 0
    assert pq.read_table("again/rows.parquet").equals(again.rows.slice(0, 7))
    over = call(*both, "--out", "run")
    assert over.code == 2
    assert "exists already" in over.err


@pytest.mark.parametrize("verb", VERBS)
def test_new_rows_are_data_that_raydm_reads(call: Call, files: Files, verb: str) -> None:
    plain = "fixed" if verb == "augment" else "untuned"
    assert call(verb, files.train, "--valid", files.valid, *QUICK, "--method", plain, "--out", "run").code == 0
    used = ("weight", "run/rows.parquet", "--valid", files.valid, "--features", "a", "b", "c", "g", *QUICK)
    assert call(*used, "--method", "base", "--out", "next").line["rows"] == 120


@pytest.mark.parametrize("verb", VERBS)
def test_a_method_without_new_rows(call: Call, files: Files, verb: str) -> None:
    outcome = call(verb, files.train, "--valid", files.valid, *QUICK, "--method", "base+valid", "--out", "run")
    assert outcome.line["new_rows"] == 0
    assert "makes no new rows" in outcome.err
    assert "give --test for a fair judge" in outcome.err
    assert "base+valid was trained on the trusted rows too" in outcome.err
    assert contents(Path("run")) == (FILES | {"encoder.safetensors"}) - {"rows.parquet"}
    assert load_enlarge_run("run").rows is None


@pytest.mark.parametrize("verb", VERBS)
def test_texts(call: Call, tmp_path: Path, tiny: Path, verb: str) -> None:
    for seed, (name, rows) in enumerate((("train", 30), ("valid", 12))):
        texts(rows, seed).to_parquet(tmp_path / f"{name}.parquet")
    both = (verb, tmp_path / "train.parquet", "--valid", tmp_path / "valid.parquet", "--text", "review", *QUICK)
    model = ("--model", tiny, "--length", "8", "--fit-epochs", "1", "--top-k", "20", "--out", "run")
    outcome = call(*both, *model, "--rows", "9")
    assert outcome.line["new_rows"] == 9
    rows = pq.read_table("run/rows.parquet")
    assert rows.column_names == ["review", "label", "parent_id", "how", "seed", "draw"]
    assert all(isinstance(text, str) for text in rows["review"].to_pylist())
    if verb == "augment":
        train = texts(30, 0).set_index("id").label
        assert rows["label"].to_pylist() == train[rows["parent_id"].to_pylist()].tolist()
    else:
        assert {json.loads(how)["length_of"][:2] for how in rows["how"].to_pylist()} == {"0-"}


@pytest.mark.parametrize("verb", VERBS)
def test_images_in_arrays_and_in_bytes(call: Call, tmp_path: Path, verb: str) -> None:
    image = pytest.importorskip("PIL.Image")

    def encoded(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        image.fromarray(pixels).save(file, format="png")
        return file.getvalue()

    for seed, (name, rows) in enumerate((("train", 30), ("valid", 12))):
        table = photos(rows, seed)
        pq.write_table(table, tmp_path / f"{name}.parquet")
        files = [encoded(pixels) for pixels in to_array(table["photo"])]
        pq.write_table(pa.table({"photo": files, "label": table["label"]}), tmp_path / f"{name}-bytes.parquet")
    found = {}
    for kind in ("", "-bytes"):
        both = (verb, tmp_path / f"train{kind}.parquet", "--valid", tmp_path / f"valid{kind}.parquet")
        assert call(*both, "--image", "photo", *SMALL, "--out", f"run{kind}").line["new_rows"] == 30
        found[kind] = pq.read_table(f"run{kind}/rows.parquet")["photo"]
    assert found["-bytes"].type == pa.binary()
    pixels = to_array(found[""])
    assert (pixels.dtype, pixels.shape) == (np.uint8, (30, 6, 6, 3))
    read = np.stack([np.asarray(image.open(io.BytesIO(value))) for value in found["-bytes"].to_pylist()])
    np.testing.assert_array_equal(read, pixels)


def test_a_named_set_of_images_in_rows(call: Call) -> None:
    flags = ("--sizes", "100", "50", "--image-shape", "8", "8", "1", *QUICK, "--rows", "8")
    line = call("synthesize", "digits", *flags, "--method", "untuned", "--out", "run").line
    assert (line["rows"], line["new_rows"]) == (100, 8)
    assert to_array(pq.read_table("run/rows.parquet")["x"]).shape == (8, 8, 8, 1)


def test_seeds_and_their_spread(call: Call, files: Files) -> None:
    both = ("augment", files.train, "--valid", files.valid, "--test", files.test, *QUICK, "--out", "run")
    line = call(*both, "--seeds", "2", "--method", "none").line
    each = json.loads(Path("run/evidence.json").read_text())["scores"]["none"]["each"]
    assert line["score"] == pytest.approx(np.mean(each))
    assert line["sd"] == pytest.approx(np.std(each, ddof=1))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--method", "magic"), ("method", "'base+valid'")),
        (("--compare", "magic"), ("method", "magic")),
        (("--compare", "learned"), ("--compare learned",)),
        (("--rows", "-1"), ("rows",)),
        (("--rows", "many"), ("invalid int",)),
        (("--predictor", "resnet-8"), ("reads an image",)),
        (("--predictor-args", '{"depth": 3}'), ("cannot be made", "depth")),
        (("--model", "x"), ("is for texts",)),
        (("--language-model", "x"), ("is for texts",)),
        (("--text", "g"), ("needs a model",)),
        (("--text", "g", "--model", "no/such/model"), ("no/such/model",)),
        (("--image", "a"), ("holds no image",)),
        (("--image-shape", "8", "8", "1"), ("8 x 8 x 1",)),
        (("--label", "labl"), ("labl", "Did you mean 'label'")),
        (("--kind", "g=text"), ("'g' holds texts",)),
        (("--metric", "rmse"), ("rmse",)),
        (("--epochs", "0", "--warm-up", "0"), ("untrained",)),
        (("--share", "1"), ("share",)),
        (("--learning-rate", "-1"), ("learning_rate",)),
        (("--dev-batch", "0"), ("dev_batch",)),
        (("--seeds", "0"), ("seeds",)),
        (("--seed", "-1"), ("random_state",)),
        (("--sizes", "5", "5"), ("--sizes",)),
        (("--gpus-per-actor", "1"), ("--actors",)),
        (("--actors", "0"), ("actors",)),
        (("--unknown",), ("unrecognized",)),
    ],
)
def test_wrong_flags_are_refused(
    call: Call, files: Files, verb: str, flags: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(call(verb, files.train, "--valid", files.valid, "--epochs", "1", "--quiet", *flags), *said)


@pytest.mark.parametrize(
    ("verb", "flags", "said"),
    [
        ("augment", ("--copies", "0"), "copies"),
        ("augment", ("--look-ahead", "far"), "look_ahead"),
        ("augment", ("--noise", "0"), "'noise' parameter"),
        ("augment", ("--method", "synonyms"), "texts"),
        ("augment", ("--ratio", "2"), "unrecognized"),
        ("synthesize", ("--ratio", "0"), "ratio"),
        ("synthesize", ("--classes", "rare"), "classes"),
        ("synthesize", ("--generator", "gan"), "generator"),
        ("synthesize", ("--task", "regression"), "text"),
    ],
)
def test_wrong_flags_of_one_verb(call: Call, files: Files, verb: str, flags: tuple[str, ...], said: str) -> None:
    refused(call(verb, files.train, "--valid", files.valid, "--epochs", "1", "--quiet", *flags), said)


@pytest.mark.parametrize(
    ("verb", "flags", "said"),
    [
        ("augment", ("--method", "none", "--compare", "synonyms"), "training texts"),
        ("augment", ("--method", "none", "--compare", "fixed", "--image-shape", "8", "8", "1"), "8 x 8 x 1"),
        ("synthesize", ("--method", "none", "--compare", "untuned", "--image-shape", "8", "8", "1"), "8 x 8 x 1"),
        ("synthesize", ("--method", "base+valid", "--compare", "learned", "--kind", "g=text"), "'g' holds texts"),
    ],
)
def test_what_a_compared_method_cannot_do_is_told_before_any_training(
    call: Call, files: Files, verb: str, flags: tuple[str, ...], said: str
) -> None:
    outcome = call(verb, files.train, "--valid", files.valid, *QUICK, *flags)
    refused(outcome, said)
    assert "a training step is estimated" not in outcome.err  # which is said before the first


def test_targets_are_not_synthesized(call: Call, targets: Files) -> None:
    refused(call("synthesize", targets.train, "--valid", targets.valid, *QUICK), "classification")
    assert call("augment", targets.train, "--valid", targets.valid, *QUICK, "--out", "run").line["metric"] == "rmse"


def test_a_full_disk_and_a_torn_run(call: Call, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("augment", files.train, "--valid", files.valid, *QUICK, "--method", "fixed", "--out", "sub/run")

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("raydm.report.enlarge_run.pq.write_table", full)
        refused(call(*both), "No space left on device")
    assert call(*both).code == 0
    Path("sub/run/rows.parquet").unlink()
    with pytest.raises(RunError, match="torn"):
        load_enlarge_run("sub/run")
    with pytest.raises(RunError, match="not a run directory"):
        load_enlarge_run("nowhere")
