"""The contract, over every predictor that has a name, and over two of a user's own."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import nn

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.predictors import PREDICTORS, SGD, BlackBox, Predictor, Stacked, make_predictor
from raydm.testing import DifferentiablePredictorContract, PredictorContract
from raydm.testing.predictors import problem

CLASSES, TARGET, TARGETS = Task("classification", 3), Task("regression", 1), Task("regression", 2)


class TestLogistic(DifferentiablePredictorContract):
    tasks: ClassVar = [CLASSES]

    def make(self, task: Task) -> Predictor:
        return make_predictor("logistic", epochs=10, device="cpu")


class TestLinear(DifferentiablePredictorContract):
    tasks: ClassVar = [TARGET, TARGETS]
    separate_targets = True
    target_tolerance = 1e-3  # Adam's eps is not blind to the loss being a mean over targets

    def make(self, task: Task) -> Predictor:
        return make_predictor("linear", epochs=10, device="cpu")


class TestMlp(DifferentiablePredictorContract):
    def make(self, task: Task) -> Predictor:
        return make_predictor("mlp", hidden=[8, 8], epochs=15, device="cpu")


class TestMlpWithBatches(DifferentiablePredictorContract):
    """16 of the 40 examples a step; a step is then not blind to how many rows there are, as weight 2 would need."""

    def make(self, task: Task) -> Predictor:
        return make_predictor("mlp", hidden=[8], epochs=8, batch_size=16, device="cpu")

    test_weight_two_is_an_example_that_is_there_twice = None


class TestMlpOfPresentRowsThatStopsEarly(PredictorContract):
    """Trained on 16 rows a step of those that a set holds, by its loss on five rows more."""

    def make(self, task: Task) -> Predictor:
        made = make_predictor(
            "mlp", hidden=[8], steps=60, batch_size=16, patience=2, check_every=5, layer_norm=True, device="cpu"
        )
        x, y = problem(task, 45, self.n_features)
        return made.watching(Examples(x[40:], y[40:], np.arange(5)))

    test_weight_two_is_an_example_that_is_there_twice = None


class TestMlpWithLayerNorm(DifferentiablePredictorContract):
    """And rows present alone."""

    def make(self, task: Task) -> Predictor:
        return make_predictor("mlp", hidden=[8], steps=12, batch_size=16, layer_norm=True, device="cpu")

    test_weight_two_is_an_example_that_is_there_twice = None


class TestCnn(DifferentiablePredictorContract):
    n_features = 16

    def make(self, task: Task) -> Predictor:
        return make_predictor("cnn", image_shape=[4, 4, 1], channels=[3, 4], epochs=15, device="cpu")


class Residual(nn.Module):
    """A user's module: a layer with a shortcut, and a readout from zero as the contract asks."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(n_features, n_features), nn.LayerNorm(n_features)
        self.readout = nn.Linear(n_features, n_outputs)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, x):
        return self.readout(x + self.norm(self.layer(x)).tanh())


class TestModuleOfOnesOwn(DifferentiablePredictorContract):
    def make(self, task: Task) -> Predictor:
        return Stacked(lambda d, c: Residual(d, c), optimizer=SGD(0.1), epochs=10, device="cpu")


class TestLightgbm(PredictorContract):
    # Rules that count rows rather than weigh them are switched off, so that weight 2 is an example twice. LightGBM
    # keeps to that with two classes, to the last bit, and not with three (measured: probabilities move by 0.08).
    tasks: ClassVar = [Task("classification", 2), TARGET]

    def make(self, task: Task) -> Predictor:
        rules = {"min_child_samples": 1, "min_data_in_bin": 1}
        return make_predictor("lightgbm", n_estimators=3, num_leaves=3, learning_rate=0.5, **rules)


class TestLightgbmOfSeveralTargets(TestLightgbm):
    """Weight 2 is an example twice for one target or the other as their splits happen to lie: LightGBM's own affair."""

    tasks: ClassVar = [TARGETS]
    separate_targets = True
    test_weight_two_is_an_example_that_is_there_twice = None


class TestXgboost(PredictorContract):
    weight_tolerance = 1e-5  # it computes in float32
    separate_targets = True
    target_tolerance = 1e-5

    def make(self, task: Task) -> Predictor:
        return make_predictor("xgboost", n_estimators=5, max_depth=3, tree_method="exact")


class TestNaiveBayes(PredictorContract):
    tasks: ClassVar = [CLASSES]

    def make(self, task: Task) -> Predictor:
        return make_predictor("naive-bayes")


class TestRandomForest(PredictorContract):
    def make(self, task: Task) -> Predictor:
        return make_predictor("random-forest", n_estimators=3, max_depth=2, bootstrap=False)


class TestNeighborVotes(PredictorContract):
    separate_targets = True

    def make(self, task: Task) -> Predictor:
        return make_predictor("neighbors", k=3)


class TestNeighbors(PredictorContract):
    """A user's estimators: any with fit and predict. These take no weights."""

    takes_weights = False
    separate_targets = True

    def make(self, task: Task) -> Predictor:
        return BlackBox(KNeighborsClassifier(1), KNeighborsRegressor(1))


def test_every_named_predictor_is_under_contract() -> None:
    assert set(PREDICTORS) == {
        "logistic",
        "linear",
        "mlp",
        "cnn",
        "lightgbm",
        "xgboost",
        "naive-bayes",
        "random-forest",
        "neighbors",
    }


def test_contract_notices_a_predictor_that_lets_absent_examples_in() -> None:
    class Leaky(Stacked):
        def fit(self, sets, *, seed):
            mean = sets.x.mean(0)  # over absent examples too
            return super().fit(type(sets)(sets.x - mean, sets.y, sets.w, sets.task), seed=seed)

    class Contract(PredictorContract):
        def make(self, task: Task) -> Predictor:
            return Leaky(nn.Linear, optimizer=SGD(0.1), epochs=3, device="cpu")

    with pytest.raises(AssertionError):
        Contract().test_absent_examples_have_no_influence(CLASSES)
