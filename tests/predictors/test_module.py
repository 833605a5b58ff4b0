"""Module: the contract, and what large modules bring: BatchNorm, dropout, warm starts, memory."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.networks import linear, mlp
from raydm.predictors import SGD, Adam, AdamW, Predictor, Stacked, TrainingSets, memory
from raydm.predictors.memory import Memory, check_fits, estimate
from raydm.predictors.module import Module
from raydm.testing import PredictorContract

CLASSES, TARGET, TARGETS = Task("classification", 3), Task("regression", 1), Task("regression", 2)
SEEDS = np.array([4, 5])


def small(d: int, c: int) -> nn.Module:
    return mlp(d, c, (8,))


def norm(d: int, c: int) -> nn.Module:
    readout = linear(8, c)
    return nn.Sequential(nn.Linear(d, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), readout)


class TestModule(PredictorContract):
    """All rows a step."""

    def make(self, task: Task) -> Predictor:
        return Module(small, optimizer=Adam(0.02), batch_size=100, epochs=30, device="cpu")


class TestModuleWithBatchNormAndDropout(PredictorContract):
    """Batches of present rows: a step is then not blind to how many rows there are, as weight 2 would need."""

    def make(self, task: Task) -> Predictor:
        return Module(norm, optimizer=AdamW(0.02), batch_size=10, epochs=15, device="cpu")

    test_weight_two_is_an_example_that_is_there_twice = None
    test_a_set_of_one_class_predicts_that_class = None  # one example has no variance over the batch


class TestModuleOfSteps(PredictorContract):
    tasks: ClassVar = [CLASSES, TARGET]

    def make(self, task: Task) -> Predictor:
        return Module(small, optimizer=SGD(0.1), batch_size=16, steps=60, device="cpu")

    test_weight_two_is_an_example_that_is_there_twice = None


def sets(task: Task = CLASSES, n: int = 30, r: int = 2) -> TrainingSets:
    rng = np.random.default_rng(0)
    x, w = (torch.from_numpy(a).float() for a in (rng.normal(size=(n, 5)), rng.uniform(0.5, 2, (r, n))))
    y = torch.from_numpy(rng.integers(3, size=n)) if task == CLASSES else torch.from_numpy(rng.normal(size=n)).float()
    return TrainingSets(x, y, w, task)


def test_training_is_that_of_plain_pytorch():
    given = sets()
    given = TrainingSets(given.x.double(), given.y, given.w.double(), CLASSES)  # Adam magnifies rounding
    make = lambda d, c: nn.Sequential(*[m for m in norm(d, c) if not isinstance(m, nn.Dropout)])
    predictor = Module(make, optimizer=AdamW(0.01, weight_decay=0.1), batch_size=30, epochs=5, device="cpu")
    fitted = predictor.fit(given, seed=SEEDS)
    of, params, buffers = predictor.opened(CLASSES, 5, 4, torch.float64)
    module = make(5, 3).double()
    module.load_state_dict(dict(zip(of.names, params, strict=True)) | buffers)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        each = functional.cross_entropy(module(given.x), given.y, reduction="none")
        optimizer.zero_grad()
        ((given.w[0] * each).sum() / given.w[0].sum()).backward()
        optimizer.step()
    expected = module.eval()(given.x).softmax(-1)
    torch.testing.assert_close(fitted.predict(given.x)[0], expected)


def test_running_statistics_are_saved_with_the_parameters(tmp_path):
    given = sets()
    predictor = Module(norm, optimizer=SGD(0.1), batch_size=10, epochs=3, device="cpu")
    fitted = predictor.fit(given, seed=SEEDS)
    assert not torch.equal(fitted.buffers[0]["1.running_mean"], torch.zeros(8))
    fitted.save(tmp_path)
    assert torch.equal(predictor.load(tmp_path, CLASSES, 5).predict(given.x), fitted.predict(given.x))
    with pytest.raises(RunError, match="another architecture"):
        Module(small, optimizer=SGD(0.1), epochs=1, device="cpu").load(tmp_path, CLASSES, 5)
    with pytest.raises(RunError, match="another architecture"):
        predictor.load(tmp_path, CLASSES, 6)


def test_a_warm_start_goes_on_from_the_trained_module_and_its_scale():
    given = sets(TARGET, r=1)
    predictor = Module(norm, optimizer=SGD(0.05), batch_size=10, epochs=3, device="cpu")
    first = predictor.fit(given, seed=SEEDS[:1])
    still = Module(norm, optimizer=SGD(1e-12, 0.0), batch_size=30, steps=1, device="cpu", warm=first)
    shifted = TrainingSets(given.x, given.y + 100, given.w, TARGET)
    again = still.fit(shifted, seed=SEEDS[1:])
    assert torch.equal(again.location, first.location)
    for a, b in zip(again.params[0], first.params[0], strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ParameterError, match="same architecture"):
        Module(small, optimizer=SGD(0.1), epochs=1, warm=first, device="cpu").fit(given, seed=SEEDS[:1])
    with pytest.raises(ParameterError, match="one trained module"):
        predictor.warm_started(predictor.fit(sets(TARGET), seed=SEEDS))


def test_dropout_is_drawn_by_the_seed_alone():
    given = sets()
    predictor = Module(norm, optimizer=SGD(0.1), batch_size=10, epochs=2, device="cpu")
    torch.manual_seed(0)
    state, first = torch.get_rng_state(), predictor.fit_predict(given, given.x, seed=SEEDS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(predictor.fit_predict(given, given.x, seed=SEEDS), first)


def test_mixed_precision_is_close_and_keeps_its_parameters_in_float32():
    given, kinds = sets(), ("float32", "bfloat16")
    exact, mixed = (
        Module(norm, optimizer=SGD(0.1), batch_size=10, epochs=1, device="cpu", precision=kind).fit(given, seed=SEEDS)
        for kind in kinds
    )
    assert all(p.dtype == torch.float32 for p in mixed.params[0])
    assert not torch.equal(mixed.predict(given.x), exact.predict(given.x))
    torch.testing.assert_close(mixed.predict(given.x), exact.predict(given.x), rtol=0.05, atol=0.05)


def test_predictions_of_many_rows_are_made_in_parts():
    given = sets()
    fitted = Module(norm, optimizer=SGD(0.1), batch_size=10, epochs=1, device="cpu").fit(given, seed=SEEDS)
    many = given.x.repeat(20, 1)
    torch.testing.assert_close(fitted.predict(many), fitted.predict(given.x).repeat(1, 20, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": None}, "either epochs or steps"),
        ({"steps": 3}, "either epochs or steps"),
        ({"epochs": 0}, "'epochs'"),
        ({"batch_size": 0}, "'batch_size'"),
        ({"precision": "float16"}, "'precision'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ParameterError, match=message):
        Module(small, **({"optimizer": SGD(0.1), "epochs": 1, "device": "cpu"} | arguments))


@pytest.mark.parametrize("make", [Module, Stacked])
def test_a_device_that_torch_cannot_use_is_refused(make):
    for device in ("quantum", "cuda:99"):
        with pytest.raises(ParameterError, match=r"'device' parameter of .*'auto'"):
            make(small, optimizer=SGD(0.1), epochs=1, device=device).fit(sets(), seed=SEEDS)


def test_a_module_that_memory_cannot_hold_is_refused():
    huge = Module(lambda d, c: nn.Linear(2**24, 2**24), optimizer=SGD(0.1), epochs=1, device="cpu")  # a PiB
    with pytest.raises(ParameterError, match="more than the memory of cpu"):
        huge.fit(sets(), seed=SEEDS)


def test_memory_is_told_and_checked(monkeypatch):
    x = torch.randn(10, 1000)
    predictor = Module(lambda d, c: nn.Sequential(nn.Linear(d, 500), nn.Tanh(), nn.Linear(500, c)), optimizer=Adam(0.1),
                       batch_size=8, epochs=1, device="cpu")  # fmt: skip
    of, _, _ = predictor.opened(CLASSES, 1000, 0, torch.float32)
    told, size = predictor.memory(of, x), 4 * (1000 * 500 + 500 + 500 * 3 + 3)
    assert (told.parameters, told.gradients, told.moments) == (2 * size, size, 2 * size)
    assert told.activations == 4 * 8 * (1000 + 500)  # what each product was given
    assert "GiB" in str(Memory(2**33, 0, 0, 0))
    check_fits(told, torch.device("cpu"))
    monkeypatch.setattr(memory, "free_bytes", lambda device: told.total - 1)
    with pytest.raises(ParameterError, match=r"estimated to take about .* free. Use a smaller batch_size"):
        predictor.fit(TrainingSets(x, torch.zeros(10).long(), torch.ones(1, 10), CLASSES), seed=SEEDS[:1])


def test_memory_that_torch_holds_of_what_was_freed_is_free(monkeypatch):
    # A training before this one leaves a GPU's memory with torch, which hands it out again; the driver calls it taken.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 80)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 30)
    assert memory.free_bytes(torch.device("cuda")) == 10 + 50


def test_memory_of_an_unroll_grows_linearly_and_with_checkpoints_like_a_root():
    predictor = Module(small, optimizer=Adam(0.1), batch_size=8, epochs=1, device="cpu")
    of, _, _ = predictor.opened(CLASSES, 5, 0, torch.float32)
    x = torch.randn(4, 5)
    kept, less = (
        [estimate(of, x, 8, moments=2, unroll=t, checkpoint=c, joint=True).activations for t in (4, 16, 64)]
        for c in (False, True)
    )
    assert kept[2] == 4 * kept[1] == 16 * kept[0]
    assert less[2] == 2 * less[1] == 4 * less[0]
