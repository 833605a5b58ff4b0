"""Large modules by name: what a name stands for, arguments from JSON, and the same module again from its config."""

from __future__ import annotations

import json

import pytest
import torch

from raydm.errors import ParameterError
from raydm.predictors import SGD, AdamW
from raydm.predictors.large import MODULES, make_module


@pytest.mark.parametrize("name", [name for name in MODULES if name != "text"])
def test_a_name_makes_a_module_that_its_config_makes_again(name):
    made = make_module(name, lr=0.5, device="cpu")
    again = make_module(
        **{("predictor" if k == "name" else k): v for k, v in json.loads(json.dumps(made.config())).items()}
    )
    assert made.config() == again.config() == {"name": name, "lr": 0.5, "device": "cpu"}
    assert (made.optimizer, made.batch_size) == (again.optimizer, again.batch_size)
    assert made.optimizer.lr == 0.5


def test_the_settings_of_the_paper_are_the_defaults():
    assert make_module("resnet-34").optimizer == SGD(1e-3, 0.9, 0.0)
    text = make_module("text:some/model")
    assert text.optimizer == AdamW(4e-5, weight_decay=0.01)
    assert text.make_module.model == "some/model"
    assert text.config() == {"name": "text", "model": "some/model"}


def test_arguments_of_training_and_network_are_told_apart():
    made = make_module("mlp", hidden=[3], optimizer="adam", batch_size=7)
    assert made.optimizer.lr == 3e-3
    assert make_module("mlp", optimizer="sgd", lr=0.1).optimizer.momentum == 0.9
    assert made.batch_size == 7
    assert [tuple(p.shape) for p in made.make_module(5, 2).parameters()] == [(3, 5), (3,), (2, 3), (2,)]
    small = make_module("resnet-8", channels=1, widths=[2, 3, 4], normalize=[[0.5], [0.25]])
    out = small.make_module(6, 3)(torch.zeros(2, 1, 6, 6))
    assert out.shape == (2, 3)


def test_statistics_of_pixels_have_names_too():
    pixels = torch.rand(1, 3, 8, 8)
    named, told = (make_module("resnet-8", normalize=n).make_module(8, 2)[0] for n in
                   ("imagenet", [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]))  # fmt: skip
    assert torch.equal(named(pixels), told(pixels))


@pytest.mark.parametrize(
    ("name", "params", "match"),
    [
        ("resnet-9", {}, "predictor.*resnet-8"),
        ("text", {}, "needs a model"),
        ("text:", {}, "needs a model"),
        ("mlp", {"depth": 3}, "cannot be made"),
        ("mlp", {"optimizer": "lbfgs"}, "optimizer"),
        ("mlp", {"optimizer": "adam", "momentum": 0.9}, "cannot be made"),
        ("mlp", {"lr": -1.0}, "lr"),
        ("mlp", {"lr": "fast"}, "cannot be made"),
        ("mlp", {"batch_size": 0}, "batch_size"),
        ("resnet-18", {"channels": 1}, "channels"),
        ("resnet-8", {"normalize": "mnist"}, "normalize"),
        ("resnet-8", {"normalize": [[0.5]]}, "cannot be made"),
        ("resnet-8", {"widths": [2, 3]}, "cannot be made"),
    ],
)
def test_bad_names_and_arguments_are_refused(name, params, match):
    with pytest.raises(ParameterError, match=match):
        make_module(name, **params)
