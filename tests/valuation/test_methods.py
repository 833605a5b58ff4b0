"""Every method behind one surface: what `DataValuator(method=...)` leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.neighbors import KNeighborsClassifier

from raydm import DataValuator
from raydm.errors import ParameterError, RaydmError, RaydmWarning
from raydm.metrics import discovery_auc
from raydm.utility import InProcess
from raydm.valuation.methods import GAMES, METHODS, SHARES, Played

N, M = 60, 40
QUICK: dict[str, dict[str, Any]] = {
    "dvrl": {"steps": 4, "rollouts": 4, "outer_batch": 16, "evidence": ("validation", "neighbors")},
    "loo": {},
    "shapley": {"method_params": {"permutations": 16}},
    "banzhaf": {"method_params": {"subsets": 256}},
    "knn-shapley": {},
    "influence": {},
    "data-oob": {"method_params": {"members": 64}},
}
LOGISTIC = {"predictor": "logistic", "predictor_params": {"epochs": 20}}

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def cancer() -> Data:
    """Rows, labels of which a fifth are flipped, which, and trusted rows with their labels."""
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[: N + M]
    x, y = x[order], y[order]
    flipped = np.arange(N) < N // 5
    return x[:N], np.where(flipped, 1 - y[:N], y[:N]), flipped, x[N:], y[N:]


@pytest.fixture(scope="module")
def fitted(cancer: Data) -> dict[str, DataValuator]:
    x, y, _, xv, yv = cancer
    return {name: made(name).fit(x, y, X_valid=xv, y_valid=yv) for name in METHODS}


def made(name: str, **arguments: Any) -> DataValuator:
    return DataValuator(method=name, **(LOGISTIC | QUICK[name] | arguments))


def test_every_method_is_tried_here() -> None:
    assert set(QUICK) == set(METHODS) == {"dvrl", *GAMES}
    assert set(SHARES) <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_row_has_a_value_and_flips_have_low_ones(fitted: Any, cancer: Data, name: str) -> None:
    values = fitted[name].values_
    assert values.shape == (N,)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert values.std() > 0
    least = {"loo": 0.5, "shapley": 0.6, "banzhaf": 0.6}.get(name, 0.8)  # leave-one-out hardly tells: most gains are 0
    assert discovery_auc(values, cancer[2]) > least


@pytest.mark.parametrize("name", METHODS)
def test_equal_seeds_give_equal_bits(fitted: Any, cancer: Data, name: str) -> None:
    x, y, _, xv, yv = cancer
    again = clone(fitted[name]).fit(x, y, X_valid=xv, y_valid=yv)
    np.testing.assert_array_equal(again.values_, fitted[name].values_)
    if fitted[name].standard_errors_ is not None:
        np.testing.assert_array_equal(again.standard_errors_, fitted[name].standard_errors_)


@pytest.mark.parametrize("name", ["dvrl", "shapley", "banzhaf", "data-oob"])
def test_other_seeds_draw_otherwise(fitted: Any, cancer: Data, name: str) -> None:
    x, y, _, xv, yv = cancer
    other = clone(fitted[name]).set_params(random_state=1).fit(x, y, X_valid=xv, y_valid=yv)
    assert not np.array_equal(other.values_, fitted[name].values_)


@pytest.mark.parametrize("name", METHODS)
def test_thresholds_selection_and_inputs(fitted: Any, name: str) -> None:
    valuator = fitted[name]
    assert valuator.threshold_ == (0.5 if name in SHARES else 0.0)
    np.testing.assert_array_equal(valuator.selected_, valuator.values_ >= valuator.threshold_)
    if name in SHARES:
        assert ((valuator.values_ >= 0) & (valuator.values_ <= 1)).all()
    assert {"random", "validation"} <= set(valuator.inputs_)
    assert all(ranking.shape == (N,) for ranking in valuator.inputs_.values())
    np.testing.assert_array_equal(valuator.inputs_["random"], fitted["dvrl"].inputs_["random"])


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_sample_tell_their_standard_errors(fitted: Any, name: str) -> None:
    errors = fitted[name].standard_errors_
    assert (errors is not None) == (name in {"shapley", "banzhaf", "knn-shapley", "data-oob"})
    if errors is not None:
        assert errors.shape == (N,)
        assert (errors >= 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_history_counts_the_steps(fitted: Any, name: str) -> None:
    history = fitted[name].history_
    assert [line["t"] for line in history] == list(range(len(history)))
    assert 0 <= history[0]["seconds"] <= history[-1]["seconds"] <= fitted[name].seconds_
    if name != "dvrl":
        assert set(history[0]) == {"t", "evaluations", "share", "error", "seconds"}
        assert 0 < history[-1]["share"] <= 1
        assert history[-1]["evaluations"] == {"loo": N + 1, "knn-shapley": 0, "influence": 1, "data-oob": 64}.get(
            name, history[-1]["evaluations"]
        )


@pytest.mark.parametrize("name", METHODS)
def test_the_final_predictor_is_trained_and_the_predictors_weights_fit_the_method(fitted: Any, name: str) -> None:
    valuator = fitted[name]
    assert set(valuator.predictor_.predict(np.zeros((3, 30)))) <= {0, 1}
    weights = valuator._final_weights(valuator.problem_.predictor, valuator.problem_.task)
    expected = {"dvrl": valuator.valuation_.final_weights(), "data-oob": valuator.values_}
    np.testing.assert_array_equal(weights, expected.get(name, valuator.selected_.astype(float)))


@pytest.mark.parametrize("name", METHODS)
def test_other_rows_are_valued_by_dvrl_alone(fitted: Any, cancer: Data, name: str) -> None:
    x, y, _, xv, yv = cancer
    if name == "dvrl":
        np.testing.assert_array_equal(fitted[name].value(x, y), fitted[name].values_)
        assert fitted[name].value(xv, yv).shape == (M,)
        return
    with pytest.raises(ParameterError, match=f"method='{name}' values only the rows it was fitted on"):
        fitted[name].value(x, y)


@pytest.mark.parametrize("name", METHODS)
def test_rows_that_were_held_out_have_a_value_by_dvrl_alone(cancer: Data, name: str) -> None:
    x, y, *_ = cancer
    with pytest.warns(RaydmWarning, match="12 of the 60 training rows were held out"):
        valuator = made(name).fit(x, y)
    assert valuator.values_.shape == valuator.selected_.shape == (N,)
    unknown = np.isnan(valuator.values_)
    assert unknown.sum() == (0 if name == "dvrl" else 12)
    assert valuator.selected_[unknown].all()  # they are trusted
    assert all(ranking.shape == (N,) for ranking in valuator.inputs_.values())
    np.testing.assert_array_equal(np.isnan(valuator.inputs_["validation"]), unknown)
    if valuator.standard_errors_ is not None:
        assert np.isnan(valuator.standard_errors_[unknown]).all()


@pytest.mark.parametrize("name", METHODS)
def test_targets(name: str) -> None:
    x, y = load_diabetes(return_X_y=True)
    y = np.where(np.arange(len(y)) < 10, 600 - y, y)
    arguments = QUICK[name] | {"predictor": "linear", "predictor_params": {"epochs": 20}}
    valuator = DataValuator(method=name, **arguments).fit(x[:50], y[:50], X_valid=x[50:80], y_valid=y[50:80])
    assert np.isfinite(valuator.values_).all()
    predicted = valuator.predictor_.predict(x[80:])
    assert np.isfinite(predicted).all()
    assert np.abs(predicted - y[80:]).mean() < 3 * np.abs(y[80:] - np.median(y[80:])).mean()
    assert valuator.selected_.any()


def test_of_targets_data_oob_gives_losses_which_are_no_weights() -> None:
    x, y = load_diabetes(return_X_y=True)
    linear = {"method": "data-oob", "method_params": {"members": 16}, "predictor_params": {"epochs": 20}}
    parts = {"X_valid": x[50:80], "y_valid": y[50:80]}
    valuator = DataValuator(**linear).fit(x[:50], y[:50], **parts)
    assert (valuator.values_ <= 0).all()
    assert valuator.threshold_ == pytest.approx(-y[:50].var(), rel=1e-6)  # predicted no worse than by the mean
    given = DataValuator(**linear, threshold=-2000.0).fit(x[:50], y[:50], **parts)
    np.testing.assert_array_equal(given.selected_, valuator.values_ >= -2000)
    with pytest.raises(ParameterError, match=r"'final' .* with method='data-oob' for regression"):
        DataValuator(**linear, final="weighted").fit(x[:50], y[:50], **parts)


def test_a_predictor_without_weights_plays_all_but_influence(cancer: Data) -> None:
    x, y, _, xv, yv = cancer
    few = {"shapley": {"permutations": 2}, "banzhaf": {"subsets": 64}, "data-oob": {"members": 16}}
    for name in METHODS:
        arguments = {"method_params": few[name]} if name in few else QUICK[name]
        valuator = DataValuator(KNeighborsClassifier(1), method=name, **arguments)
        if name == "influence":
            with pytest.raises(ParameterError, match="Influence functions differentiate"):
                valuator.fit(x, y, X_valid=xv, y_valid=yv)
            continue
        assert np.isfinite(valuator.fit(x, y, X_valid=xv, y_valid=yv).values_).all()
        kept = valuator._final_weights(valuator.problem_.predictor, valuator.problem_.task)
        assert set(kept) <= {0.0, 1.0}


@pytest.mark.parametrize("name", ["loo", "shapley"])
def test_steps_are_yielded_and_who_stops_asking_stops_the_work(cancer: Data, name: str) -> None:
    x, y, _, xv, yv = cancer
    closed: list[int] = []

    class Watched(InProcess):
        def close(self) -> None:
            closed.append(1)

    valuator = made(name, utility=Watched, method_params={"chunk": 8} if name == "loo" else {"permutations": 4})
    steps = valuator.fit_iter(x, y, X_valid=xv, y_valid=yv)
    first = next(steps)
    assert first.values.shape == (N,)
    assert not hasattr(valuator, "values_")
    steps.close()
    assert closed == [1]


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("magic", {}, "'method' parameter .* one of 'dvrl', 'loo', 'shapley', .*Got 'magic'"),
        ("dvrl", {"k": 3}, "'method_params' parameter of method 'dvrl' must be empty: .* arguments of their own"),
        ("loo", {"permutations": 3}, "must be among 'chunk'. Got {'permutations': 3}"),
        ("shapley", {"game": 3}, "must be among 'permutations', 'truncation', 'tolerance', 'antithetic', 'abreast'"),
        ("influence", {"damping": "x"}, "'damping' parameter of influence must be a number >= 0. Got 'x'"),
        ("influence", {"tolerance": None}, "'tolerance'"),
        ("knn-shapley", {"memory": "x"}, "'memory'"),
        ("knn-shapley", {"k": True}, "'k'"),
        ("data-oob", {"members": "x"}, "'members'"),
        ("banzhaf", {"subsets": 2, "chunk": 1}, "left the values of .* of 60 rows unknown.*train more often"),
    ],
)
def test_parameters_that_do_not_fit_are_told(cancer: Data, name: str, params: dict[str, Any], words: str) -> None:
    x, y, _, xv, yv = cancer
    with pytest.raises(ParameterError, match=words):
        DataValuator(method=name, method_params=params, **LOGISTIC).fit(x, y, X_valid=xv, y_valid=yv)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("loo", {"final": "weighted"}), ("data-oob", {"threshold": 1.5}), ("loo", {"threshold": "x"})],
)
def test_thresholds_and_weights_that_the_method_has_not(cancer: Data, name: str, arguments: dict[str, Any]) -> None:
    x, y, _, xv, yv = cancer
    with pytest.raises(ParameterError, match=f"'{next(iter(arguments))}' parameter of DataValuator"):
        made(name, **arguments).fit(x, y, X_valid=xv, y_valid=yv)


def test_a_game_of_gains_takes_any_threshold(fitted: Any, cancer: Data) -> None:
    x, y, _, xv, yv = cancer
    for threshold in (-2.0, 2.0):
        valuator = made("knn-shapley", threshold=threshold, final="all").fit(x, y, X_valid=xv, y_valid=yv)
        assert valuator.selected_.sum() == (N if threshold < 0 else 0)


def test_before_its_steps_a_game_has_no_values(fitted: Any) -> None:
    valuator = fitted["loo"]
    played = Played("loo", {}, valuator.prepared_.train, valuator.problem_, InProcess)
    with pytest.raises(RaydmError, match="has made no estimate yet"):
        played.values()
