"""Training the generator: it learns what the label says, from the seed alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from text_kit import VOCABULARY

from raydm.errors import ParameterError
from raydm.text import TextGenerator, Tokenizer, epochs_of, fit, masked_loss
from raydm.text.fitting import _linear, batches_of

WORDS = ["great", "bad", "three"]


def world(tiny, n=48):
    """Texts whose one word of interest depends on the label alone."""
    labels = np.arange(n) % 3
    nouns = ["film", "plot", "actor", "scene"]
    texts = [f"the {nouns[row // 3 % 4]} was {WORDS[label]} ." for row, label in enumerate(labels)]
    return Tokenizer(tiny)(texts), labels.astype(np.int64)


def test_after_fitting_the_drawn_word_depends_on_the_label(tiny):
    ids, labels = world(tiny)
    g = TextGenerator.pretrained(tiny, 3)
    before = masked_loss(g, ids, labels, seed=0)
    history = fit(g, ids, labels, seed=0, epochs=40, lr=5e-3, batch_size=8)
    assert [e.epoch for e in history] == list(range(1, 41))
    assert history[-1].valid_loss is None
    assert history[-1].loss < 0.5 * history[0].loss
    assert masked_loss(g, ids, labels, seed=0) < 0.5 * before
    assert not g.training
    wanted = torch.tensor([VOCABULARY.index(word) for word in WORDS])
    x = torch.from_numpy(ids)
    for told in range(3):  # another label than the text's own, too
        given = torch.full((len(x),), told)
        drawn = g.draw(x, given, rng=np.random.default_rng(told), positions=torch.full((len(x), 1), 4)).hard()[:, 4]
        assert (drawn == wanted[told]).float().mean() > 0.9


def test_unlabelled_texts_teach_the_language_but_not_the_labels(headless):
    ids, _ = world(headless)
    g = TextGenerator.pretrained(headless, 3)
    start = g.labels.weight.detach().clone()
    assert g.head_is_new
    fit(g, ids, None, seed=0, epochs=25, lr=5e-3, schedule="linear")
    assert not g.head_is_new
    assert torch.equal(g.labels.weight.detach(), start)
    # two masked words of five; the best that can be guessed without the label: nouns 1 of 4, words 1 of 3, else sure
    assert masked_loss(g, ids, None, seed=0) < 1.4 * (math.log(4) + math.log(3)) / 5


def test_fitting_follows_the_seed_alone(tiny):
    ids, labels = world(tiny, 12)

    def weights(seed):
        g = TextGenerator.pretrained(tiny, 3)
        g.model.bert.embeddings.dropout.p = 0.3
        torch.rand(3)  # whatever was drawn before
        fit(g, ids, labels, seed=seed, epochs=2, lr=1e-3)
        return torch.cat([p.detach().flatten() for p in g.parameters()])

    torch.manual_seed(5)
    untouched = torch.rand(1)
    torch.manual_seed(5)
    first = weights(0)
    torch.manual_seed(5)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    torch.manual_seed(5)
    fit(TextGenerator.pretrained(tiny, 3), ids, labels, seed=0, epochs=1)
    assert torch.equal(torch.rand(1), untouched)


def test_the_weights_that_guess_validation_texts_best_are_kept(tiny):
    ids, labels = world(tiny)
    other = Tokenizer(tiny)(["seven blue music of ten", "green in it to nine"])  # training makes these less likely
    g = TextGenerator.pretrained(tiny, 3)
    history = fit(g, ids, labels, seed=0, epochs=6, lr=3e-3, valid=(other, np.array([0, 1])))
    losses = [e.valid_loss for e in history]
    assert min(losses) < losses[-1]  # else the test shows nothing
    assert masked_loss(g, other, np.array([0, 1]), seed=0) == pytest.approx(min(losses), rel=1e-6)


def test_the_masked_loss_by_hand(tiny):
    tokenizer = Tokenizer(tiny)
    ids = tokenizer(["awful", "fine plot", ""])  # all words are masked
    g = TextGenerator.pretrained(tiny, 2).eval()
    x, positions = torch.from_numpy(ids), torch.tensor([[1, -1], [1, 2], [-1, -1]])
    log_probs = g(x, torch.tensor([0, 1, 0]), positions).log_softmax(-1)
    words = [VOCABULARY.index(w) for w in ("awful", "fine", "plot")]
    expected = -(log_probs[0, 0, words[0]] + log_probs[1, 0, words[1]] + log_probs[1, 1, words[2]]) / 3
    assert masked_loss(g, ids, np.array([0, 1, 0]), seed=3) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_batches_hold_every_text_once_and_like_lengths_where_there_are_many():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, 500)
    ids = (np.arange(40) < lengths[:, None]).astype(np.int64)
    batches = list(batches_of(ids, 0, 4, rng))
    assert sorted(np.concatenate(batches)) == list(range(500))
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert padded < 1.15 * lengths.sum()
    few = list(batches_of(ids[:10], 0, 4, rng))
    assert [len(b) for b in few] == [4, 4, 2] or sorted(map(len, few)) == [2, 4, 4]


def test_the_step_length_rises_and_falls():
    shares = [_linear(step, 100) for step in range(100)]
    assert shares[0] == 0.2
    assert max(shares) == 1.0
    assert shares.index(1.0) == 4
    assert shares[-1] == pytest.approx(1 / 95)
    assert _linear(0, 1) == 1.0


def test_settings_out_of_range(tiny):
    ids, labels = world(tiny, 6)
    g = TextGenerator.pretrained(tiny, 3)
    for wrong in ({"epochs": 0}, {"batch_size": 0}, {"lr": 0.0}, {"label_lr": -1.0}, {"schedule": "cosine"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            fit(g, ids, labels, seed=0, **wrong)
    for texts, given in ((ids[:0], None), (ids, labels[:3])):
        with pytest.raises(ParameterError, match="each with its label"):
            next(epochs_of(g, texts, given, seed=0))


def test_label_embeddings_can_learn_faster_than_the_rest(tiny):
    ids, labels = world(tiny, 24)
    g = TextGenerator.pretrained(tiny, 3)
    start = [g.labels.weight.detach().clone(), g.model.bert.embeddings.word_embeddings.weight.detach().clone()]
    fit(g, ids, labels, seed=0, epochs=2, batch_size=24, lr=1e-6, label_lr=0.1, weight_decay=0.0)
    moved = [
        (now.detach() - was).abs().max()
        for now, was in zip([g.labels.weight, g.model.bert.embeddings.word_embeddings.weight], start, strict=True)
    ]
    assert 0.1 <= moved[0] <= 0.21  # two steps of Adam
    assert moved[1] <= 2.1e-6
