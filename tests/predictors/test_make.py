"""Predictors by name."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import scale

from raydm.data.task import Task
from raydm.errors import MissingPackageError, ParameterError
from raydm.predictors import BlackBox, Stacked, TrainingSets, make_predictor
from raydm.predictors.early_stopping import EarlyStopping


def test_a_name_with_arguments():
    predictor = make_predictor("mlp", hidden=[4], lr=0.1)
    assert isinstance(predictor, Stacked)
    assert predictor.config() == {"name": "mlp", "hidden": [4], "lr": 0.1}


def test_an_mlp_that_stops_early_and_sees_present_rows():
    made = make_predictor("mlp", hidden=[4], steps=9, batch_size=2, patience=3, check_every=5)
    assert (made.steps, made.epochs, made.batch_size) == (9, None, 2)
    assert made.early_stopping == EarlyStopping(3, 5)
    config = json.loads(json.dumps(made.config()))
    rebuilt = make_predictor(config.pop("name"), **config)
    assert (rebuilt.steps, rebuilt.early_stopping) == (9, EarlyStopping(3, 5))
    assert make_predictor("mlp").early_stopping is None
    assert make_predictor("mlp", patience=None).early_stopping is None
    with pytest.raises(ParameterError, match="'patience' parameter of EarlyStopping"):
        make_predictor("mlp", patience=0)
    with pytest.raises(ParameterError, match="needs a batch_size beside steps"):
        make_predictor("mlp", steps=9, batch_size=None)


def test_an_mlp_with_layer_norm():
    module = make_predictor("mlp", hidden=[4, 3], layer_norm=True).make_module(5, 2)
    assert [type(part).__name__ for part in module] == [*["Linear", "LayerNorm", "ReLU"] * 2, "Linear"]
    assert [part.weight.shape[0] for part in module if hasattr(part, "weight")] == [4, 4, 3, 3, 2]
    plain = make_predictor("mlp", hidden=[4, 3]).make_module(5, 2)
    assert [type(part).__name__ for part in plain] == [*["Linear", "ReLU"] * 2, "Linear"]


def test_a_scikit_learn_class_by_its_dotted_name():
    predictor = make_predictor("sklearn.neighbors.KNeighborsRegressor", n_neighbors=2)
    assert isinstance(predictor, BlackBox)
    assert predictor.templates["classification"] is None
    assert isinstance(predictor.templates["regression"], KNeighborsRegressor)
    assert predictor.config() == {"name": "sklearn.neighbors.KNeighborsRegressor", "n_neighbors": 2}


def test_an_estimator_of_one_s_own():
    estimator = LogisticRegression()
    predictor = make_predictor(estimator)
    assert predictor.templates == {"classification": estimator, "regression": None}
    assert predictor.config()["name"] == "custom"


def test_a_predictor_is_kept():
    predictor = make_predictor("logistic")
    assert make_predictor(predictor) is predictor


@pytest.mark.parametrize("predictor", ["lightbgm", 7, "os.path.join"])
def test_unknown_predictors_are_refused_with_those_there_are(predictor):
    with pytest.raises(ParameterError, match=r"'predictor' parameter .* one of 'logistic', .*'neighbors', the dotted"):
        make_predictor(predictor)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("mlp", {"width": 3}), ("sklearn.nothing.Here", {}), ("sklearn.tree.Here", {}), ("random-forest", {"trees": 3})],
)
def test_arguments_that_do_not_fit_are_refused(name, arguments):
    with pytest.raises(ParameterError, match=f"The predictor '{name}' cannot be made with"):
        make_predictor(name, **arguments)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_a_missing_package_is_reported_with_the_command_that_installs_it(name, monkeypatch):
    def absent(module):
        raise ImportError(module)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingPackageError, match=rf"package '{name}'.*pip install \"raydm\[boosting\]\""):
        make_predictor(name)


def test_linear_comes_within_a_tenth_of_least_squares_on_correlated_features():
    # Diabetes: the largest eigenvalue of X'X / N is 4, where gradient descent with lr 1 diverges.
    x, y = load_diabetes(return_X_y=True)
    x = scale(x).astype(np.float32)
    sets = TrainingSets(
        torch.from_numpy(x), torch.from_numpy(y.astype(np.float32)), torch.ones(1, len(y)), Task("regression", 1)
    )
    p = make_predictor("linear", device="cpu").fit_predict(sets, sets.x, seed=np.zeros(1, int))[0, :, 0].numpy()
    left_by_least_squares = ((LinearRegression().fit(x, y).predict(x) - y) ** 2).mean()
    assert ((p - y) ** 2).mean() < 1.1 * left_by_least_squares


def test_a_dotted_name_is_looked_at_before_it_is_called(tmp_path):
    """A run's config.json may name anything; what is no estimator class must not run."""
    mark = tmp_path / "ran"
    with pytest.raises(ParameterError, match="dotted name of a scikit-learn estimator"):
        make_predictor("sklearn.utils._testing.check_output", args=f"touch {mark}", shell=True)
    assert not mark.exists()


def test_arguments_beside_an_object_are_refused():
    with pytest.raises(ParameterError, match="named by a string"):
        make_predictor(make_predictor("mlp"), epochs=3)
