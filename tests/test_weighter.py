"""`DataWeighter` on tables, images and texts: what it learns, several seeds, what its weights are good for."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from text_kit import write_tiny_bert
from torch import nn

from raydm import DataWeighter
from raydm.data.examples import Examples
from raydm.errors import DataError, ParameterError, RaydmWarning
from raydm.joint_training.seeds import done
from raydm.predictors import SGD
from raydm.predictors.module import Module

QUICK = {"epochs": 2, "warm_up": 1, "predictor_params": {"device": "cpu"}}


def rows(counts, seed=0):
    """Two classes of 6 numbers, their means 2 apart in the first."""
    rng = np.random.default_rng(seed)
    y = np.repeat(["no", "yes"], counts)
    x = rng.normal(size=(len(y), 6))
    x[:, 0] += np.where(y == "yes", 1.0, -1.0)
    order = rng.permutation(len(y))
    return x[order], y[order]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("weighter") / "tiny")


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    words = [["bad", "poor", "awful", "dull"], ["good", "great", "fine", "superb"]]
    return [f"the film is {rng.choice(words[k])} {' and the story' * rng.integers(0, 2)}" for k in y], y


def images(n, seed=0, channels=1):
    """Bright images are of class 1."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return (rng.integers(0, 100, (n, 6, 6, channels)) + 120 * y[:, None, None, None]).astype(np.uint8), y


def test_wrong_labels_get_little_weight_and_the_predictor_is_better_than_without():
    x, y = rows((100, 100))
    wrong = np.random.default_rng(1).random(200) < 0.3
    noisy = np.where(wrong, np.where(y == "yes", "no", "yes"), y)
    x_valid, y_valid = rows((30, 30), seed=2)
    x_test, y_test = rows((300, 300), seed=3)
    settings = {"epochs": 4, "warm_up": 1, "predictor_params": {"device": "cpu", "hidden": [16]}}
    base = DataWeighter("base", **settings).fit(x, noisy, X_valid=x_valid, y_valid=y_valid)
    weighter = DataWeighter(**settings).fit(x, noisy, X_valid=x_valid, y_valid=y_valid)
    assert weighter.weights_.shape == (200,)
    assert weighter.weights_.mean() == pytest.approx(1, abs=1e-3)
    assert weighter.weights_[wrong].mean() < 0.8 * weighter.weights_[~wrong].mean()
    said = weighter.predict(x_test)
    assert (said == y_test).mean() > (base.predict(x_test) == y_test).mean() + 0.02
    assert set(said) == {"no", "yes"}
    np.testing.assert_array_equal(said, np.array(["no", "yes"])[weighter.predict_proba(x_test).argmax(-1)])
    other = LogisticRegression().fit(x, noisy, sample_weight=weighter.weights_)
    assert (other.predict(x_test) == y_test).mean() > 0.75
    assert [point["epoch"] for point in weighter.curve_] == list(range(5))
    assert weighter.history_[-1]["t"] == len(weighter.history_) - 1
    assert weighter.memory_.total > 0
    again = DataWeighter(**settings).fit(x, noisy, X_valid=x_valid, y_valid=y_valid)
    np.testing.assert_array_equal(again.weights_, weighter.weights_)


def test_methods_without_learning_give_the_weights_that_they_promise():
    x, y = rows((10, 40))
    valid = dict(zip(("X_valid", "y_valid"), rows((5, 5), 1), strict=True))
    fitted = {m: DataWeighter(m, **QUICK).fit(x, y, **valid) for m in ("base", "base+valid", "proportion")}
    for method in ("base", "base+valid"):
        np.testing.assert_array_equal(fitted[method].weights_, np.ones(50))
    np.testing.assert_allclose(fitted["proportion"].weights_, np.where(y == "no", 2.5, 0.625))


def test_rare_examples_count_more():
    x, y = rows((10, 90))
    x_valid, y_valid = rows((10, 10), 2)
    params = {"device": "cpu", "hidden": [16]}
    for method in ("weight", "ren2018"):
        fitted = DataWeighter(method, epochs=4, warm_up=1, predictor_params=params)
        fitted.fit(x, y, X_valid=x_valid, y_valid=y_valid)
        assert fitted.weights_[y == "no"].mean() > 2 * fitted.weights_[y == "yes"].mean()


def test_the_sampler_draws_rows_as_often_as_they_count():
    x, y = rows((10, 40))
    valid = dict(zip(("X_valid", "y_valid"), rows((5, 5), 1), strict=True))
    weighter = DataWeighter("proportion", **QUICK).fit(x, y, **valid)
    drawn = np.fromiter(weighter.sampler(4000), int)
    assert len(drawn) == 4000
    assert (y[drawn] == "no").mean() == pytest.approx(0.5, abs=0.03)
    assert len(list(weighter.sampler())) == 50
    assert list(weighter.sampler(20)) == list(weighter.sampler(20))
    with pytest.raises(ParameterError, match="'num_samples' parameter of DataWeighter"):
        weighter.sampler(0)


def test_several_seeds_are_several_trainings_wherever_they_run():
    x, y = rows((30, 30))
    valid = dict(zip(("X_valid", "y_valid"), rows((8, 8), 1), strict=True))
    singles = [DataWeighter(random_state=seed, **QUICK).fit(x, y, **valid) for seed in (3, 4)]
    both = DataWeighter(random_state=3, seeds=2, **QUICK).fit(x, y, **valid)
    np.testing.assert_allclose(both.weights_, np.mean([s.weights_ for s in singles], 0))
    assert not np.array_equal(singles[0].weights_, singles[1].weights_)
    assert [o.seed for o in both.outcomes_] == [3, 4]
    assert both.total_ == len(both.history_) == 2 * len(singles[0].history_)
    x_test, y_test = rows((30, 30), 5)
    encoded = Examples(
        both.predictor_.encoder.transform(_table(x_test), name="t"), (y_test == "yes").astype(int), y_test
    )
    assert both.scores(encoded).tolist() == [float(s.scores(encoded)[0]) for s in singles]
    calls = []

    def elsewhere(function, cases):
        calls.append(len(cases))
        assert function is done
        return map(function, cases)

    other = DataWeighter(random_state=3, seeds=2, run=elsewhere, **QUICK).fit(x, y, **valid)
    assert calls == [2]
    np.testing.assert_array_equal(other.weights_, both.weights_)
    assert [line["utility"] for line in other.history_] == pytest.approx(
        [line["utility"] for line in both.history_], nan_ok=True
    )


def _table(x):
    return pa.table({f"x{i}": x[:, i] for i in range(x.shape[1])})


def test_images_without_a_table():
    x, y = images(40)
    x_valid, y_valid = images(12, 1)
    params = {"device": "cpu", "widths": [4, 4, 4]}
    weighter = DataWeighter(epochs=3, warm_up=1, predictor_params=params).fit(x, y, X_valid=x_valid, y_valid=y_valid)
    assert weighter.prepared_.train.x.shape == (40, 1, 6, 6)
    assert weighter.problem_.predictor.config()["channels"] == 1
    flat = DataWeighter("base", epochs=0, warm_up=1, predictor_params=params)
    assert flat.fit(x[..., 0], y, X_valid=x_valid[..., 0], y_valid=y_valid).prepared_.train.x.shape == (40, 1, 6, 6)
    assert weighter.predict(images(20, 2)[0]).shape == (20,)
    by_column = DataWeighter("base", image="photo", epochs=0, warm_up=1, predictor_params=params)
    tables = [pa.table({"photo": of[..., 0].tolist(), "y": which}) for of, which in ((x, y), (x_valid, y_valid))]
    by_column.fit(tables[0], "y", X_valid=tables[1])
    assert by_column.prepared_.train.x.shape == (40, 1, 6, 6)


def test_images_in_tensors_are_those_in_arrays_and_channels_are_not_taken_for_rows():
    x, y = images(20)
    x = np.concatenate([x] * 3, -1)
    plain = DataWeighter("base", epochs=0, warm_up=1, predictor_params={"device": "cpu", "widths": [2, 2, 2]})
    expected = clone(plain).fit(x, y, X_valid=x[:8] // 2, y_valid=y[:8]).prepared_.train.x
    first = torch.from_numpy(x).permute(0, 3, 1, 2)
    for tensor in (torch.from_numpy(x), first):
        got = clone(plain).fit(tensor, torch.from_numpy(y), X_valid=tensor[:8] // 2, y_valid=y[:8])
        np.testing.assert_array_equal(got.prepared_.train.x, expected)
        assert got.predict(tensor).shape == (20,)
    with pytest.raises(DataError, match=r"\(20, 3, 6, 6\) seem to have their channels first"):
        clone(plain).fit(first.numpy(), y, X_valid=x[:8], y_valid=y[:8])


def test_texts_in_a_list_and_in_a_column(tiny):
    x, y = texts(30)
    x_valid, y_valid = texts(12, 1)
    settings = {"epochs": 2, "warm_up": 1, "model": str(tiny), "predictor_params": {"device": "cpu", "lr": 1e-3}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RaydmWarning)  # texts so short repeat
        weighter = DataWeighter(**settings).fit(x, y, X_valid=x_valid, y_valid=y_valid)
        train = pd.DataFrame({"t": x, "other": 1.5, "y": y})
        valid = pd.DataFrame({"t": x_valid, "other": 2.5, "y": y_valid})
        by_column = DataWeighter(text="t", **settings).fit(train, "y", X_valid=valid)
        trusted = DataWeighter("base+valid", text="t", **settings).fit(train[:4], "y", X_valid=valid)
    assert weighter.prepared_.train.x.dtype == np.int64
    np.testing.assert_array_equal(by_column.weights_, weighter.weights_)
    np.testing.assert_array_equal(by_column.predict(valid), weighter.predict(x_valid))
    assert trusted.prepared_.train.x.shape[1] == trusted.prepared_.valid.x.shape[1]


def test_rows_that_are_held_out_have_weight_one():
    x, y = rows((30, 30))
    with pytest.warns(RaydmWarning, match="held out"):
        weighter = DataWeighter("proportion", **QUICK).fit(x, y)
    assert weighter.weights_.shape == (60,)
    assert (weighter.weights_ == 1).sum() >= 12


def test_a_class_that_no_trusted_row_has_is_warned_of():
    x, y = rows((20, 20))
    with pytest.warns(RaydmWarning, match=r"No trusted row is of the classes \['no'\]"):
        DataWeighter("base", **QUICK).fit(x, y, X_valid=x[y == "yes"] + 0.1, y_valid=y[y == "yes"])


def test_regression_and_a_module_of_ones_own():
    x, _ = rows((30, 30))
    y = x[:, 0] - x[:, 1]
    own = Module(lambda d, c: nn.Linear(d, c), optimizer=SGD(0.05), batch_size=20, epochs=1, device="cpu")
    valid = {"X_valid": x[:10] + 0.01, "y_valid": y[:10]}
    weighter = DataWeighter(predictor=own, epochs=6, warm_up=2).fit(x, y, **valid)
    assert weighter.problem_.metric.name == "rmse"
    assert np.sqrt(np.mean((weighter.predict(x) - y) ** 2)) < 0.6
    with pytest.raises(ParameterError, match="proportion"):
        DataWeighter("proportion", **QUICK).fit(x, y, **valid)


def test_it_is_a_scikit_learn_estimator():
    weighter = DataWeighter("ren2018", decay=3.0, seeds=2)
    assert clone(weighter).get_params() == weighter.get_params()
    assert "decay" in weighter.get_params()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"method": "magic"}, "method.*'base'"),
        ({"seeds": 0}, "seeds"),
        ({"random_state": -1}, "random_state"),
        ({"epochs": 0, "warm_up": 0}, "untrained"),
        ({"decay": 0.5}, "decay"),
        ({"task": "ranking"}, "task"),
        ({"validation_share": 1.0}, "validation_share"),
        ({"text": "t", "image": "i"}, "Got both"),
        ({"text": "t"}, "needs a model"),
        ({"text": "t", "model": "a", "predictor": "text:b"}, "two models"),
        ({"model": "a"}, "is for texts"),
        ({"predictor": "resnet-8"}, "reads a table; 'resnet-8' reads an image"),
        ({"predictor": "forest"}, "predictor"),
        ({"predictor": nn.Linear(2, 2)}, "predictor"),
        ({"predictor_params": {"depth": 9}}, "cannot be made"),
        ({"image_size": (8, 8)}, "image_size is for"),
        ({"image": "i", "image_size": (8,)}, "image_size"),
        ({"length": 2, "text": "t", "model": "a"}, "length"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, match):
    x, y = rows((10, 10))
    weighter = DataWeighter(**arguments)
    with pytest.raises(ParameterError, match=match):
        weighter.fit(x, y, X_valid=x[:6] + 0.1, y_valid=y[:6])


def test_data_that_cannot_be_read_are_refused(tiny):
    x, y = rows((10, 10))
    train = pd.DataFrame({"t": ["good"] * 20, "y": y})
    with pytest.raises(DataError, match="no feature column 'text'"):
        DataWeighter(text="text", model=str(tiny)).fit(train, "y", X_valid=train)
    with pytest.raises(DataError, match="nowhere"):
        DataWeighter(text="t", model="nowhere/at/all").fit(train, "y", X_valid=train)
    with pytest.raises(DataError, match="labels"):
        DataWeighter(**QUICK).fit(x, y[:5], X_valid=x, y_valid=y)


def test_the_threads_and_the_global_generator_are_left_alone():
    x, y = rows((20, 20))
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    DataWeighter(**QUICK).fit(x, y, X_valid=x[:10] + 0.1, y_valid=y[:10])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
