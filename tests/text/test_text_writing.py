"""Whole texts from a label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from text_kit import VOCABULARY

from raydm.errors import ParameterError
from raydm.text import TextGenerator, Tokenizer, compose, fit

NOUNS = ["film", "plot", "actor", "scene"]
WORDS = ["great", "bad"]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def fitted(tiny):
    texts = [f"the {noun} was {word} ." for noun in NOUNS for word in WORDS] * 6
    labels = np.array([0, 1] * 24)
    g, ids = TextGenerator.pretrained(tiny, 2), Tokenizer(tiny)(texts)
    # one or two of five words are masked in fitting; composing starts from none, which these longer masks prepare for
    fit(g, ids, labels, seed=0, epochs=60, lr=5e-3)
    return g, torch.from_numpy(ids)


def test_texts_of_the_label_in_the_form_of_the_training_texts(fitted):
    g, ids = fitted
    labels = torch.tensor([0, 1] * 24)
    with torch.no_grad():
        text = compose(g, ids, labels, rng=rng(), rounds=5).hard()
    assert torch.equal(text[:, [0, 6]], ids[:, [0, 6]])
    assert (text[:, 1:6] > 4).all()
    told = torch.tensor([VOCABULARY.index(word) for word in WORDS])[labels]
    assert (text[:, 4] == told).float().mean() > 0.85
    nouns = torch.tensor([VOCABULARY.index(noun) for noun in NOUNS])
    assert torch.isin(text[:, 2], nouns).float().mean() > 0.85


def test_every_word_is_written_once_and_lengths_stay(tiny):
    g = TextGenerator.pretrained(tiny, 2).eval()
    ids = torch.from_numpy(Tokenizer(tiny)(["", "one", "one two three", "one two three four five six seven"]))
    for rounds in (1, 2, 3, 20):
        seen = []
        handle = g.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[2]))
        drawn = compose(g, ids, None, rng=rng(rounds), rounds=rounds)
        handle.remove()
        assert len(seen) == rounds
        for row, words in enumerate((0, 1, 3, 7)):
            at = sorted(int(p) for share in seen for p in share[row] if p >= 0)
            assert at == list(range(1, words + 1))
        hard = drawn.hard()
        assert torch.equal(hard == 0, ids == 0)
        assert not (hard == g.mask_id).any()


def test_the_rng_decides_and_the_last_round_carries_the_gradient(tiny):
    g = TextGenerator.pretrained(tiny, 2).eval()
    ids = torch.from_numpy(Tokenizer(tiny)(["one two three four five six seven"] * 3))
    labels = torch.tensor([0, 1, 0])
    one, two, other = (compose(g, ids, labels, rng=rng(s), rounds=3) for s in (0, 0, 1))
    assert torch.equal(one.probs, two.probs)
    assert not torch.equal(one.hard(), other.hard())
    (slope,) = torch.autograd.grad(one.probs.square().sum(), g.labels.weight)
    assert (slope.abs().sum(1) > 0).all()
    with pytest.raises(ParameterError, match="'rounds'"):
        compose(g, ids, labels, rng=rng(), rounds=0)
