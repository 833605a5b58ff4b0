"""Damaged run directories: read, and then of use, or refused."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz_kit import Damage, amounts, byte_damage, copied, damaged, fuzz, is_read, json_damage, rows, spoiled
from hypothesis import strategies as st

from raydm.cli import main
from raydm.data import encode, read_table
from raydm.errors import RunError
from raydm.report.enlarge_run import load_enlarge_run
from raydm.report.mix_run import load_mix_run
from raydm.report.run import load_run
from raydm.report.weight_run import load_weight_run

_LOO = ("--method", "loo", "--evidence", "neighbors")
_JOINT = ("--epochs", "1", "--warm-up", "1", "--predictor-args", '{"device": "cpu"}')
COMMANDS: dict[str, tuple[str, ...]] = {  # what is run, by what reads its folder
    "networks": (
        "value", "--steps", "2", "--rollouts", "2", "--outer-batch", "16", "--evidence", "validation", "neighbors",
        "--judge", "0",
    ),
    "skops": ("value", *_LOO, "--predictor", "naive-bayes"),
    "votes": ("value", *_LOO, "--predictor", "neighbors"),
    "weight": ("weight", *_JOINT),
    "synthesize": ("synthesize", *_JOINT),
    "mix": (
        "mix", "--features", "a", "b", "--predictor", "linear", "--steps", "1", "--rollouts", "2", "--data-options",
        "1..2", "--label-options", "1..2", "--repeats", "1", "--test-repeats", "1",
    ),
}  # fmt: skip
UNREAD = {"metrics.jsonl", "evidence.json", "values.parquet", "mixed.parquet"}  # for people, or of other readers
SLOW = {"mix"}  # its forest takes a second to read


def _use(kind: str, run: Path, valid: Any) -> None:
    """Reads a run, and does with it what it is for."""
    if kind == "mix":
        mixed = load_mix_run(run)
        mixed.predictor.predict(valid)
        encode(mixed, valid, "rows")
    elif kind in ("weight", "synthesize"):
        load: Callable[[Path], Any] = load_weight_run if kind == "weight" else load_enlarge_run
        load(run).predictor.predict(valid)
    else:
        valued = load_run(run)
        valued.predictor.predict(valid)
        examples = encode(valued, valid, "rows")
        if valued.value_function is not None:
            valued.values(examples)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """Runs a command once, and gives its folder and trusted rows."""
    folder = tmp_path_factory.mktemp("runs")

    def make(kind: str) -> tuple[Path, Any]:
        verb, *flags = COMMANDS[kind]
        files = [folder / f"{kind}-{name}.parquet" for name in ("train", "valid")]
        if not files[0].exists():
            for seed, file in enumerate(files):
                table = rows(40 - 20 * seed, seed)
                (table.assign(label=table.a - table.b) if verb == "mix" else table).to_parquet(file)
            words = [verb, str(files[0]), "--valid", str(files[1]), "--quiet", "--out", str(folder / kind), *flags]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                assert main(words) == 0, said.getvalue()
        return folder / kind, read_table(files[1])

    return make


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in COMMANDS]
)
@amounts(15, 500)
def test_a_damaged_run(made: Any, tmp_path: Path, kind: str, examples: int) -> None:
    """Bytes of any of its files, or values in its JSON."""
    run, valid = made(kind)
    assert is_read(lambda: _use(kind, run, valid))
    read = sorted(f for f in run.rglob("*") if f.is_file() and f.name not in UNREAD and f.suffix != ".png")
    files = [file.relative_to(run) for file in read]

    def test(file: Path, in_bytes: Damage, in_json: Damage, of_json: bool) -> None:
        broken = copied(run, tmp_path / "run")
        whole = (run / file).read_bytes()
        if of_json and file.suffix == ".json":
            (broken / file).write_text(json.dumps(spoiled(json.loads(whole), in_json)))
        else:
            (broken / file).write_bytes(damaged(whole, in_bytes))
        is_read(lambda: _use(kind, broken, valid))

    fuzz(examples, test, st.sampled_from(files), byte_damage, json_damage, st.booleans())


@pytest.mark.parametrize("change", ["predictor", "labels", "encoder", "deep"])
def test_parts_that_do_not_fit_are_told_when_they_are_read(made: Any, tmp_path: Path, change: str) -> None:
    run, _ = made("votes")
    broken = copied(run, tmp_path / "run")
    file = broken / ("encoder.json" if change == "encoder" else "config.json")
    content = json.loads(file.read_text())
    if change == "predictor":
        content["predictor"]["k"] = "seven"
    elif change == "labels":
        content["labels"]["classes"] = ["no", ["yes"]]
    elif change == "encoder":
        content["columns"].pop()
    file.write_text("[" * 10**5 if change == "deep" else json.dumps(content))
    with pytest.raises(RunError, match=r"is torn or was changed|cannot be read"):
        load_run(broken)
