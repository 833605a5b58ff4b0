"""Texts in the one loop: g_phi's meta-gradient, and learned, fixed and synonym augmentation, and written texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meta_kit import joint_on, meta_errors

from raydm.augmenting.methods import make_augmenting
from raydm.augmenting.settings import AugmentSettings
from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.joint_training import NewRows, TextParts
from raydm.manipulations import Augment, ByTextGenerator, ByWriting, Synthesize
from raydm.metrics import METRICS
from raydm.predictors import SGD, Adam
from raydm.predictors.module import Module
from raydm.synthesizing.methods import make_synthesizing
from raydm.synthesizing.settings import SynthesizeSettings
from raydm.text import MakeTextClassifier, TextGenerator, Tokenizer
from raydm.utility import Problem

CLASSES = Task("classification", 2)
TEXTS = [
    "the film is good", "a dull story of an actor", "great music and a superb scene", "the plot was bad",
    "it is a fine film", "awful , poor and dull", "the actor is great", "the music is bad",
]  # fmt: skip
LABELS = np.array([1, 0, 1, 0, 1, 0, 1, 0])


@pytest.fixture(scope="module")
def tokenizer(tiny):
    return Tokenizer(tiny, length=12)


@pytest.fixture(scope="module")
def examples(tokenizer):
    return Examples(tokenizer(TEXTS), LABELS, np.arange(8))


def generator(tiny, tokenizer, seed: int = 0) -> TextGenerator:
    made = TextGenerator.pretrained(tiny, 2, tokenizer=tokenizer, seed=seed)
    with torch.no_grad():
        made.labels.weight.mul_(20)
    return made


def in_double(tiny):
    def make(d: int, c: int) -> torch.nn.Module:
        made = MakeTextClassifier(str(tiny), dropout=0.2)(d, c).double()
        torch.nn.init.normal_(made.head.weight, std=0.5)
        return made

    return make


@pytest.mark.parametrize("optimizer", [SGD(0.3, momentum=0.9), Adam(0.01, eps=1e-3)], ids=str)
def test_the_language_model_s_meta_gradient_is_that_of_finite_differences(tiny, tokenizer, examples, optimizer):
    joint = joint_on(examples.take([5, 6, 7]), CLASSES, in_double(tiny), optimizer)
    given = Batch(np.arange(5), torch.from_numpy(examples.x[:5]), torch.from_numpy(examples.y[:5]))
    of = Augment(ByTextGenerator(generator(tiny, tokenizer).double()), CLASSES)
    errors = meta_errors(of, joint, given, h=1e-4, together=True)
    assert max(errors.values()) < 1e-6


def test_the_meta_gradient_of_written_texts_goes_through_the_last_round(tiny, tokenizer, examples):
    joint = joint_on(examples.take([5, 6, 7]), CLASSES, in_double(tiny), SGD(0.3, momentum=0.0))
    ids, y = torch.from_numpy(examples.x[:5]), torch.from_numpy(examples.y[:5])
    composing = ByWriting(generator(tiny, tokenizer).double(), ids, y, rounds=1)
    of = Synthesize(composing, CLASSES, [1, 1], rows=0.8)
    errors = meta_errors(of, joint, Batch(np.arange(5), ids, y), h=1e-4, together=True)
    assert max(errors.values()) < 1e-6


def problem(tiny, examples, *, seed: int = 0) -> Problem:
    make = MakeTextClassifier(str(tiny), dropout=0.1)
    predictor = Module(make, optimizer=Adam(1e-3), batch_size=4, epochs=1, device="cpu")
    return Problem(predictor, examples.take([0, 1, 6, 7]), CLASSES, METRICS["accuracy"], seed=seed)


def thesaurus(word: str) -> list[str]:
    return {"film": ["story"], "good": ["great", "fine"], "dull": ["poor"], "music": ["scene"]}.get(word, [])


@pytest.mark.parametrize("method", ["learned", "fixed", "synonyms"])
def test_texts_are_augmented_alike_to_the_last_bit(tiny, tokenizer, examples, method, tmp_path):
    parts = TextParts(tiny, tokenizer, TEXTS, thesaurus)
    settings = AugmentSettings(
        epochs=2, warm_up=1, fit_epochs=1, learning_rate=1e-3, unroll=2 if method == "fixed" else 1
    )

    def run() -> tuple[NewRows, torch.Tensor]:
        made = make_augmenting(method, settings, examples, problem(tiny, examples), parts)
        assert len(list(made.steps())) == made.total
        return made.rows(10), made.fitted.predict(torch.from_numpy(examples.x))

    (rows, p), (again, p_again) = run(), run()
    assert torch.equal(p, p_again)
    np.testing.assert_array_equal(rows.x, again.x)
    assert rows.how == again.how
    assert rows.x.shape == (10, examples.x.shape[1])
    rows.write(tmp_path / "new.parquet")
    np.testing.assert_array_equal(NewRows.read(tmp_path / "new.parquet").x, rows.x)
    np.testing.assert_array_equal(rows.y, LABELS[rows.parent])
    for x, parent, how in zip(rows.x, rows.parent, rows.how, strict=True):
        changed = np.flatnonzero(x != examples.x[parent])
        if method == "synonyms":
            assert tokenizer([how["text"]])[0].tolist() == [i for i in x if i != tokenizer.pad_id]
        else:
            assert set(changed) <= set(how["positions"])
            assert how["words"] == tokenizer.decode([[t] for t in x[how["positions"]]])
    assert (rows.x != examples.x[rows.parent]).any()


def test_learning_moves_the_language_model_and_fixing_does_not(tiny, tokenizer, examples):
    parts = TextParts(tiny, tokenizer)
    for method, moves in (("learned", True), ("fixed", False)):
        made = make_augmenting(
            method, AugmentSettings(epochs=1, fit_epochs=1), examples, problem(tiny, examples), parts
        )
        made.prepare()
        before = [p.detach().clone() for p in made.rewriting.parameters()]
        list(made.steps())
        after = made.rewriting.parameters()
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) is moves


def test_texts_are_written_from_their_labels(tiny, tokenizer, examples):
    settings = SynthesizeSettings(epochs=1, warm_up=1, fit_epochs=1, rounds=2, rows=0.5)
    made = make_synthesizing("learned", settings, examples, problem(tiny, examples), TextParts(tiny, tokenizer))
    assert len(list(made.steps())) == made.total
    rows = made.rows(6)
    np.testing.assert_array_equal(made.rows(70).x[:6], rows.x)
    for x, y, how in zip(rows.x, rows.y, rows.how, strict=True):
        lender = how["length_of"]
        assert LABELS[lender] == y
        np.testing.assert_array_equal(x == tokenizer.pad_id, examples.x[lender] == tokenizer.pad_id)
        assert len(how["words"]) == (~np.isin(x, tokenizer.special_ids)).sum()


def test_longer_synonyms_are_cut_with_their_end(tiny, tokenizer, examples):
    parts = TextParts(tiny, tokenizer, TEXTS, lambda word: ["great good fine"] if word == "film" else [])
    short = Examples(examples.x[[0, 4]][:, :7], LABELS[[0, 4]], np.arange(2))
    parts = TextParts(tiny, tokenizer, [TEXTS[0], TEXTS[4]], parts.wordnet)
    made = make_augmenting("synonyms", AugmentSettings(epochs=1), short, problem(tiny, examples), parts)
    x = made.rows(4).x
    assert x.shape == (4, 7)
    assert (x[:, -1] == tokenizer(["the"])[0][-1]).all()  # [SEP]


def test_texts_need_their_parts(tiny, examples):
    with pytest.raises(ParameterError, match="TextParts"):
        list(make_augmenting("learned", AugmentSettings(epochs=1), examples, problem(tiny, examples)).steps())
