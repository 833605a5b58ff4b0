"""What is tried on a device that is none; as a program it prints each case's name and what went wrong, as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from device_kit import DEVICE, Pretending
from text_kit import write_tiny_bert
from torch import nn

from raydm.augmenting.methods import make_augmenting
from raydm.augmenting.settings import AugmentSettings
from raydm.control_variates import Taylor
from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.generators import VAE, Prototypes
from raydm.image_networks import CifarResNet
from raydm.joint import Joint
from raydm.joint_training import TextParts
from raydm.metrics import METRICS
from raydm.policies import Bernoulli
from raydm.predictors import SGD, Adam, AdamW, TrainingSets, make_predictor
from raydm.predictors.module import Module
from raydm.synthesizing.methods import make_synthesizing
from raydm.synthesizing.settings import SynthesizeSettings
from raydm.text import MakeTextClassifier, Tokenizer
from raydm.utility import InProcess, Problem, StepUtility
from raydm.weighting.methods import make_weighting
from raydm.weighting.settings import WeightSettings

CLASSES, TARGET = Task("classification", 2), Task("regression", 1)
_rng = np.random.default_rng(0)
X = _rng.normal(size=(12, 4)).astype(np.float32)
Y, T = np.arange(12) % 2, X[:, 0] + 1
IMAGES = _rng.integers(0, 256, (12, 3, 4, 4)).astype(np.uint8)
TEXTS = ["the film is good", "a dull story", "a superb scene , and great", "the plot was bad"] * 3

CASES: dict[str, Callable[[], Any]] = {}


def case(name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Adds a case."""

    def add(function: Callable[[], Any]) -> Callable[[], Any]:
        CASES[name] = function
        return function

    return add


def examples(x: Any, task: Task = CLASSES) -> Examples:
    return Examples(x, Y if task is CLASSES else T, np.arange(len(x)))


def problem(predictor: Any, x: Any = X, task: Task = CLASSES) -> Problem:
    metric = METRICS["accuracy" if task is CLASSES else "rmse"]
    return Problem(predictor, examples(x, task).take(range(6)), task, metric, seed=0)


def sets(task: Task = CLASSES, rollouts: int = 2, x: Any = X) -> TrainingSets:
    y = torch.from_numpy(Y if task is CLASSES else T)
    return TrainingSets(torch.from_numpy(x), y, torch.ones(rollouts, 12).triu(1), task)


def normed(d: int, c: int) -> nn.Module:
    layers = nn.Linear(d, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2)
    return nn.Sequential(*layers, nn.Linear(4, c))


def module(make: Any = normed, optimizer: Any = None, **more: Any) -> Module:
    optimizer = optimizer or Adam(0.01)
    return Module(make, **{"optimizer": optimizer, "batch_size": 6, "epochs": 1, "device": DEVICE} | more)


def trained(training: Any) -> Any:
    """Takes all steps, and asks for all that comes of them, on the device and then on the CPU."""
    assert list(training.steps())
    training.score(training.train)
    if hasattr(training, "manipulation") and hasattr(training, "rows"):
        training.summary()
        there = training.rows(3)
        learned = training.learned
        learned.to(torch.device("cpu"))
        np.testing.assert_allclose(learned.rows(3, training.train).x, there.x, rtol=1e-5)


@case("mixing")
def _() -> None:
    """The one case that is to go wrong."""
    torch.from_numpy(X).to(DEVICE) + torch.from_numpy(X)


for _task in (CLASSES, TARGET):
    for _name, _more in {
        "linear": {},
        "mlp": {"hidden": [4], "epochs": 2, "batch_size": 5},
        "mlp steps": {"hidden": [4], "steps": 4, "batch_size": 5, "layer_norm": True},
        "mlp stopped": {"hidden": [4], "steps": 4, "batch_size": 5, "patience": 1, "check_every": 2},
    }.items():

        @case(f"stack {_name} {_task.kind}")
        def _(task: Task = _task, name: str = _name, more: Any = _more) -> None:
            name = "logistic" if name == "linear" and task is CLASSES else name.split()[0]
            predictor = make_predictor(name, device=DEVICE, **more)
            own = problem(predictor, task=task).watched()
            InProcess(own)(sets(task), step=0)
            InProcess(own).predictions(sets(task), torch.from_numpy(X), step=0)
            if own.predictor.differentiable:
                some = sets(task)
                w = some.w.clone().requires_grad_()
                InProcess(own)(TrainingSets(some.x, some.y, w, task), step=0).sum().backward()


@case("stack cnn")
def _() -> None:
    predictor = make_predictor("cnn", image_shape=[2, 2, 1], channels=[2], epochs=1, device=DEVICE)
    predictor.fit_predict(sets(), torch.from_numpy(X), seed=np.arange(2))


@case("control variate taylor")
def _() -> None:
    class Whole:
        def apply(self, actions: torch.Tensor, batch: Batch) -> TrainingSets:
            return TrainingSets(batch.x, batch.y, actions, CLASSES)

    own = problem(make_predictor("logistic", device=DEVICE))
    batch = Batch(np.arange(12), torch.from_numpy(X), torch.from_numpy(Y))
    of: Any = StepUtility(Whole(), InProcess(own), batch, 0)  # type: ignore[arg-type]
    Taylor(own.predictor, 0).slopes(Bernoulli(torch.zeros(12)), of)


for _task in (CLASSES, TARGET):

    @case(f"module {_task.kind}")
    def _(task: Task = _task) -> None:
        for optimizer in (SGD(0.1), Adam(0.1), AdamW(0.1)):
            module(optimizer=optimizer).fit_predict(sets(task), torch.from_numpy(X), seed=np.arange(2))

    for _name, _optimizer, _more in (
        ("one step, sgd", SGD(0.1), {}),
        ("one step, adam", Adam(0.01), {}),
        ("from zero", AdamW(0.01), {"look_ahead": "zero"}),
        ("halves", SGD(0.1), {"halves": True}),
        ("three steps", Adam(0.01), {"unroll": 3}),
        ("four, remade", SGD(0.1, 0.0), {"unroll": 4, "checkpoint": True, "dev_batch": 3}),
    ):

        @case(f"joint {_name} {_task.kind}")
        def _(task: Task = _task, optimizer: Any = _optimizer, more: Any = _more) -> None:
            joint = Joint(problem(module(optimizer=optimizer), task=task), **more)
            some = sets(task, 1)
            x = some.x.clone().requires_grad_(more.get("look_ahead") != "zero")
            w = some.w.clone().requires_grad_()
            for step in range(2):
                joint(TrainingSets(x, some.y, w, task), step=step).sum().backward()
                joint.carry(lambda some=some: some, step=step)  # type: ignore[misc]
            joint.dev_loss()
            joint.fitted().predict(torch.from_numpy(X))
            with tempfile.TemporaryDirectory() as folder:
                joint.save(Path(folder))
                joint.restore(Path(folder))


@case("trained on one device, used on the other")
def _() -> None:
    from raydm.distributed.seeds import _on_cpu

    here = module(device="cpu").fit(sets(rollouts=1), seed=np.arange(1))
    there = module(warm=here).fit(sets(rollouts=1), seed=np.arange(1))
    module(warm=there, device="cpu").fit(sets(rollouts=1), seed=np.arange(1))
    with tempfile.TemporaryDirectory() as folder:
        there.save(Path(folder))
        module().load(Path(folder), CLASSES, 4).predict(torch.from_numpy(X))
    told = there.predict(torch.from_numpy(X))
    torch.testing.assert_close(_on_cpu(there).predict(torch.from_numpy(X)), told)


for _name, _settings in (
    ("free", WeightSettings(epochs=1, warm_up=1)),
    ("with agreement", WeightSettings(epochs=1, agreement=True, keep="average")),
    ("network", WeightSettings(epochs=1, weights="network", look_ahead="weights", keep="near-best")),
):

    @case(f"weight {_name}")
    def _(settings: WeightSettings = _settings) -> None:
        trained(make_weighting("weight", settings, examples(X), problem(module())))


@case("augment tables")
def _() -> None:
    settings = AugmentSettings(epochs=1, warm_up=1, per_class=True)
    trained(make_augmenting("learned", settings, examples(X), problem(module())))


for _name in ("learned", "fixed"):

    @case(f"augment images, {_name}")
    def _(name: str = _name) -> None:
        network = module(CifarResNet(8, widths=(2, 2, 2)), SGD(0.01))
        settings = AugmentSettings(epochs=1, warm_up=0)
        trained(make_augmenting(name, settings, examples(IMAGES), problem(network, IMAGES)))


@case("synthesize tables")
def _() -> None:
    settings = SynthesizeSettings(epochs=1, warm_up=0, generator="prototypes")
    trained(make_synthesizing("learned", settings, examples(X), problem(module())))


@case("synthesize images")
def _() -> None:
    network = module(CifarResNet(8, widths=(2, 2, 2)), SGD(0.01))
    settings = SynthesizeSettings(epochs=1, warm_up=0, generator="prototypes")
    trained(make_synthesizing("learned", settings, examples(IMAGES), problem(network, IMAGES)))


for _name, _make in {
    "prototypes": lambda shape: Prototypes(shape, 2),
    "vae": lambda shape: VAE(shape, 2, steps=26),
}.items():

    @case(f"generator {_name}, fitted there to rows from here")
    def _(make: Any = _make) -> None:
        for rows in (X, IMAGES / np.float32(255)):
            y = torch.from_numpy(Y)
            made = make(rows.shape[1:]).to(DEVICE).fit(torch.from_numpy(rows), y)
            made.sample(y, made.noise(len(y), np.random.default_rng(0)))


for _frozen in (0, 1):

    @case(f"texts, {_frozen} layers frozen")
    def _(frozen: int = _frozen) -> None:
        with tempfile.TemporaryDirectory() as folder:
            tiny = write_tiny_bert(Path(folder), dropout=0.1)
            tokenizer = Tokenizer(tiny, length=8)
            ids = tokenizer(TEXTS)
            own = problem(module(MakeTextClassifier(str(tiny), frozen=frozen), AdamW(1e-3)), ids)
            parts = TextParts(tiny, tokenizer, TEXTS)
            augmented = AugmentSettings(epochs=1, warm_up=0, fit_epochs=1)
            written = SynthesizeSettings(epochs=1, warm_up=0, fit_epochs=1, rounds=2, top_k=5)
            if frozen:
                trained(make_synthesizing("learned", written, examples(ids), own, parts))
            else:
                trained(make_augmenting("learned", augmented, examples(ids), own, parts))


def tried(function: Callable[[], Any]) -> str | None:
    """What went wrong; None: nothing."""
    try:
        with Pretending():
            function()
    except Exception as error:
        return "".join(traceback.format_exception(error))
    return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    names = sys.argv[1:] or list(CASES)
    print(json.dumps({name: tried(CASES[name]) for name in names}))
