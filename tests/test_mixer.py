"""`DataMixer` and `MixedRegressor`: scikit-learn's own checks, every kind of input, and what is left behind.

The world is a line, y = 1 + 2 a - b: rows mixed of any of its rows lie on it, too.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from raydm import DataMixer, DataValuator, MixedRegressor
from raydm.data import vector_column
from raydm.errors import DataError, ParameterError, RaydmWarning
from raydm.mixing.methods import METHODS
from raydm.mixing.tables import PROVENANCE
from raydm.predictors import make_predictor

LINE = {"predictor": "linear", "predictor_params": {"epochs": 2}}
SMALL = {"steps": 2, "rollouts": 4, "repeats": 1, "data_options": [1, 2], "label_options": "1", **LINE}
MIXUP = {"method": "mixup", "method_params": {"alpha": 1.0}, **LINE}  # nothing is chosen, so nothing is trained
HELD_OUT = pytest.mark.filterwarnings("ignore:No trusted validation set")


class FitAlone(DataMixer):
    """`transform` gives X and y, more rows than it was given: it is no transformer in scikit-learn's sense, and the
    checks of transformers (that X alone comes back, row for row) do not apply. All others do."""

    @property
    def transform(self) -> Any:
        raise AttributeError


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([FitAlone(**MIXUP), MixedRegressor(DataMixer(**MIXUP), LinearRegression())])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)  # no check is excepted


def xy(rows: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(rows, 2))
    return x, line(x)


def line(x: Any) -> np.ndarray:
    return 1 + 2 * x[:, 0] - x[:, 1]


def frame(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x, columns=["a", "b"]).assign(y=y)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (*xy(), *xy(12, seed=1))


def fitted(data: Any, **settings: Any) -> DataMixer:
    x, y, xv, yv = data
    return DataMixer(**(SMALL | settings)).fit(x, y, X_valid=xv, y_valid=yv)


# What fit leaves behind


@pytest.mark.parametrize("method", METHODS)
def test_every_method(data: Any, method: str) -> None:
    params = {"steps": 3, "hidden": (4,)} if "adamixup" in method else {}
    mixer = fitted(data, method=method, method_params=params)
    x, y, _, _ = data
    more_x, more_y = mixer.transform(x, y)
    pairs = mixer.pairs_
    assert (len(pairs) > 0) == (method != "none")
    np.testing.assert_array_equal(more_x[:30], x)
    np.testing.assert_array_equal(more_y[:30], y)
    share = pairs.lam[:, None]
    np.testing.assert_allclose(more_x[30:], share * x[pairs.i] + (1 - share) * x[pairs.j])
    np.testing.assert_allclose(more_y, line(more_x))
    assert [h["t"] for h in mixer.history_] == list(range(len(mixer.history_)))
    assert all(h["seconds"] >= 0 for h in mixer.history_)
    assert mixer.total_ in (None, len(mixer.history_))
    assert mixer.seconds_ >= 0
    assert mixer.predictor_.predict(x).shape == (30,)


def test_the_settings_that_were_chosen_are_the_best_candidates(data: Any) -> None:
    mixer = fitted(data)
    assert set(mixer.chosen_) == {"threshold", "pick"}
    best = max(mixer.candidates_, key=lambda c: c["utility"])
    assert mixer.chosen_["threshold"] == best["threshold"]
    assert len(mixer.pairs_) == best["mixed_rows"]
    assert {"t", "seconds", "utility", "utility_min", "utility_max", "mean_h"} == set(mixer.history_[0])


def test_steps_are_yielded_as_they_are_done(data: Any) -> None:
    x, y, xv, yv = data
    mixer = DataMixer(**SMALL)
    steps = mixer.fit_iter(x, y, X_valid=xv, y_valid=yv)
    first = next(steps)
    assert (first.t, first.u.shape, mixer.total_) == (0, (4,), 2)
    with pytest.raises(NotFittedError):
        mixer.transform(x, y)
    assert [s.t for s in steps] == [1]
    assert len(mixer.transform(x, y)[1]) > 30


def test_seeds_decide_everything(data: Any) -> None:
    x, y, xv, yv = data
    one = fitted(data, lam=None, random_state=1)
    again = clone(one).fit(x, y, X_valid=xv, y_valid=yv)
    other = clone(one).set_params(random_state=2).fit(x, y, X_valid=xv, y_valid=yv)
    for got, expected in zip(again.transform(x, y), one.transform(x, y), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert again.candidates_ == one.candidates_
    assert other.candidates_ != one.candidates_


def test_parameters_are_kept_as_they_were_given() -> None:
    settings = {"data_options": [3, 1], "lam": None, "method": "global-knn", "method_params": {"k": 2}}
    mixer = DataMixer(**settings)
    assert settings.items() <= mixer.get_params().items()
    assert clone(mixer).get_params() == mixer.get_params()
    nested = MixedRegressor(mixer, LinearRegression())
    nested.set_params(mixer__method="none", mixer__lam=0.25)
    assert (nested.mixer.method, nested.get_params()["mixer__lam"]) == ("none", 0.25)


@pytest.mark.parametrize("method", METHODS)
def test_pickled_it_mixes_alike(data: Any, method: str) -> None:
    params = {"steps": 3, "hidden": (4,)} if "adamixup" in method else {}
    mixer, (x, y, *_) = fitted(data, method=method, method_params=params), data
    for got, expected in zip(pickle.loads(pickle.dumps(mixer)).transform(x, y), mixer.transform(x, y), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_predictor_is_trained_on_the_mixed_rows_too() -> None:
    # 1-NN knows the two rows; between them it knows the mixed one, too.
    ends, between = np.array([[0.0], [10.0]]), np.array([[5.1]])
    mixer = DataMixer("global-knn", method_params={"k": 1, "distance": "data"}, predictor="neighbors",
                      predictor_params={"k": 1})  # fmt: skip
    mixer.fit(ends, [1.0, 3.0], X_valid=between, y_valid=[2.0])
    assert mixer.predictor_.predict(np.array([[0.1], [4.9], [9.0]])).tolist() == [1, 2, 3]


# Validation rows


@HELD_OUT
def test_rows_that_were_held_out_are_not_mixed_by_fit() -> None:
    x, y = xy(40)
    mixer = DataMixer(**MIXUP, validation_share=0.25).fit(x, y)
    train = mixer.prepared_.train
    assert len(train) == 30
    parents = {*mixer.pairs_.i, *mixer.pairs_.j}
    assert parents <= set(range(40))
    # pairs_ are rows of X: their targets are those of the examples that were trained on, held-out ones are not there
    assert {np.float32(y[row]) for row in parents} <= {*train.y}
    assert max(parents) > 29
    assert len(mixer.transform(x, y)[1]) == 40 + 4 * 40  # transform mixes whatever it is given


def test_without_a_validation_set_it_says_so() -> None:
    with pytest.warns(RaydmWarning, match="8 of the 40 training rows were held out"):
        DataMixer(**MIXUP).fit(*xy(40))


def test_early_stopping_is_by_the_trusted_rows(data: Any) -> None:
    x, y, xv, yv = data
    tiny = {"hidden": [4], "steps": 40, "patience": 1, "check_every": 2}
    mixer = DataMixer("none", predictor_params=tiny).fit(x, y, X_valid=xv, y_valid=yv)
    assert mixer.problem_.predictor.watched is mixer.prepared_.valid
    assert mixer.problem_.predictor.config() == {"name": "mlp", "lr": 1e-3, "batch_size": 32, **tiny}
    other = DataMixer("none", predictor_params=tiny).fit(x, y, X_valid=xv, y_valid=-yv)
    assert not np.array_equal(other.predictor_.predict(x), mixer.predictor_.predict(x))
    alike = DataMixer("none", predictor_params=tiny | {"patience": None})
    a, b = (clone(alike).fit(x, y, X_valid=xv, y_valid=v).predictor_.predict(x) for v in (yv, -yv))
    np.testing.assert_array_equal(a, b)


def test_the_valuator_has_no_rows_to_stop_by(data: Any) -> None:
    x, y, xv, yv = data
    with pytest.raises(
        ParameterError, match=r"stops early, and DataValuator names no rows to do so by\. Take `patience`"
    ):
        DataValuator("mlp", predictor_params={"patience": 2}, method="loo").fit(x, y, X_valid=xv, y_valid=yv)
    mixer = fitted(data)
    watching = make_predictor("mlp", hidden=[4], epochs=2, patience=2).watching(mixer.prepared_.valid)
    values = DataValuator(watching, method="loo").fit(x[:8], y[:8], X_valid=xv, y_valid=yv).values_
    assert np.isfinite(values).all()


# Every kind of input


def test_tables_are_mixed_as_arrays_are(data: Any) -> None:
    x, y, xv, yv = data
    expected_x, expected_y = fitted(data).transform(x, y)
    train, valid = frame(x, y), frame(xv, yv)
    for make in (pd.DataFrame, pa.Table.from_pandas, polars.from_pandas):
        mixer = DataMixer(**SMALL).fit(make(train), "y", X_valid=make(valid))
        more_x, more_y = mixer.transform(make(train), "y")
        np.testing.assert_array_equal(more_y, expected_y)
        assert isinstance(more_x, pd.DataFrame if make is pd.DataFrame else pa.Table)
        np.testing.assert_array_equal(np.stack([more_x["a"], more_x["b"]], 1), expected_x)
        assert len(more_x.columns) == 2
    apart = DataMixer(**SMALL).fit(train[["a", "b"]], y, X_valid=valid[["a", "b"]], y_valid=yv)
    more_x, more_y = apart.transform(train[["a", "b"]], y)
    assert [*more_x.columns] == ["a", "b"]
    np.testing.assert_array_equal(more_x.to_numpy(), expected_x)
    np.testing.assert_array_equal(more_y, expected_y)


def test_lists_and_files(data: Any, tmp_path: Any) -> None:
    x, y, xv, yv = data
    expected_x, expected_y = fitted(data).transform(x, y)
    mixer = DataMixer(**SMALL).fit(x.tolist(), y.tolist(), X_valid=xv.tolist(), y_valid=yv.tolist())
    more_x, more_y = mixer.transform(x.tolist(), y.tolist())
    np.testing.assert_array_equal(more_x, expected_x)
    np.testing.assert_array_equal(more_y, expected_y)
    for name, table in (("train", frame(x, y)), ("valid", frame(xv, yv))):
        table.to_parquet(tmp_path / f"{name}.parquet")
    file = tmp_path / "train.parquet"
    table, more_y = DataMixer(**SMALL).fit(file, "y", X_valid=tmp_path / "valid.parquet").transform(str(file), "y")
    assert table.column_names == ["a", "b"]
    np.testing.assert_array_equal(more_y, expected_y)


@pytest.mark.filterwarnings("ignore:X_valid. 9 of 9 rows")
def test_torch_datasets_and_vectors(data: Any) -> None:
    x, y, xv, yv = data

    class Items(torch.utils.data.Dataset):
        def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
            self.x, self.y = x, y

        def __len__(self) -> int:
            return len(self.y)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, float]:
            return torch.from_numpy(self.x[i]), float(self.y[i])

    mixer = DataMixer(**SMALL).fit(Items(x, y), "y", X_valid=Items(xv, yv))
    table, more_y = mixer.transform(Items(x, y), "y")
    vectors = table["x"].combine_chunks().to_numpy_ndarray()
    np.testing.assert_allclose(more_y, line(vectors))
    assert len(more_y) > 30
    whole = pa.table({"x": vector_column((100 * x).astype(np.int16).reshape(30, 2, 1)), "y": y})
    again = DataMixer("global-knn", method_params={"k": 1, "distance": "data"}, **LINE).fit(
        whole, "y", X_valid=whole[:9]
    )
    more, _ = again.transform(whole, "y")
    shape = (30 + len(again.pairs_), 2, 1)
    assert more["x"].combine_chunks().to_numpy_ndarray().shape == shape


@HELD_OUT
@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_whole_numbers_and_truth_values_become_real(dtype: Any) -> None:
    x, y = xy(40)
    table = pd.DataFrame({"a": x[:, 0], "w": (3 * x[:, 1]).astype(dtype), "when": pd.Timestamp("2020-01-01")})
    table["when"] += pd.to_timedelta(np.arange(40), unit="D")
    more, more_y = DataMixer(**MIXUP).fit_resample(table, y)
    assert more["w"].dtype == np.float64
    np.testing.assert_array_equal(more["w"][:40], table["w"].astype(float))
    assert ((more["when"].diff()[1:40] - 86400).abs() < 1e-6).all()
    assert len(more) == len(more_y) == 200


def test_several_targets(data: Any) -> None:
    x, y, xv, yv = data
    both, both_valid = np.stack([y, 100 - 3 * y], 1), np.stack([yv, 100 - 3 * yv], 1)
    train, valid = (frame(a, b[:, 0]).assign(z=b[:, 1]) for a, b in ((x, both), (xv, both_valid)))
    apart = DataMixer(**SMALL).fit(x, both, X_valid=xv, y_valid=both_valid)
    named = DataMixer(**SMALL).fit(train, ["y", "z"], X_valid=valid)
    more_x, more_y = apart.transform(x, both)
    assert more_y.shape == (len(more_x), 2)
    assert len(more_x) > 30
    np.testing.assert_allclose(more_y, np.stack([line(more_x), 100 - 3 * line(more_x)], 1), atol=1e-9)
    np.testing.assert_array_equal(named.transform(train, ["y", "z"])[1], more_y)
    assert apart.predictor_.predict(x).shape == (30, 2)


def test_other_rows_are_mixed_with_each_other(data: Any) -> None:
    mixer = fitted(data, method="global-knn", method_params={"k": 1, "distance": "data"})
    x = np.array([[0.0, 0], [1, 0], [10, 0], [12, 0]])
    more_x, more_y = mixer.transform(x, line(x))
    assert more_x[4:].tolist() == [[0.5, 0], [11, 0]]  # mutual neighbours are one pair
    assert more_y[4:].tolist() == [2, 23]
    alone, _ = mixer.transform(x[:1], line(x[:1]))
    assert alone.tolist() == [[0, 0]]


def test_missing_numbers_stay_missing_in_what_is_mixed_of_them(data: Any) -> None:
    x, y, xv, yv = data
    x = np.where(np.arange(60).reshape(30, 2) == 6, np.nan, x)  # of row 3
    mixer = DataMixer(**MIXUP).fit(x, y, X_valid=xv, y_valid=yv)
    more_x, more_y = mixer.transform(x, y)
    of_row_3 = (mixer.pairs_.i == 3) | (mixer.pairs_.j == 3)
    assert of_row_3.sum() >= 4
    np.testing.assert_array_equal(np.isnan(more_x[30:]), np.stack([of_row_3, np.zeros_like(of_row_3)], 1))
    assert np.isfinite(more_y).all()


# Refusals


def test_labels_that_are_classes_are_refused(data: Any) -> None:
    x, _, xv, _ = data
    with pytest.raises(
        DataError, match="X, column '__label__', row 1, label 'yes': text cannot be a regression target"
    ):
        DataMixer(**MIXUP).fit(x, ["yes", "no"] * 15, X_valid=xv, y_valid=["yes"] * 12)
    classes = DataValuator(method="knn-shapley").fit(x, [0, 1] * 15, X_valid=xv, y_valid=[0, 1] * 6).prepared_
    with pytest.raises(ParameterError, match="DataMixer mixes for regression, and the labels are classes"):
        list(DataMixer(**MIXUP).iterate(classes))


def test_columns_that_cannot_be_mixed_are_refused_before_learning(data: Any) -> None:
    x, y, xv, yv = data
    train, valid = frame(x, y), frame(xv, yv)
    words = [f"{i} words that are not seen again {i}" for i in range(30)]
    made = DataMixer(**MIXUP)
    with pytest.raises(ParameterError, match=r"X: .*'city' \(categorical\), 'note' \(text\)\. Encode them as numbers"):
        made.fit(train.assign(city=["p", "q"] * 15, note=words), "y",
                 X_valid=valid.assign(city="p", note="short"))  # fmt: skip
    for name in PROVENANCE:
        with pytest.raises(DataError, match=f"X: has the column '{name}', which the mixed rows need"):
            made.fit(train.rename(columns={"b": name}), "y", X_valid=valid.rename(columns={"b": name}))
    assert not hasattr(made, "mixer_")


@pytest.mark.filterwarnings("ignore")
def test_too_few_rows() -> None:
    x, y = xy(8)
    with pytest.raises(DataError, match="n_samples = 1; holding a validation set out needs 2"):
        DataMixer(**MIXUP).fit(x[:1], y[:1])
    with pytest.raises(DataError, match="X: every feature column is constant"):
        DataMixer(**MIXUP).fit(x[:2], y[:2])  # one of the two is held out
    for method in METHODS:
        params = {"steps": 2, "hidden": (4,)} if "adamixup" in method else {}
        mixer = DataMixer(**(SMALL | {"method": method, "method_params": params}))
        more_x, _ = mixer.fit(x[:2], y[:2], X_valid=x[2:], y_valid=y[2:]).transform(x[:2], y[:2])
        assert len(more_x) >= 2
    with pytest.raises(ParameterError, match="Each of 4 training rows has 3 others, and the options begin at 4"):
        DataMixer(data_options="4..9", label_options=[5], **LINE).fit(x[:4], y[:4], X_valid=x[4:], y_valid=y[4:])


def test_what_is_not_finite_is_named(data: Any) -> None:
    x, y, xv, yv = data
    for value, what in ((np.nan, "missing"), (np.inf, "infinite")):
        bad = y.copy()
        bad[4] = value
        with pytest.raises(DataError, match=f"row 5: the label is {what}"):
            DataMixer(**MIXUP).fit(x, bad, X_valid=xv, y_valid=yv)
    bad[4] = np.nan
    with pytest.raises(DataError, match=r"X, column .*, row 5: the label is missing"):  # before rows are held out
        DataMixer(**MIXUP).fit(x, bad)
    far = x.copy()
    far[2, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        DataMixer(**MIXUP).fit(far, y, X_valid=xv, y_valid=yv)


def test_arguments_that_do_not_fit_together(data: Any) -> None:
    x, y, xv, yv = data
    with pytest.raises(ParameterError, match="y_valid was given without X_valid"):
        DataMixer(**MIXUP).fit(x, y, y_valid=yv)
    with pytest.raises(ParameterError, match="requires y to be passed, but the target y is None"):
        DataMixer(**MIXUP).fit(x)
    mixer = fitted(data, **MIXUP)
    with pytest.raises(ParameterError, match=r"transform\(X, y\) adds rows.* use MixedRegressor\(mixer, regressor\)"):
        mixer.transform(x)
    with pytest.raises(DataError, match="30 rows but y has 29"):
        mixer.transform(x, y[1:])
    with pytest.raises(ValueError, match="X has 1 features, but DataMixer is expecting 2"):
        mixer.transform(x[:, :1], y)
    named = DataMixer(**MIXUP).fit(frame(x, y), "y", X_valid=frame(xv, yv))
    with pytest.raises(DataError, match="X: no label column 'y'"):
        named.transform(pa.table({"a": x[:, 0], "b": x[:, 1], "other": y}), "other")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "magic"),
        ("method_params", {"k": 3}),
        ("predictor", "magic"),
        ("predictor", "logistic"),
        ("metric", "accuracy"),
        ("data_options", "0..3"),
        ("label_options", [1.5]),
        ("lam", 1.5),
        ("alpha", 0),
        ("steps", -1),
        ("outer_batch", 0),
        ("rollouts", 1),
        ("baseline", "full-data"),
        ("reward_scale", 0),
        ("learning_rate", 0),
        ("exploration", -1),
        ("mean_bounds", (0.9, 0.1)),
        ("threshold", 1.1),
        ("repeats", 0),
        ("validation_share", 1.0),
        ("shard", 0),
        ("random_state", -1),
    ],
)
def test_a_parameter_out_of_range_is_named(data: Any, name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' parameter"):
        fitted(data, **{name: value})


def test_neither_distance() -> None:
    with pytest.raises(ParameterError, match="needs an option"):
        DataMixer(data_options="none", label_options=[]).check()


def test_predictors_that_need_images(data: Any) -> None:
    x, y, xv, yv = data
    with pytest.raises(ParameterError, match="needs images"):
        fitted(data, predictor="cnn", predictor_params={"epochs": 1})
    images = [pa.table({"x": vector_column(np.outer(a[:, 0], np.ones(16)).reshape(-1, 4, 4, 1)), "y": b})
              for a, b in ((x, y), (xv, yv))]  # fmt: skip
    tiny = {"epochs": 1, "channels": [2]}
    mixer = DataMixer("none", predictor="cnn", predictor_params=tiny).fit(images[0], "y", X_valid=images[1])
    assert mixer.predictor_.predict(images[1]).shape == (12,)


# In scikit-learn's tools


@HELD_OUT
def test_fit_resample_is_fit_and_transform() -> None:
    x, y = xy(40)
    more_x, more_y = DataMixer(**SMALL).fit_resample(x, y)
    mixer = DataMixer(**SMALL).fit(x, y)
    np.testing.assert_array_equal(more_x, mixer.transform(x, y)[0])
    np.testing.assert_allclose(more_y, line(more_x))
    trusted_x, trusted_y = xy(12, seed=1)
    given = DataMixer(**SMALL).fit_resample(x, y, X_valid=trusted_x, y_valid=trusted_y)
    expected = DataMixer(**SMALL).fit(x, y, X_valid=trusted_x, y_valid=trusted_y).transform(x, y)
    np.testing.assert_array_equal(given[0], expected[0])


@HELD_OUT
def test_as_a_step_of_a_pipeline_it_points_to_the_regressor() -> None:
    with pytest.raises(ParameterError, match="use MixedRegressor"):
        make_pipeline(DataMixer(**MIXUP), LinearRegression()).fit(*xy(40))


@HELD_OUT
def test_a_regressor_is_fitted_on_the_rows_and_what_is_mixed_of_them() -> None:
    x, y = xy(40)
    mixed = MixedRegressor(DataMixer(**MIXUP), RandomForestRegressor(5, random_state=0)).fit(x, y)
    expected = RandomForestRegressor(5, random_state=0).fit(*mixed.mixer_.transform(x, y))
    np.testing.assert_array_equal(mixed.predict(x), expected.predict(x))
    alone = RandomForestRegressor(5, random_state=0).fit(x, y)
    assert not np.array_equal(mixed.predict(x), alone.predict(x))
    assert mixed.n_features_in_ == 2


def test_a_regressor_with_a_trusted_set(data: Any) -> None:
    x, y, xv, yv = data
    mixed = MixedRegressor(DataMixer(**SMALL), LinearRegression()).fit(x, y, X_valid=xv, y_valid=yv)
    assert len(mixed.mixer_.prepared_.train) == 30  # nothing was held out, and of nothing it was warned
    np.testing.assert_allclose(mixed.predict(xv), yv)


def test_a_trusted_set_passes_through_a_pipeline(data: Any) -> None:
    x, y, xv, yv = data
    with config_context(enable_metadata_routing=True):
        mixed = MixedRegressor(DataMixer(**MIXUP), LinearRegression()).set_fit_request(X_valid=True, y_valid=True)
        made = Pipeline([("scale", StandardScaler()), ("mix", mixed)], transform_input=["X_valid"])
        made.fit(x, y, X_valid=xv, y_valid=yv)
        np.testing.assert_allclose(made.predict(xv), yv)
    given = made.named_steps["mix"].mixer_.prepared_
    assert (len(given.train), len(given.valid)) == (30, 12)
    expected = (xv - x.mean(0)) / x.std(
        0
    )  # scaled as X is, and then by the mixer, to which X has mean 0 and deviation 1
    np.testing.assert_allclose(given.valid.x, expected, atol=1e-5)


@HELD_OUT
def test_frames_with_an_id_and_a_named_index() -> None:
    x, y = xy(40)
    table = frame(x, y).drop(columns="y").assign(id=np.arange(40)).rename_axis("row")
    table["b"] = (100 * table["b"]).astype(int)
    mixed = MixedRegressor(DataMixer(**MIXUP), LinearRegression()).fit(table, y)
    assert "id" not in mixed.regressor_.feature_names_in_
    assert mixed.predict(table[:7]).shape == (7,)
    with pytest.raises(ValueError, match="feature names should match"):
        mixed.predict(table.rename(columns={"a": "other"}))


@HELD_OUT
def test_several_targets_reach_the_regressor() -> None:
    x, y = xy(40)
    mixed = MixedRegressor(DataMixer(**MIXUP), RandomForestRegressor(3)).fit(x, np.stack([y, -y], 1))
    assert mixed.predict(x).shape == (40, 2)


@HELD_OUT
def test_in_a_pipeline_under_grid_search() -> None:
    x, y = xy(60)
    steps = [("scale", StandardScaler()), ("forest", MixedRegressor(DataMixer(**MIXUP), RandomForestRegressor(4)))]
    grid = {"forest__mixer__method_params": [{"alpha": 0.5}, {"alpha": 2.0}], "forest__regressor__max_depth": [1, 4]}
    search = GridSearchCV(Pipeline(steps), grid, cv=2, error_score="raise").fit(x, y)
    assert search.best_params_["forest__regressor__max_depth"] == 4  # a line needs more than two leaves
    best = search.best_estimator_.named_steps["forest"]
    assert best.mixer_.chosen_ == search.best_params_["forest__mixer__method_params"]
    assert search.predict(x).shape == (60,)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 4


@HELD_OUT
def test_whether_to_mix_at_all_can_be_searched() -> None:
    x, y = xy(40)
    mixed = MixedRegressor(DataMixer(**LINE, repeats=1), RandomForestRegressor(4, random_state=0))
    grid = {"mixer__method": ["none", "global-knn"]}
    search = GridSearchCV(mixed, grid, cv=2, error_score="raise").fit(x, y)
    assert search.cv_results_["mean_test_score"][0] != search.cv_results_["mean_test_score"][1]
