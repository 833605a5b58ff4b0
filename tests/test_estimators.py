"""The Python surface: scikit-learn's own checks, every kind of input, and what `fit` leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from raydm import DataValuator
from raydm.data import flip_labels
from raydm.errors import DataError, ParameterError, RaydmWarning
from raydm.metrics import discovery_auc
from raydm.valuation.training import fit

SMALL = {"steps": 4, "rollouts": 4, "outer_batch": 16, "evidence": ("validation", "neighbors")}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([DataValuator(**(SMALL | {"steps": 2, "rollouts": 2}))])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)  # no check is excepted; it raises AssertionError where the estimator fails


@pytest.fixture(scope="module")
def wine() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order[:120]], y[order[:120]], x[order[120:]], y[order[120:]]


def frame(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]).assign(y=y)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = torch.from_numpy(x), y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.x[i], int(self.y[i])


def test_arrays_and_tables_give_the_same_values(wine: Any) -> None:
    x, y, xv, yv = wine
    expected = DataValuator(**SMALL).fit(x, y, X_valid=xv, y_valid=yv).values_
    train, valid = frame(x, y), frame(xv, yv)
    tables = [
        (train, valid),
        (pa.Table.from_pandas(train), pa.Table.from_pandas(valid)),
        (polars.from_pandas(train), polars.from_pandas(valid)),
        (Dataset.from_pandas(train), Dataset.from_pandas(valid)),
    ]
    for t, v in tables:
        got = DataValuator(**SMALL).fit(t, "y", X_valid=v).values_
        np.testing.assert_array_equal(got, expected)
    apart = DataValuator(**SMALL).fit(train.drop(columns="y"), y, X_valid=valid.drop(columns="y"), y_valid=yv)
    np.testing.assert_array_equal(apart.values_, expected)


def test_torch_datasets_and_files(wine: Any, tmp_path: Any) -> None:
    x, y, xv, yv = wine
    values = DataValuator(**SMALL).fit(Pairs(x, y), "y", X_valid=Pairs(xv, yv)).values_
    assert values.shape == (120,)
    frame(x, y).to_parquet(tmp_path / "train.parquet")
    frame(xv, yv).to_csv(tmp_path / "valid.csv", index=False)
    learned = DataValuator(**SMALL).fit(str(tmp_path / "train.parquet"), "y", X_valid=tmp_path / "valid.csv")
    expected = DataValuator(**SMALL).fit(x, y, X_valid=xv, y_valid=yv).values_
    np.testing.assert_allclose(learned.values_, expected, atol=1e-5)  # CSV rounds nothing, but its order of sums may


def test_what_fit_leaves_behind(wine: Any) -> None:
    x, y, xv, yv = wine
    learned = DataValuator(**SMALL, threshold=0.4).fit(x, y, X_valid=xv, y_valid=yv)
    assert learned.values_.shape == (120,)
    assert ((learned.values_ > 0) & (learned.values_ < 1)).all()
    np.testing.assert_array_equal(learned.selected_, learned.values_ >= 0.4)
    assert [h["t"] for h in learned.history_] == [0, 1, 2, 3]
    assert all(h["utility_min"] <= h["utility"] <= h["utility_max"] for h in learned.history_)
    assert set(learned.inputs_) == {"random", "pooled", "validation", "neighbors"}
    assert learned.standard_errors_ is None
    assert learned.threshold_ == 0.4
    assert set(learned.valuation_.dvrl.detection) == {"pooled", "validation", "neighbors"}
    assert set(learned.predictor_.predict(xv)) <= {0, 1, 2}
    np.testing.assert_allclose(learned.predictor_.predict_proba(xv).sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(learned.value(x, y), learned.values_)


def test_seeds_decide_everything(wine: Any) -> None:
    x, y, xv, yv = wine
    one = DataValuator(**SMALL, random_state=1)
    first = one.fit(x, y, X_valid=xv, y_valid=yv).values_
    again = clone(one).fit(x, y, X_valid=xv, y_valid=yv).values_
    other = clone(one).set_params(random_state=2).fit(x, y, X_valid=xv, y_valid=yv).values_
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_steps_are_yielded_as_they_are_done(wine: Any) -> None:
    x, y, xv, yv = wine
    valuator = DataValuator(**SMALL)
    steps = valuator.fit_iter(x, y, X_valid=xv, y_valid=yv)
    first = next(steps)
    assert first.t == 0
    assert first.u.shape == (4,)
    assert not hasattr(valuator, "values_")
    assert [s.t for s in steps] == [1, 2, 3]
    assert valuator.values_.shape == (120,)


def test_without_a_validation_set_rows_are_held_out_and_still_valued(wine: Any) -> None:
    x, y, *_ = wine
    with pytest.warns(RaydmWarning, match="24 of the 120 training rows were held out"):
        learned = DataValuator(**SMALL).fit(x, y)
    assert learned.values_.shape == (120,)
    assert len(learned.prepared_.train) == 96
    assert all(len(ranking) == 120 for ranking in learned.inputs_.values())


def test_targets_with_a_tie_are_held_out_like_others() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    y = np.append(x[:49, 0], x[0, 0])  # one tie
    with pytest.warns(RaydmWarning, match="10 of the 50 training rows were held out"):
        DataValuator(**SMALL).fit(x, y)


def test_y_valid_without_x_valid_is_refused(wine: Any) -> None:
    x, y, _, yv = wine
    with pytest.raises(ParameterError, match="y_valid was given without X_valid"):
        DataValuator(**SMALL).fit(x, y, y_valid=yv)


def test_string_labels_and_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    names = np.where(x[:, 0] > 0, "yes", "no")
    learned = DataValuator(**SMALL).fit(x[:40], names[:40], X_valid=x[40:], y_valid=names[40:])
    assert set(learned.predictor_.predict(x)) <= {"yes", "no"}
    target = 100 + 50 * x[:, 0]
    regressor = DataValuator(**SMALL).fit(x[:40], target[:40], X_valid=x[40:], y_valid=target[40:])
    error = np.abs(regressor.predictor_.predict(x[40:]) - target[40:]).mean()
    assert error < np.abs(target[40:] - target[:40].mean()).mean() / 2
    with pytest.raises(ParameterError, match="regression"):
        regressor.predictor_.predict_proba(x)


def test_an_estimator_without_weights_trains_on_the_kept(wine: Any) -> None:
    x, y, xv, yv = wine
    for final in ("kept", None):
        neighbours = DataValuator(KNeighborsClassifier(1), **SMALL, final=final).fit(x, y, X_valid=xv, y_valid=yv)
        kept = neighbours.selected_ if final else neighbours.valuation_.final_weights() >= 0.5
        # With one neighbour the training rows that were kept are predicted without error.
        np.testing.assert_array_equal(neighbours.predictor_.predict(x[kept]), y[kept])
    with pytest.raises(ParameterError, match="sample_weight"):
        DataValuator(KNeighborsClassifier(1), **SMALL, final="weighted").fit(x, y, X_valid=xv, y_valid=yv)


def test_what_the_final_predictor_is_trained_on(wine: Any) -> None:
    """Of the one nearest neighbour, which knows exactly the rows it was trained on."""
    x, y, xv, yv = wine
    wrong = np.where(np.arange(len(y)) < 20, (y + 1) % 3, y)
    known = {}
    for final in ("kept", "all"):
        fitted = DataValuator(KNeighborsClassifier(1), **SMALL, final=final).fit(x, wrong, X_valid=xv, y_valid=yv)
        known[final] = fitted.predictor_.predict(x) == wrong
    assert known["all"].all()
    assert known["kept"][fitted.selected_].all()
    assert known["kept"][:20].mean() < 0.5  # most of the wrong labels were not kept, so nothing knows them


def test_the_weights_that_were_judged_best_train_the_final_predictor(wine: Any) -> None:
    x, y, xv, yv = wine
    valuator = DataValuator(**SMALL).fit(x, y, X_valid=xv, y_valid=yv)
    judged = valuator.valuation_.final_weights()
    assert judged is not None
    again = fit(valuator.problem_, valuator.prepared_.train, judged, "the same")
    rows = torch.from_numpy(valuator.prepared_.valid.x)
    assert torch.equal(again.predict(rows), valuator.predictor_.fitted.predict(rows))
    unjudged = DataValuator(**SMALL, judge=0).fit(x, y, X_valid=xv, y_valid=yv)
    assert unjudged.valuation_.final_weights() is None
    again = fit(unjudged.problem_, unjudged.prepared_.train, unjudged.values_, "the same")
    assert torch.equal(again.predict(rows), unjudged.predictor_.fitted.predict(rows))


@pytest.mark.parametrize("method", ["dvrl", "shapley"])
@pytest.mark.filterwarnings("ignore:No trusted validation set")
def test_several_label_columns_are_refused_by_name(wine: Any, method: str) -> None:
    x, *_ = wine
    table = pd.DataFrame(x[:, :4], columns=["a", "b", "u", "v"])
    valuator = DataValuator(**SMALL, method=method)
    told = r"one label column\. Got 2: 'u', 'v'\. Name one of them; raydm mix takes several"
    with pytest.raises(ParameterError, match=told):
        valuator.fit(table[:80], ["u", "v"], X_valid=table[80:])
    with pytest.raises(ParameterError, match=told):
        valuator.fit(table, ["u", "v"])
    for y in (x[:, 2:4], x[:, 2:4].tolist()):
        with pytest.raises(ParameterError, match=r"Got 2: '__label_0__', '__label_1__'"):
            valuator.fit(x[:80, :2], y[:80], X_valid=x[80:, :2], y_valid=y[80:])
    with pytest.raises(DataError, match=r"X: no label column 'w'\. The columns are"):
        valuator.fit(table, ["u", "w"])
    with pytest.raises(DataError, match="X: no label column 'w'"):
        valuator.fit(table, "w")


def test_nothing_selected_is_told(wine: Any) -> None:
    x, y, xv, yv = wine
    with pytest.warns(RaydmWarning, match="No example reaches the threshold"):
        DataValuator(**SMALL, threshold=1.0, final="kept").fit(x, y, X_valid=xv, y_valid=yv)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("steps", 1.5),
        ("judge", 1),
        ("judge", True),
        ("restarts", -1),
        ("start", "anywhere"),
        ("evidence", ()),
        ("evidence", "forest"),
        ("evidence", None),
        ("evidence", ("forest", "forest")),
        ("evidence", ("gossip",)),
        ("evidence", (["forest"],)),
        ("policy", "greedy"),
        ("temperature", 0.0),
        ("control_variate", "luck"),
        ("method", "guess"),
        ("method_params", {"permutations": 3}),
        ("outer_batch", 0),
        ("rollouts", 1),
        ("baseline", "mean"),
        ("reward_scale", -1),
        ("reward_scale", "auto"),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("exploration", -1),
        ("threshold", 1.5),
        ("final", "best"),
        ("validation_share", 1.0),
        ("shard", 0),
        ("shard", 1.5),
        ("threshold", "a"),
        ("mean_bounds", 0.5),
        ("mean_bounds", (0.5, "a")),
        ("validation_share", None),
        ("random_state", -1),
        ("metric", "rmse"),
        ("predictor", "perceptron"),
    ],
)
def test_a_parameter_out_of_range_is_named(wine: Any, name: str, value: Any) -> None:
    x, y, xv, yv = wine
    with pytest.raises(ParameterError, match=name):
        DataValuator(**(SMALL | {name: value})).fit(x, y, X_valid=xv, y_valid=yv)


def test_data_that_cannot_be_used_is_named(wine: Any) -> None:
    x, y, xv, yv = wine
    with pytest.raises(ParameterError, match="image"):
        DataValuator("cnn", **SMALL).fit(x, y, X_valid=xv, y_valid=yv)
    with pytest.raises(DataError, match="row 1: 2 is a class that training lacks"):
        DataValuator(**SMALL).fit(x[y < 2], y[y < 2], X_valid=xv, y_valid=yv)
    with pytest.raises(DataError, match="120 rows but y has 119"):
        DataValuator(**SMALL).fit(x, y[1:], X_valid=xv, y_valid=yv)


@pytest.mark.parametrize("baseline", ["leave-one-out", "moving-average"])
def test_flipped_labels_get_low_values(baseline: str) -> None:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    noisy, flipped = flip_labels(y[:500].astype(np.int64), 0.2, n_classes=10, seed=0)
    published = {"evidence": ("validation",), "start": "nothing", "judge": 0}  # what is tested is the loop itself
    learned = DataValuator(baseline=baseline, steps=300, **published).fit(
        x[:500], noisy, X_valid=x[500:600], y_valid=y[500:600]
    )
    assert discovery_auc(learned.values_, flipped) > 0.85


def test_the_defaults_find_nearly_all_flipped_labels() -> None:
    x, y = load_digits(n_class=3, return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    noisy, flipped = flip_labels(y[:200].astype(np.int64), 0.3, n_classes=3, seed=0)
    valuator = DataValuator(steps=4, rollouts=4).fit(x[:200], noisy, X_valid=x[200:230], y_valid=y[200:230])
    assert discovery_auc(valuator.values_, flipped) > 0.97
    assert np.mean((valuator.values_ < 0.5) == flipped) > 0.95  # values are probabilities: no cut is to be found
