"""The classifier: exact on hard and soft texts alike, and differentiable in every way that a joint scheme needs."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from torch.func import functional_call, jvp
from torch.nn.functional import cross_entropy, one_hot

from raydm.errors import DataError, ParameterError, RunError
from raydm.text import MakeTextClassifier, SoftTokens, TextClassifier, Tokenizer
from raydm.text import frozen as frozen_layers

TEXTS = ["the film was great !", "a dull plot", "superb actor and a fine story .", "awful"]
LABELS = torch.tensor([1, 0, 1, 0])


def classifier(tiny, *, pooling="mean", dropout=0.0, dtype=torch.float64, zero=False):
    module = MakeTextClassifier(str(tiny), pooling, dropout)(99, 2).to(dtype).eval()
    if not zero:
        torch.manual_seed(1)
        torch.nn.init.normal_(module.head.weight)
    return module


def ids_of(tiny):
    return torch.from_numpy(Tokenizer(tiny)(TEXTS))


def soft_of(ids, *, seed=0, dtype=torch.float64):
    positions = torch.tensor([[1, 4], [2, -1], [3, 5], [1, -1]])
    torch.manual_seed(seed)
    return SoftTokens(ids, positions, (2 * torch.randn(4, 2, 50, dtype=dtype)).softmax(-1))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_one_hot_soft_tokens_give_the_hard_ones_logits_exactly(tiny, pooling):
    module, ids = classifier(tiny, pooling=pooling, dtype=torch.float32), ids_of(tiny)
    soft = soft_of(ids, dtype=torch.float32)
    hard = SoftTokens(ids, soft.positions, one_hot(soft.probs.argmax(-1), 50).float())
    assert torch.equal(module(hard), module(soft.hard()))
    assert not torch.equal(module(hard), module(ids))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_nothing(tiny, pooling):
    module, ids = classifier(tiny, pooling=pooling), ids_of(tiny)
    longer = torch.nn.functional.pad(ids, (0, 9))
    torch.testing.assert_close(module(longer), module(ids), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(module(ids[3:, :3]), module(ids)[3:], rtol=1e-12, atol=1e-12)


def test_padding_of_all_rows_takes_no_time(tiny):
    module, ids = classifier(tiny), ids_of(tiny)
    seen = []
    module.encoder.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["inputs_embeds"].shape[1]), with_kwargs=True
    )
    module(torch.nn.functional.pad(ids, (0, 9)))
    holes = ids.clone()
    holes[:, 2] = module.pad_id  # in the middle it stays where it is
    module(holes)
    assert seen == [int((ids != module.pad_id).sum(1).max()), ids.shape[1]]


def test_frozen_layers_stay_as_they_were(tiny, tmp_path):
    module, ids = MakeTextClassifier(str(tiny), frozen=1)(99, 2), ids_of(tiny)
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    last = {f"encoder.encoder.layer.1.{name}" for name, _ in module.encoder.encoder.layer[1].named_parameters()}
    assert trained == last | {"head.weight", "head.bias"}
    torch.nn.init.normal_(module.head.weight)
    cross_entropy(module(ids), LABELS).backward()
    assert {name for name, p in module.named_parameters() if p.grad is not None} == trained
    module.save(tmp_path)
    again = TextClassifier.load(tmp_path)
    assert {name for name, p in again.named_parameters() if p.requires_grad} == trained
    assert torch.equal(again.eval()(ids), module.eval()(ids))
    heads = MakeTextClassifier(str(tiny), frozen=2)(99, 2)
    assert [name for name, p in heads.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    for frozen, message in ((3, "at most 2"), (-1, "'frozen'")):
        with pytest.raises(ParameterError, match=message):
            MakeTextClassifier(str(tiny), frozen=frozen)(99, 2)


def test_what_frozen_layers_make_of_a_text_is_computed_once(tiny):
    module, ids = MakeTextClassifier(str(tiny), frozen=1)(99, 2).double(), ids_of(tiny)
    torch.nn.init.normal_(module.head.weight)
    module.eval()
    called = []
    handle = module.encoder.encoder.layer[0].attention.register_forward_hook(lambda *_: called.append(1))
    with torch.no_grad():
        direct = module(ids)  # as users predict: all texts at once
    assert len(called) == 1
    remembered = module(ids)  # as a step sees them: each text alone
    assert len(called) == 1 + len(ids)
    torch.testing.assert_close(remembered, direct, rtol=1e-12, atol=1e-12)
    again = module(ids[[2, 0]])
    torch.testing.assert_close(again, direct[[2, 0]], rtol=1e-12, atol=1e-12)
    wide = torch.nn.functional.pad(ids[:1], (0, 5))
    assert torch.equal(module(wide), module(ids[:1]))
    assert len(called) == 1 + len(ids)
    empty = torch.cat([ids[:1], torch.full_like(ids[:1], module.pad_id)])
    assert module(empty)[0].isfinite().all()
    assert len(called) == 2 + len(ids)  # a text of padding alone is not remembered: all pass through all layers
    handle.remove()
    grads = torch.autograd.grad(cross_entropy(module(ids), LABELS), [module.head.weight])
    module._frozen = None
    expected = torch.autograd.grad(cross_entropy(module(ids), LABELS), [module.head.weight])
    torch.testing.assert_close(grads, expected, rtol=1e-12, atol=1e-12)


def test_frozen_layers_have_no_dropout_and_what_is_trained_has(tiny):
    module, ids = MakeTextClassifier(str(tiny), frozen=1)(99, 2), ids_of(tiny)
    torch.nn.init.normal_(module.head.weight)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5
    module.train()
    assert not any(part.training for part in module.encoder.encoder.layer[0].modules())
    assert module.encoder.encoder.layer[1].training
    torch.manual_seed(0)
    first, second = module(ids), module(ids)  # the first fills what is remembered, and draws no more for that
    torch.manual_seed(0)
    assert torch.equal(module(ids), first)
    assert not torch.equal(first, second)


def test_what_was_remembered_goes_where_the_module_goes(tiny, monkeypatch):
    module, ids = MakeTextClassifier(str(tiny), frozen=2)(99, 2), ids_of(tiny)
    module(ids)
    assert module.double()(ids).dtype == torch.float64
    copy = pickle.loads(pickle.dumps(module))
    assert not copy._frozen._known
    assert torch.equal(copy.eval()(ids), module.eval()(ids))
    monkeypatch.setattr(frozen_layers, "MOST", 1)  # one text fits
    few = MakeTextClassifier(str(tiny), frozen=2)(99, 2)
    torch.testing.assert_close(few(ids), module(ids).float())
    assert len(few._frozen._known) == 1


def test_an_encoder_whose_rest_cannot_go_on_runs_all_its_layers(tiny, monkeypatch):
    module, ids = MakeTextClassifier(str(tiny), frozen=1)(99, 2), ids_of(tiny)
    torch.nn.init.normal_(module.head.weight)
    module.eval()
    with torch.no_grad():
        expected = module(ids)
    monkeypatch.setattr(frozen_layers.FrozenLayers, "_resumed", lambda self, states, tokens, present: states)
    assert torch.equal(module(ids), expected)
    assert not module._frozen._known


def test_pooling_by_its_definition(tiny):
    mean, cls, ids = classifier(tiny), classifier(tiny, pooling="cls"), ids_of(tiny)[1:2, :5]  # without padding
    states = mean.encoder(input_ids=ids).last_hidden_state
    torch.testing.assert_close(mean(ids), mean.head(states.mean(1)))
    torch.testing.assert_close(cls(ids), cls.head(states[:, 0]))


def test_the_readout_starts_at_zero_and_no_parameter_is_idle(tiny):
    module, ids = classifier(tiny, zero=True), ids_of(tiny)
    assert torch.equal(module(ids), torch.zeros(4, 2, dtype=torch.float64))
    module = classifier(tiny)
    cross_entropy(module(ids), LABELS).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def per_example(module, x):
    def losses(params):
        return cross_entropy(functional_call(module, params, (x,)), LABELS, reduction="none")

    return losses


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_forward_mode_agrees_with_finite_differences(tiny, pooling, soft):
    module, ids = classifier(tiny, pooling=pooling), ids_of(tiny)
    losses = per_example(module, soft_of(ids) if soft else ids)
    params = {name: p.detach() for name, p in module.named_parameters()}
    torch.manual_seed(2)
    direction = {name: torch.randn_like(p) for name, p in params.items()}
    _, slopes = jvp(losses, (params,), (direction,))

    def moved(step):
        return losses({name: p + step * direction[name] for name, p in params.items()})

    h = 1e-4
    expected = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    torch.testing.assert_close(slopes, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_double_backward_to_the_shares_agrees_with_finite_differences(tiny, pooling):
    # d/dprobs of <s, grad_theta loss(probs)>: what tunes a generator through one step of the classifier
    module, soft = classifier(tiny, pooling=pooling), soft_of(ids_of(tiny))
    params = {name: p.detach().requires_grad_() for name, p in module.named_parameters()}
    torch.manual_seed(3)
    direction = {name: torch.randn_like(p) for name, p in params.items()}

    def slope(probs):
        loss = per_example(module, soft.with_leaves([probs]))(params).mean()
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        return sum((g * d).sum() for g, d in zip(gradients, direction.values(), strict=True))

    probs = soft.probs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(slope(probs), probs)
    assert gradient[1, 1].abs().sum() == gradient[3, 1].abs().sum() == 0  # positions of -1
    for _ in range(3):
        move = torch.randn_like(probs)
        h = 1e-4
        plus, minus, plus2, minus2 = (slope(soft.probs + k * h * move).detach() for k in (1, -1, 2, -2))
        expected = (8 * (plus - minus) - (plus2 - minus2)) / (12 * h)
        torch.testing.assert_close((gradient * move).sum(), expected, rtol=1e-6, atol=1e-8)


def test_forward_mode_sees_the_same_dropout_as_a_plain_pass(tiny):
    module, ids = classifier(tiny, dropout=0.5).train(), ids_of(tiny)
    params = {name: p.detach() for name, p in module.named_parameters()}
    torch.manual_seed(4)
    plain = per_example(module, ids)(params)
    torch.manual_seed(4)
    dual, _ = jvp(per_example(module, ids), (params,), (params,))
    assert torch.equal(plain, dual)


def test_save_and_load_without_pickles(tiny, tmp_path):
    module, ids = classifier(tiny, pooling="cls", dropout=0.2, dtype=torch.float32), ids_of(tiny)
    module.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    loaded = TextClassifier.load(tmp_path).eval()
    assert torch.equal(loaded(ids), module(ids))
    assert loaded.dropout.p == 0.2
    (tmp_path / "head.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="no text classifier"):
        TextClassifier.load(tmp_path)
    with pytest.raises(RunError, match="no text classifier"):
        TextClassifier.load(tmp_path / "nowhere")


def test_the_factory_can_be_pickled(tiny, headless):
    make = pickle.loads(pickle.dumps(MakeTextClassifier(str(headless), "cls", 0.3)))
    assert make == MakeTextClassifier(str(headless), "cls", 0.3)
    assert make(64, 5)(ids_of(tiny)).shape == (4, 5)


def test_arguments_out_of_range(tiny, tmp_path):
    for wrong in ({"pooling": "max"}, {"dropout": 1.0}, {"dropout": "some"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            MakeTextClassifier(str(tiny), **wrong)
    encoder = MakeTextClassifier(str(tiny))(0, 2).encoder
    encoder.config.pad_token_id = None
    with pytest.raises(ParameterError, match="pad_token_id"):
        TextClassifier(encoder, 2)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(DataError, match="gave no encoder"):
        MakeTextClassifier(str(tmp_path))(0, 2)
