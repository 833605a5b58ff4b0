"""The generator: what it reads, what it draws, and that the draw is differentiable in phi."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from text_kit import SPECIAL, VOCABULARY
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from raydm.errors import DataError, ParameterError, RunError
from raydm.text import MakeTextClassifier, SoftTokens, TextGenerator, Tokenizer, gumbel, hub, mask_positions
from raydm.text.generator import NEVER
from raydm.text.masking import gathered

TEXTS = ["the film was great !", "a dull plot", "superb actor and a fine story .", "awful"]
LABELS = torch.tensor([1, 0, 1, 0])


def rng(seed=0):
    return np.random.default_rng(seed)


def generator(folder, dtype=torch.float64, n_labels=2):
    return TextGenerator.pretrained(folder, n_labels).to(dtype).eval()


@pytest.fixture
def ids(tiny):
    return torch.from_numpy(Tokenizer(tiny)(TEXTS))


# Masking


@pytest.mark.parametrize(("words", "expected"), [(0, 0), (1, 1), (2, 2), (3, 2), (18, 2), (19, 3), (26, 4), (61, 9)])
def test_how_many_tokens_are_masked(words, expected):
    # n counts [CLS] and [SEP]: 2 up to n = 20, 3 from 21 on
    ids = torch.tensor([[2, *[10] * words, 3, *[0] * (70 - words)]])
    positions = mask_positions(ids, range(5), 0, rng())
    assert positions.shape == (1, expected)
    assert set(positions[0].tolist()) <= set(range(1, words + 1))
    assert len(set(positions[0].tolist())) == expected


def test_special_tokens_are_never_masked_and_short_texts_are_padded_with_minus_one():
    ids = torch.tensor([[2, 10, 1, 11, 4, 12, 3, 0], [2, 13, 3, 0, 0, 0, 0, 0], [2, 3, 0, 0, 0, 0, 0, 0]])
    seen = set()
    for seed in range(50):
        positions = mask_positions(ids, range(5), 0, rng(seed))
        assert positions.shape == (3, 2)
        assert positions.dtype == torch.int64
        assert positions[1:].tolist() == [[-1, 1], [-1, -1]] or positions[1:].tolist() == [[1, -1], [-1, -1]]
        assert positions[0, 0] < positions[0, 1]
        seen.add(tuple(positions[0].tolist()))
    assert seen == {(1, 3), (1, 5), (3, 5)}  # every pair of words


def test_masks_follow_the_rng_alone(ids):
    assert torch.equal(mask_positions(ids, range(5), 0, rng(3)), mask_positions(ids, range(5), 0, rng(3)))
    many = ids[[2] * 20]
    assert not torch.equal(mask_positions(many, range(5), 0, rng(3)), mask_positions(many, range(5), 0, rng(4)))


# Logits


def test_logits_are_the_model_s_at_the_masked_positions(tiny, ids):
    g = generator(tiny)
    positions = torch.tensor([[1, 4], [2, -1], [3, 5], [1, -1]])
    masked = ids.clone()
    for row, at in enumerate(positions):
        masked[row, at[at >= 0]] = VOCABULARY.index("[MASK]")
    full = g.model(input_ids=masked, attention_mask=(ids != 0).long()).logits
    logits = g(ids, None, positions)
    there = positions >= 0
    torch.testing.assert_close(logits[there][:, 5:], gathered(full, positions)[there][:, 5:])
    assert (logits[..., :5] == NEVER).all()


def test_a_label_is_a_token_type_of_its_own(tiny, ids):
    # With label embeddings set to token types minus the first: the model's own logits with these types everywhere
    g, positions = generator(tiny), torch.tensor([[2], [1], [4], [1]])
    types = g.model.bert.embeddings.token_type_embeddings.weight
    g.labels.weight.data = (types - types[0]).detach()
    masked = ids.scatter(1, positions, g.mask_id)
    own = g.model(masked, attention_mask=(ids != 0).long(), token_type_ids=LABELS[:, None].expand(ids.shape)).logits
    torch.testing.assert_close(g(ids, LABELS, positions)[..., 5:], gathered(own, positions)[..., 5:])


def architectures():
    from transformers import AlbertConfig, DistilBertConfig, ElectraConfig, ModernBertConfig, RobertaConfig

    common = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    modern = {"cls_token_id": 2, "sep_token_id": 3, "global_attn_every_n_layers": 1}
    return {
        "distilbert": DistilBertConfig(**common, dim=16, n_layers=1, n_heads=2, hidden_dim=16),
        "roberta": RobertaConfig(**common, **size),
        "albert": AlbertConfig(**common, **size, embedding_size=8),
        "electra": ElectraConfig(**common, **size, embedding_size=8),
        "modernbert": ModernBertConfig(**common, **size, **modern),
    }


@pytest.mark.parametrize("name", ["distilbert", "roberta", "albert", "electra", "modernbert"])
def test_other_architectures(name, tiny, ids, tmp_path):
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(architectures()[name]).save_pretrained(str(tmp_path))
    g = TextGenerator.pretrained(tmp_path, 2, tokenizer=Tokenizer(tiny)).double().eval()
    assert not g.head_is_new
    positions = torch.tensor([[1, 4], [2, 3], [3, 5], [1, -1]])
    soft = g.draw(ids, LABELS, rng=rng(), positions=positions)
    masked = ids.scatter(1, positions[:, :1], g.mask_id).scatter(1, positions[:, 1:].clamp_min(1), g.mask_id)
    full = g.model(inputs_embeds=g.model.get_input_embeddings()(masked), attention_mask=(ids != 0).long()).logits
    there = positions >= 0
    torch.testing.assert_close(g(ids, None, positions)[there][:, 5:], gathered(full, positions)[there][:, 5:])
    classifier = MakeTextClassifier(str(tmp_path), dropout=0.0)(0, 2).double().eval()
    torch.nn.init.normal_(classifier.head.weight)
    (slope,) = torch.autograd.grad(classifier(soft).square().sum(), g.labels.weight, create_graph=True)
    assert slope.abs().sum() > 0
    drawn = SoftTokens(ids, positions, torch.nn.functional.one_hot(soft.probs.argmax(-1), 50).double())
    assert torch.equal(classifier(drawn), classifier(soft.hard()))


# Draws


def test_the_same_rng_gives_the_same_draw_whatever_phi_is(tiny, ids):
    g = generator(tiny)
    first, again, other = (g.draw(ids, LABELS, rng=rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.probs, again.probs)
    assert torch.equal(first.positions, again.positions)
    assert not torch.equal(first.probs, other.probs)
    state = rng(1)
    assert torch.equal(mask_positions(ids, g.special_ids, g.pad_id, state), first.positions)
    noise = gumbel(tuple(first.probs.shape), state)
    g.labels.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    moved = g.draw(ids, LABELS, rng=rng(1))
    expected = (g(ids, LABELS, first.positions) + noise).softmax(-1)
    torch.testing.assert_close(moved.probs, expected)
    assert not torch.allclose(moved.probs, first.probs)


def test_hard_tokens_are_plain_draws_from_the_model(tiny, ids):
    g = generator(tiny)
    one, position = ids[:1], torch.tensor([[4]])
    expected = g(one, LABELS[:1], position)[0, 0].softmax(-1)
    n = 20_000
    for temperature in (1.0, 0.3):
        soft = g.draw(
            one.expand(n, -1),
            LABELS[:1].expand(n),
            rng=rng(),
            positions=position.expand(n, -1),
            temperature=temperature,
        )
        shares = torch.bincount(soft.hard()[:, 4], minlength=50) / n
        assert (shares - expected).abs().max() < 4 * (0.25 / n) ** 0.5
        torch.testing.assert_close(soft.probs.sum(-1), torch.ones(n, 1, dtype=torch.float64))
    assert expected.max() < 0.9  # else the draws would show nothing


def test_draws_hold_no_special_tokens_and_change_the_positions_alone(tiny, ids):
    g = generator(tiny)
    for seed in range(30):
        soft = g.draw(ids, LABELS, rng=rng(seed))
        hard = soft.hard()
        changed = torch.zeros_like(ids, dtype=torch.bool)
        for row, at in enumerate(soft.positions):
            changed[row, at[at >= 0]] = True
        assert torch.equal(hard[~changed], ids[~changed])
        assert (hard[changed] >= len(SPECIAL)).all()
        assert soft.probs[..., : len(SPECIAL)].abs().max() == 0


def test_top_k(tiny, ids):
    g = generator(tiny)
    positions = torch.tensor([[1], [1], [1], [1]])
    likeliest = g(ids, LABELS, positions).topk(3, dim=-1).indices
    drawn = [g.draw(ids, LABELS, rng=rng(s), positions=positions, top_k=3).hard()[:, 1] for s in range(40)]
    for row in range(4):
        assert {int(d[row]) for d in drawn} <= set(likeliest[row, 0].tolist())
    greedy = g.draw(ids, LABELS, rng=rng(5), positions=positions, top_k=1).hard()[:, 1]
    assert torch.equal(greedy, likeliest[:, 0, 0])
    for wrong in ({"top_k": 0}, {"temperature": 0.0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            g.draw(ids, LABELS, rng=rng(), **wrong)


def test_texts_without_words_come_back(tiny, ids):
    nothing = torch.from_numpy(Tokenizer(tiny)(["", ""]))
    soft = generator(tiny).draw(nothing, None, rng=rng())
    assert torch.equal(soft.hard(), nothing)
    assert soft.probs.shape == (2, 0, 50)


# Through the classifier


def test_the_gradient_of_phi_through_one_step_of_the_classifier(tiny, ids):
    # u(phi) = - dev loss at theta - lr grad_theta loss(rewritten texts): Hu et al. (2019), Algorithm 1
    g = generator(tiny)
    classifier = MakeTextClassifier(str(tiny), dropout=0.0)(0, 2).double().eval()
    torch.manual_seed(1)
    torch.nn.init.normal_(classifier.head.weight)
    theta = {k: p.detach().requires_grad_() for k, p in classifier.named_parameters()}
    dev, dev_labels = ids.flip(0), torch.tensor([1, 1, 0, 0])

    def utility(phi):
        positions = torch.tensor([[1, 4], [2, -1], [3, 5], [1, -1]])
        logits = functional_call(g, phi, (ids, LABELS, positions))
        noise = gumbel(tuple(logits.shape), rng(7)).double()
        soft = SoftTokens(ids, positions, (logits + noise).softmax(-1))
        loss = cross_entropy(functional_call(classifier, theta, (soft,)), LABELS)
        gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        stepped = {k: p - 0.1 * d for (k, p), d in zip(theta.items(), gradients, strict=True)}
        return -cross_entropy(functional_call(classifier, stepped, (dev,)), dev_labels)

    phi = {k: p.detach().requires_grad_() for k, p in g.named_parameters()}
    slopes = torch.autograd.grad(utility(phi), list(phi.values()))
    assert all(s.abs().sum() > 0 for s in slopes)  # the label embeddings' and every layer's
    for seed in range(2):
        torch.manual_seed(seed)
        move = [torch.randn_like(p) for p in phi.values()]
        h = 1e-4

        def moved(k, move=move, h=h):
            there = {n: (p + k * h * m).detach() for (n, p), m in zip(phi.items(), move, strict=True)}
            return utility(there).detach()

        expected = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h)
        got = sum((s * m).sum() for s, m in zip(slopes, move, strict=True))
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


# Heads and files


def test_an_encoder_without_a_head_gets_a_tied_one(headless, ids):
    g = generator(headless, dtype=torch.float32)
    assert g.head_is_new
    assert g.model.get_output_embeddings().weight is g.model.get_input_embeddings().weight
    alike, other = hub.load_masked_lm(headless)[0], hub.load_masked_lm(headless, seed=1)[0]
    for one, (name, two) in zip(g.model.parameters(), alike.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    head = "cls.predictions.transform.dense.weight"
    assert not torch.equal(alike.get_parameter(head), other.get_parameter(head))


def test_save_and_load_without_pickles(tiny, ids, tmp_path):
    g = generator(tiny, dtype=torch.float32, n_labels=3)
    g.labels.weight.data.normal_()
    g.save(tmp_path)
    Tokenizer(tiny).save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".txt", ".jinja"}
    loaded, positions = TextGenerator.load(tmp_path).eval(), torch.tensor([[1], [1], [1], [1]])
    assert not loaded.head_is_new
    assert torch.equal(loaded(ids, LABELS, positions), g(ids, LABELS, positions))
    # the folder is a model of its own: its encoder for a classifier, its language model for another generator
    assert TextGenerator.pretrained(tmp_path, 2).n_labels == 2
    assert MakeTextClassifier(str(tmp_path))(0, 2)(ids).shape == (4, 2)
    (tmp_path / "labels.safetensors").unlink()
    with pytest.raises(RunError, match="no text generator"):
        TextGenerator.load(tmp_path)


def test_a_vocabulary_that_is_not_the_model_s(tiny):
    model, _ = hub.load_masked_lm(tiny)
    with pytest.raises(ParameterError, match="embeds 50 tokens"):
        TextGenerator(model, 2, mask_id=50, special_ids=(0,))
    with pytest.raises(DataError):
        TextGenerator.pretrained("/no/such/folder", 2)
