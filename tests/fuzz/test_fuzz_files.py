"""Damaged files of a part: journals, generators, indexes, text models, weights, configs and arguments."""

from __future__ import annotations

import argparse
import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzz_kit import WRONG, Damage, amounts, byte_damage, damaged, fuzz, is_read, json_damage, spoiled
from hypothesis import strategies as st

from raydm.data import Examples
from raydm.data.task import Task
from raydm.errors import RaydmError
from raydm.flags import types
from raydm.flags.config import arguments_of, read_config
from raydm.flags.value import VALUE
from raydm.generators import VAE, Prototypes, load_generator
from raydm.indexes import Index, IndexSpec
from raydm.joint_training.new_rows import NewRows
from raydm.journal import Journal
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem

TASK = Task("classification", 3)


def _problem(valid: Examples) -> Problem:
    return Problem(make_predictor("logistic", epochs=1), valid, TASK, METRICS["log-likelihood"], seed=3, shard=4)


def _sets(train: Examples) -> TrainingSets:
    w = torch.rand(3, len(train), generator=torch.Generator().manual_seed(0))
    return TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, TASK)


@amounts(15, 3000)
def test_a_damaged_journal_gives_right_answers_or_none(
    tmp_path: Path, digits_small: tuple[Examples, Examples], examples: int
) -> None:
    train, problem = _sets(digits_small[0]), _problem(digits_small[1])
    file = tmp_path / "j" / "answers"
    with Journal(file.parent) as journal:
        utility = journal.over(InProcess)(problem)
        right = [utility(train, step=step) for step in range(3)]
    whole = file.read_bytes()

    def resume() -> None:
        with Journal(file.parent, resume=True) as journal:
            kept = journal.kept
            utility = journal.over(InProcess)(problem)
            for step in range(kept):
                torch.testing.assert_close(utility(train, step=step), right[step], rtol=0, atol=0)

    def test(damage: Damage) -> None:
        file.write_bytes(damaged(whole, damage))
        is_read(resume)

    assert is_read(resume)
    fuzz(examples, test, byte_damage)


@pytest.mark.parametrize("kind", [VAE, Prototypes])
@amounts(20, 1000)
def test_a_damaged_generator(tmp_path: Path, kind: Any, examples: int) -> None:
    x, y = torch.rand(30, 5, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    file = tmp_path / "generator.safetensors"
    kind((5,), 3, **({"steps": 2} if kind is VAE else {})).fit(x, y).save(file)
    whole, noise = file.read_bytes(), np.random.default_rng(0)

    def sample() -> None:
        generator = load_generator(file)
        generator.sample(torch.tensor([0]), generator.noise(1, noise))

    def test(damage: Damage) -> None:
        file.write_bytes(damaged(whole, damage))
        is_read(sample)

    assert is_read(sample)
    fuzz(examples, test, byte_damage)


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf-flat", "ivf-pq"])
@amounts(20, 1000)
def test_a_damaged_index_is_refused(tmp_path: Path, kind: str, examples: int) -> None:
    x = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    file = tmp_path / "index"
    sizes: dict[str, dict[str, Any]] = {"ivf-flat": {"nlist": 4}, "ivf-pq": {"nlist": 4, "m": 4, "bits": 4}}
    spec = IndexSpec(kind, **sizes.get(kind, {}), **({"refine": False} if kind == "ivf-pq" else {}))  # type: ignore[arg-type]
    Index(spec).train(x, seed=0).add(x, np.arange(len(x))).save(file)
    whole = file.read_bytes()

    def test(damage: Damage) -> None:
        changed = damaged(whole, damage)
        file.write_bytes(changed)
        assert is_read(lambda: Index.load(file)) is (changed == whole)

    assert is_read(lambda: Index.load(file))
    fuzz(examples, test, byte_damage)


@amounts(20, 1000)
def test_damaged_new_rows(tmp_path: Path, examples: int) -> None:
    file = tmp_path / "new.parquet"
    made = NewRows(np.ones((4, 2, 3), np.float32), np.arange(4), np.arange(4), list("abcd"), [{"by": 1}] * 4, 0)
    made.write(file)
    whole = file.read_bytes()

    def test(damage: Damage) -> None:
        file.write_bytes(damaged(whole, damage))
        is_read(lambda: NewRows.read(file))

    assert is_read(lambda: NewRows.read(file))
    fuzz(examples, test, byte_damage)


CONFIG = {"steps": 3, "predictor": "mlp", "predictor_args": {"hidden": [4]}, "train": ["a.csv"], "kind": {"a": "text"}}


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@amounts(60, 3000)
def test_a_damaged_config(tmp_path: Path, suffix: str, examples: int) -> None:
    file = tmp_path / f"config{suffix}"
    whole = json.dumps(CONFIG, indent=1).encode()  # which is YAML too

    def test(in_bytes: Damage, in_json: Damage, of_json: bool) -> None:
        content = json.dumps(spoiled(CONFIG, in_json)).encode() if of_json else damaged(whole, in_bytes)
        file.write_bytes(content)
        is_read(lambda: arguments_of(VALUE, read_config(file)))

    fuzz(examples, test, byte_damage, json_damage, st.booleans())


ARGUMENTS = {
    "hidden": [4, 4], "lr": 0.1, "epochs": 2, "batch_size": 8, "steps": 2, "patience": 2, "check_every": 3,
    "layer_norm": True, "weight_decay": 0.1, "device": "cpu",
}  # fmt: skip


@amounts(60, 3000)
def test_wrong_predictor_arguments(digits_small: tuple[Examples, Examples], examples: int) -> None:
    """JSON of the right form, where some value is of another type or out of its range."""
    train = _sets(digits_small[0].take(range(9)))

    def test(damage: Damage) -> None:
        given = spoiled(ARGUMENTS, damage)
        if isinstance(given, dict) and 10**18 not in given.values():  # which is a right number of epochs, too
            is_read(lambda: make_predictor("mlp", **given).fit(train, seed=np.arange(3)))

    fuzz(examples, test, json_damage)


TYPES: dict[str, Any] = {
    "json_object": types.json_object,
    "column_kind": types.column_kind,
    "size_in_bytes": types.size_in_bytes,
    "number_or": types.number_or("auto"),
    "numbers": types.numbers,
}


@pytest.mark.parametrize("name", TYPES)
@amounts(100, 5000)
def test_any_text_as_an_argument(name: str, examples: int) -> None:
    texts = st.one_of(
        st.text(max_size=30),
        st.text("0123456789.:,eE+-KMGTiB[]{}\"' naif", max_size=30),
        st.sampled_from([json.dumps(value) for value in WRONG]),
        st.sampled_from(["[" * 10**5, '{"a":' * 10**5, "1" * 5000, "1e999GiB", "0:1e9:1e-9", "nan:1:1", "0:inf:1"]),
    )

    def test(text: str) -> None:
        with suppress(argparse.ArgumentTypeError):
            TYPES[name](text)

    fuzz(examples, test, texts)


@amounts(5, 300)
def test_a_damaged_text_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    """A model's folder, and a generator's, which holds one."""
    import huggingface_hub.constants
    from text_kit import write_tiny_bert

    from raydm.text import hub
    from raydm.text.generator import TextGenerator
    from raydm.text.tokenizer import Tokenizer

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = write_tiny_bert(tmp_path / "model")
    generator = tmp_path / "generator"
    generator.mkdir()
    TextGenerator.pretrained(folder, 2).save(generator)
    files = sorted(f for top in (folder, generator) for f in top.rglob("*") if f.is_file() and f.stat().st_size)

    def read(what: Path) -> None:
        if what == generator:
            TextGenerator.load(generator)
        else:
            Tokenizer(folder, length=8)(["the film"])
            hub.load_encoder(folder)

    def test(file: Path, in_bytes: Damage, in_json: Damage, of_json: bool) -> None:
        whole = file.read_bytes()
        try:
            if of_json and file.suffix == ".json":
                file.write_text(json.dumps(spoiled(json.loads(whole), in_json)))
            else:
                file.write_bytes(damaged(whole, in_bytes))
            is_read(lambda: read(file.parent))
        finally:
            file.write_bytes(whole)

    assert is_read(lambda: read(folder))
    assert is_read(lambda: read(generator))
    fuzz(examples, test, st.sampled_from(files), byte_damage, json_damage, st.booleans())


def test_the_kit_finds_what_it_should() -> None:
    """Damage changes; an error of another family is not taken for a refusal, and a warning not for an error."""
    assert damaged(b"abcdef", [("cut", 0.5, None), ("flip", 0.0, 1), ("put", 0.5, b"x")]) == b"`xbc"
    assert spoiled({"a": [1, 2]}, [("set", 0.0, 0)]) == {"a": None}

    def fails(error: type[Exception]) -> Any:
        def fail() -> None:
            warnings.warn("so", UserWarning, stacklevel=1)
            raise error("because")

        return fail

    assert not is_read(fails(RaydmError))
    with pytest.raises(KeyError):
        is_read(fails(KeyError))
