"""Stacked, against a plain PyTorch loop over one module at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from raydm import networks
from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.predictors import SGD, Adam, Stacked, TrainingSets
from raydm.predictors.batches import present_only
from raydm.predictors.forward import stacked_forward
from raydm.seeding import stream

CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)
N, D, R = 30, 16, 3
SHARED, DISTINCT = np.full(R, 4), np.array([4, 9, 2])


def with_norm(d: int, c: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, c, bias=False))


MODULES = {
    "linear": networks.linear,
    "mlp": partial(networks.mlp, hidden=(7, 5)),
    "mlp with norm": partial(networks.mlp, hidden=(7, 5), layer_norm=True),
    "cnn": lambda d, c: networks.small_cnn((4, 4, 1), c, channels=(2, 3)),
    "own": with_norm,
}
OPTIMIZERS = {
    "sgd": (SGD(0.05, momentum=0.0), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (
        SGD(0.05, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
    ),
    "adam": (
        Adam(0.01, eps=1e-5, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=0.01, eps=1e-5, weight_decay=0.1),
    ),
}


def sets_of(task: Task, dtype=torch.float64) -> TrainingSets:
    """Weights 0, 1 and fractions."""
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(N, D))).to(dtype)
    y = torch.from_numpy(rng.integers(3, size=N) if task == CLASSES else 20 + 5 * rng.normal(size=N))
    w = torch.from_numpy(rng.choice([0.0, 1.0, 0.3], size=(R, N))).to(dtype)
    return TrainingSets(x, y if task == CLASSES else y.to(dtype), w, task)


def orders(seed, epochs, batch_size):
    """Passes over all rows."""
    order = stream(int(seed), "order")
    for _ in range(epochs):
        rows = np.arange(N) if batch_size is None else order.permutation(N)
        for start in range(0, N, batch_size or N):
            yield rows[start : start + (batch_size or N)]


def plain(make_module, optimizer, sets, r, seed, batches):
    """Predictions for x of one module, trained as anyone would with torch.optim on batches of rows."""
    torch.manual_seed(int(seed))
    module = make_module(D, sets.task.n_outputs).to(sets.x.dtype)
    steps, w, y, location, scale = optimizer(module.parameters()), sets.w[r], sets.y, 0.0, 1.0
    if sets.task == TARGETS:
        location = np.average(y, weights=w)
        scale = np.average((y - location) ** 2, weights=w) ** 0.5
        y = (y - location) / scale
    for b in batches:
        out = module(sets.x[b])
        if sets.task == CLASSES:
            each = functional.cross_entropy(out, y[b], reduction="none")
        else:
            each = (out[:, 0] - y[b]) ** 2
        steps.zero_grad()
        ((w[b] * each).sum() / w[b].sum()).backward()
        steps.step()
    with torch.no_grad():
        out = module(sets.x)
    return out.softmax(-1) if sets.task == CLASSES else out * scale + location


@pytest.mark.parametrize("seeds", [SHARED, DISTINCT], ids=["shared", "distinct"])
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_stack_is_a_loop_over_plain_trainings(task, module, optimizer, batch_size, seeds):
    ours, theirs = OPTIMIZERS[optimizer]
    sets = sets_of(task)
    stacked = Stacked(MODULES[module], optimizer=ours, epochs=4, batch_size=batch_size, device="cpu")
    p = stacked.fit_predict(sets, sets.x, seed=seeds)
    for r in range(R):
        expected = plain(MODULES[module], theirs, sets, r, seeds[r], orders(seeds[r], 4, batch_size))
        torch.testing.assert_close(p[r], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seeds", [SHARED, DISTINCT], ids=["shared", "distinct"])
@pytest.mark.parametrize("module", ["mlp", "own"])
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_a_stack_trained_on_present_rows_is_a_loop_too(task, module, seeds):
    ours, theirs = OPTIMIZERS["adam"]
    sets = sets_of(task)
    p = Stacked(MODULES[module], optimizer=ours, steps=13, batch_size=8, device="cpu").fit_predict(
        sets, sets.x, seed=seeds
    )
    for r in range(R):
        rows = list(present_only(seeds[r : r + 1], sets.w[r : r + 1], 8, 13))
        assert (sets.w[r, torch.cat(rows, -1)] > 0).all()
        expected = plain(MODULES[module], theirs, sets, r, seeds[r], [b[0] for b in rows])
        torch.testing.assert_close(p[r], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seeds", [SHARED, DISTINCT], ids=["shared", "distinct"])
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_trained_on_present_rows_a_set_is_as_one_that_stands_alone(task, seeds):
    # The first 10, 20 and 30 rows, with the rest of 30 absent or not there at all.
    sets, held = sets_of(task), [10, 20, 30]
    w = torch.stack([torch.arange(N) < n for n in held]).double()
    stacked = Stacked(MODULES["mlp"], optimizer=Adam(0.02), steps=25, batch_size=8, device="cpu")
    p = stacked.fit_predict(TrainingSets(sets.x, sets.y, w, task), sets.x, seed=seeds)
    for r, n in enumerate(held):
        alone = TrainingSets(sets.x[:n], sets.y[:n], torch.ones(1, n).double(), task)
        torch.testing.assert_close(stacked.fit_predict(alone, sets.x, seed=seeds[r : r + 1])[0], p[r])


def test_in_float32_too():
    ours, theirs = OPTIMIZERS["momentum"]
    sets = sets_of(CLASSES, torch.float32)
    p = Stacked(MODULES["mlp"], optimizer=ours, epochs=4, device="cpu").fit_predict(sets, sets.x, seed=DISTINCT)
    assert p.dtype == torch.float32
    for r in range(R):
        expected = plain(MODULES["mlp"], theirs, sets, r, DISTINCT[r], orders(DISTINCT[r], 4, None))
        torch.testing.assert_close(p[r], expected, rtol=1e-5, atol=1e-6)


def test_class_probabilities_as_labels():
    # One-hot probabilities are class indices; half and half is the mean of both losses, as two rows of half weight.
    sets, stacked = sets_of(CLASSES), Stacked(MODULES["mlp"], optimizer=SGD(0.1), epochs=4, device="cpu")
    one_hot = functional.one_hot(sets.y, 3).to(sets.x.dtype)
    p = stacked.fit_predict(sets, sets.x, seed=SHARED)
    q = stacked.fit_predict(TrainingSets(sets.x, one_hot, sets.w, CLASSES), sets.x, seed=SHARED)
    torch.testing.assert_close(q, p)
    other = (sets.y + 1) % 3
    mixed = (one_hot + functional.one_hot(other, 3)) / 2
    both = TrainingSets(sets.x.repeat(2, 1), torch.cat([sets.y, other]), sets.w.repeat(1, 2) / 2, CLASSES)
    p = stacked.fit_predict(both, sets.x, seed=SHARED)
    q = stacked.fit_predict(TrainingSets(sets.x, mixed, sets.w, CLASSES), sets.x, seed=SHARED)
    torch.testing.assert_close(q, p)


def test_seeds_decide_initial_weights():
    sets = sets_of(CLASSES)
    sets.w[:] = 1  # equal sets: whatever differs comes from the seed
    stacked = Stacked(with_norm, optimizer=SGD(0.1), epochs=1, device="cpu")
    shared, distinct = (stacked.fit_predict(sets, sets.x, seed=s) for s in (SHARED, DISTINCT))
    assert torch.equal(shared[0], shared[1])
    assert len({distinct[r].sum(0)[0].item() for r in range(R)}) == R


def test_seeds_decide_the_order_of_batches():
    sets = sets_of(CLASSES)
    sets.w[:] = 1
    # A linear layer from zero: the order is all that a seed decides.
    stacked = Stacked(networks.linear, optimizer=SGD(0.1), epochs=1, batch_size=8, device="cpu")
    p = stacked.fit_predict(sets, sets.x, seed=DISTINCT)
    assert len({p[r].square().sum().item() for r in range(R)}) == R
    whole = Stacked(networks.linear, optimizer=SGD(0.1), epochs=1, device="cpu").fit_predict(
        sets, sets.x, seed=DISTINCT
    )
    assert torch.equal(whole[0], whole[1])


def test_global_random_state_is_neither_used_nor_changed():
    sets, stacked = sets_of(CLASSES), Stacked(with_norm, optimizer=SGD(0.1), epochs=1, device="cpu")
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = stacked.fit_predict(sets, sets.x, seed=DISTINCT)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(stacked.fit_predict(sets, sets.x, seed=DISTINCT), first)


@pytest.mark.parametrize("module", ["mlp", "cnn"])
@pytest.mark.parametrize("seeds", [SHARED, DISTINCT], ids=["shared", "distinct"])
def test_chunks_that_fit_the_memory_give_the_same(module, seeds):
    sets = sets_of(CLASSES)
    fitted = {
        memory: Stacked(MODULES[module], optimizer=SGD(0.1), epochs=3, batch_size=8, device="cpu", memory=memory).fit(
            sets, seed=seeds
        )
        for memory in (1, 2**30)
    }
    assert fitted[1].chunk == 1
    assert fitted[2**30].chunk >= R
    torch.testing.assert_close(fitted[1].predict(sets.x), fitted[2**30].predict(sets.x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.0), SGD(0.1), Adam(0.02)], ids=["sgd", "momentum", "adam"])
@pytest.mark.parametrize("module", ["linear", "mlp", "own"])
def test_meta_gradient_in_the_weights_is_that_of_finite_differences(optimizer, module):
    # dL_val / dw through all inner steps: what weighting examples (Hu et al. 2019, Ren et al. 2018) descends.
    rng = np.random.default_rng(2)
    x, x_valid = torch.from_numpy(rng.normal(size=(6, D))), torch.from_numpy(rng.normal(size=(5, D)))
    y, y_valid = torch.from_numpy(rng.integers(3, size=6)), torch.from_numpy(rng.integers(3, size=5))
    w = torch.from_numpy(rng.uniform(0.5, 1.5, size=(2, 6)))
    stacked = Stacked(MODULES[module], optimizer=optimizer, epochs=5, device="cpu")

    def losses(weights):
        p = stacked.fit_predict(TrainingSets(x, y, weights, CLASSES), x_valid, seed=DISTINCT[:2])
        return -p[:, torch.arange(5), y_valid].log().mean(-1)

    weights = w.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses(weights).sum(), weights)
    numeric, step = torch.zeros_like(w), 1e-5
    for i in range(6):
        shift = torch.zeros_like(w)
        shift[:, i] = step
        numeric[:, i] = (losses(w + shift) - losses(w - shift)) / (2 * step)
    assert (gradient - numeric).norm() <= 1e-6 * numeric.norm()


def test_without_a_gradient_asked_for_no_graph_is_kept():
    sets = sets_of(CLASSES)
    p = Stacked(MODULES["mlp"], optimizer=SGD(0.1), epochs=2, device="cpu").fit_predict(sets, sets.x, seed=SHARED)
    assert not p.requires_grad


def test_weight_is_relative_within_a_set():
    # The loss is the weighted mean: 5 w trains as w does.
    sets, stacked = sets_of(TARGETS), Stacked(MODULES["mlp"], optimizer=SGD(0.05), epochs=4, device="cpu")
    scaled = TrainingSets(sets.x, sets.y, 5 * sets.w, TARGETS)
    p, q = (stacked.fit_predict(s, sets.x, seed=SHARED) for s in (sets, scaled))
    torch.testing.assert_close(q, p)


def test_targets_of_any_unit_train_alike():
    # In y' = 1000 y - 7, predictions are 1000 p - 7.
    sets, stacked = sets_of(TARGETS), Stacked(MODULES["mlp"], optimizer=Adam(0.01), epochs=4, device="cpu")
    other = TrainingSets(sets.x, 1000 * sets.y - 7, sets.w, TARGETS)
    p, q = (stacked.fit_predict(s, sets.x, seed=SHARED) for s in (sets, other))
    torch.testing.assert_close(q, 1000 * p - 7, rtol=1e-6, atol=1e-3)


def test_an_empty_set_predicts_the_mean_target_or_equal_probabilities():
    for task in (CLASSES, TARGETS):
        sets = sets_of(task)
        sets.w[:] = 0
        p = Stacked(MODULES["mlp"], optimizer=Adam(0.1), epochs=3, device="cpu").fit_predict(sets, sets.x, seed=SHARED)
        expected = torch.tensor(1 / 3) if task == CLASSES else sets.y.mean()
        torch.testing.assert_close(p, expected.double().expand_as(p))


@pytest.mark.parametrize(
    ("layer", "remedy"),
    [(nn.BatchNorm1d(4), "LayerNorm"), (nn.Dropout(0.5), "p=0"), (nn.Sequential(nn.Dropout(0.1)), "p=0")],
    ids=["batchnorm", "dropout", "nested"],
)
def test_layers_that_a_stack_cannot_train_are_refused(layer, remedy):
    stacked = Stacked(lambda d, c: nn.Sequential(nn.Linear(d, 4), layer, nn.Linear(4, c)), optimizer=SGD(0.1), epochs=1)
    with pytest.raises(
        ParameterError, match=f"Stacked cannot train {'BatchNorm' if remedy[0] == 'L' else 'Dropout'}.*"
    ):
        stacked.fit(sets_of(CLASSES), seed=SHARED)


def test_dropout_that_drops_nothing_is_no_obstacle():
    sets = sets_of(CLASSES)
    make = lambda d, c: nn.Sequential(nn.Dropout(0.0), networks.linear(d, c))
    p, q = (
        Stacked(m, optimizer=SGD(0.1), epochs=2).fit_predict(sets, sets.x, seed=SHARED) for m in (make, networks.linear)
    )
    torch.testing.assert_close(p, q)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, r"'epochs' parameter of Stacked must be an integer >= 1. Got 0"),
        ({"epochs": 1, "batch_size": 0}, r"'batch_size' parameter of Stacked must be None or an integer >= 1. Got 0"),
        ({"steps": 0, "batch_size": 4}, r"'steps' parameter of Stacked must be an integer >= 1. Got 0"),
        ({}, "either epochs or steps. Got epochs=None, steps=None"),
        ({"epochs": 1, "steps": 2, "batch_size": 4}, "either epochs or steps. Got epochs=1, steps=2"),
        ({"steps": 2}, "needs a batch_size beside steps. Got None"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        Stacked(networks.linear, optimizer=SGD(0.1), **arguments)


def test_saved_predictors_of_another_architecture_are_refused(tmp_path):
    sets = sets_of(CLASSES)
    Stacked(networks.linear, optimizer=SGD(0.1), epochs=1).fit(sets, seed=SHARED).save(tmp_path)
    with pytest.raises(RunError, match="another architecture"):
        Stacked(MODULES["mlp"], optimizer=SGD(0.1), epochs=1).load(tmp_path, CLASSES, D)
    with pytest.raises(RunError, match="another architecture"):
        Stacked(networks.linear, optimizer=SGD(0.1), epochs=1).load(tmp_path, CLASSES, D + 1)


def test_missing_and_torn_files_are_run_errors(tmp_path):
    stacked = Stacked(networks.linear, optimizer=SGD(0.1), epochs=1, device="cpu")
    with pytest.raises(RunError, match=r"predictor\.safetensors: cannot be read"):
        stacked.load(tmp_path, CLASSES, D)
    stacked.fit(sets_of(CLASSES), seed=SHARED).save(tmp_path)
    file = tmp_path / "predictor.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"predictor\.safetensors: cannot be read"):
        stacked.load(tmp_path, CLASSES, D)


@pytest.mark.parametrize("shared", [True, False])
def test_a_module_that_reuses_a_layer_is_computed_as_torch_does(shared):
    torch.manual_seed(0)
    activation, inner = nn.ReLU(), nn.Linear(6, 6)
    modules = [
        nn.Sequential(nn.Linear(4, 6), activation, nn.Linear(6, 6), activation, nn.Linear(6, 3)),
        nn.Sequential(nn.Linear(4, 6), nn.ReLU(), inner, nn.ReLU(), inner, nn.Linear(6, 3)),
    ]
    x = torch.randn(5, 4) if shared else torch.randn(2, 5, 4)
    for module in modules:
        params = {k: torch.stack([p, p]) for k, p in module.named_parameters()}
        got = stacked_forward(module)(params, x)
        expected = module(x).expand(2, 5, 3).transpose(1, 2)
        torch.testing.assert_close(got, expected)


def test_frozen_parameters_and_buffers_are_refused():
    frozen = nn.Linear(4, 3)
    frozen.weight.requires_grad_(False)
    with_buffer = nn.Linear(4, 3)
    with_buffer.register_buffer("shift", torch.zeros(3))
    x, y = torch.randn(8, 4), torch.arange(8) % 3
    sets = TrainingSets(x, y, torch.ones(1, 8), Task("classification", 3))
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    tied[1].weight = tied[0].weight
    for module, message in (
        (frozen, "'weight' is frozen"),
        (with_buffer, "buffer 'shift'"),
        (tied, "two layers share"),
    ):
        with pytest.raises(ParameterError, match=message):
            Stacked(lambda d, c, m=module: m, optimizer=SGD(0.1), epochs=1).fit(sets, seed=np.array([0]))


def test_rows_predicted_in_parts_are_the_same():
    x, y = torch.randn(50, 4), torch.arange(50) % 3
    sets = TrainingSets(x, y, torch.ones(2, 50), Task("classification", 3))
    fitted = Stacked(nn.Linear, optimizer=SGD(0.1), epochs=2, device="cpu").fit(sets, seed=np.array([0, 1]))
    torch.testing.assert_close(replace(fitted, rows=7).predict(x), fitted.predict(x))
