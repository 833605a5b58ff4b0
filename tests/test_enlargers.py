"""`DataAugmenter` and `DataSynthesizer`: predictors, and new rows in the user's own form."""

from __future__ import annotations

import json
import pickle
import warnings
from datetime import date, datetime, time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.base import clone
from text_kit import write_tiny_bert

from raydm import DataAugmenter, DataSynthesizer
from raydm.errors import ParameterError, RaydmError, RaydmWarning

QUICK = {"epochs": 2, "warm_up": 1, "predictor_params": {"device": "cpu", "hidden": [16]}}
BOTH = (DataAugmenter, DataSynthesizer)
PLAIN = {DataAugmenter: "fixed", DataSynthesizer: "untuned"}


def rows(n, seed=0):
    """Two classes of 4 numbers, their means 4 apart in the first, and far from 0."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(["no", "yes"], n // 2))
    x = rng.normal(size=(n, 4)) + np.array([100.0, 0, 0, 0])
    x[:, 0] += np.where(y == "yes", 2.0, -2.0)
    return x, y


def frame(n, seed=0):
    """Columns of many types; the class is seen in the number and the word."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(["no", "yes"], n // 2))
    yes = y == "yes"
    made = pd.DataFrame({"id": [f"{seed}-{k}" for k in range(n)], "size": rng.normal(50, 5, n) + 20 * yes})
    made["count"] = rng.integers(0, 100, n) + 100 * yes
    made["colour"] = np.where(rng.random(n) < 0.8, np.where(yes, "red", "blue"), "green")
    made["on"] = rng.random(n) < 0.5
    made["when"] = [datetime(2020, 1, 1 + int(d), 12) for d in rng.integers(0, 28, n)]
    made["day"] = [date(2021, 1, 1 + int(d)) for d in rng.integers(0, 28, n)]
    made["same"] = 7
    made["holes"] = np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))
    made["y"] = y
    return made


def images(n, seed=0, channels=1):
    """Bright images are of class 1."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    return (rng.integers(0, 100, (n, 6, 6, channels)) + 120 * y[:, None, None, None]).astype(np.uint8), y


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    words = [["bad", "poor", "awful", "dull"], ["good", "great", "fine", "superb"]]
    return [f"the {rng.choice(['film', 'plot', 'actor'])} is {rng.choice(words[k])} and the story" for k in y], y


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("enlarger") / "tiny")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def fitted(cls, method, x, y, valid, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RaydmWarning)  # sets so small repeat
        return cls(method, **{**QUICK, **more}).fit(x, y, X_valid=valid[0], y_valid=valid[1])


@pytest.mark.parametrize("cls", BOTH)
def test_an_array_gives_an_array_in_its_own_units(cls):
    x, y = rows(60)
    more = {"epochs": 6, "predictor_params": {**QUICK["predictor_params"], "lr": 0.02}}  # a few steps are to do
    made = fitted(cls, "learned", x, y, rows(20, 1), **more)
    new, labels = made.rows(200)
    assert new.shape == (200, 4)
    assert set(labels) == {"no", "yes"}
    assert 96 < new[labels == "no", 0].mean() < 99.5 < 100.5 < new[labels == "yes", 0].mean() < 104
    np.testing.assert_array_equal(made.rows(5)[0], new[:5])
    x_test, y_test = rows(200, 2)
    assert (made.predict(x_test) == y_test).mean() > 0.85
    assert made.predict_proba(x_test).shape == (200, 2)
    assert [point["epoch"] for point in made.curve_] == list(range(7))
    assert made.memory_.total > 0
    assert made.seconds_ > 0
    assert len(made.history_) == made.total_
    again = fitted(cls, "learned", x, y, rows(20, 1), **more)
    np.testing.assert_array_equal(again.rows(200)[0], new)


def test_a_fixed_augmentation_adds_the_noise_that_it_says_to_its_parents():
    x, y = rows(60)
    made = fitted(DataAugmenter, "fixed", x, y, rows(20, 1), noise=0.2, masked=1e-6)
    table = made.table(600)
    parent = table.column("parent_id").to_numpy()
    assert np.bincount(parent, minlength=60).tolist() == [10] * 60
    new, labels = made.rows(600)
    np.testing.assert_array_equal(labels, y[parent])
    np.testing.assert_allclose((new - x[parent]).std(0), 0.2 * x.std(0), rtol=0.12)
    assert [row["feature"] for row in made.summary_] == ["x0", "x1", "x2", "x3"]
    assert {round(row["noise"], 5) for row in made.summary_} == {0.2}


@pytest.mark.parametrize("cls", BOTH)
def test_a_data_frame_gives_its_own_columns_and_types(cls):
    train, valid = frame(80), frame(20, 1)
    made = fitted(cls, PLAIN[cls], train, "y", (valid, None))
    assert made.table(0).schema.equals(made.table(3).schema)
    new, labels = made.rows(100)
    assert list(new.columns) == [*train.columns.drop("id")]
    assert new["y"].tolist() == labels.tolist()
    assert set(new["colour"]) <= {"red", "blue", "green"}
    assert new["count"].dtype == train["count"].dtype
    assert new["on"].dtype == bool
    assert (new["same"] == 7).all()
    assert 0 < new["holes"].isna().sum() < 100
    assert new["when"].between("2019-12-01", "2020-03-01").all()
    assert all(isinstance(day, date) for day in new["day"])
    assert new["size"][labels == "yes"].mean() - new["size"][labels == "no"].mean() > 12
    table = made.table(100)
    schema = pa.Schema.from_pandas(train, preserve_index=False)
    for name in new.columns:
        was, became = schema.field(name).type, table.schema.field(name).type
        assert became == was or (pa.types.is_string(became) and pa.types.is_large_string(was)), name
    parents = table.column("parent_id").to_pylist()
    if cls is DataAugmenter:
        assert set(parents) <= set(train.id)
        parent = train.set_index("id").loc[parents]
        assert (new["y"].to_numpy() == parent["y"].to_numpy()).all()
        assert (new["colour"].to_numpy() == parent["colour"].to_numpy()).mean() > 0.8
        masked = [name for how in table.column("how").to_pylist() for name in json.loads(how)["masked"]]
        assert set(masked) <= set(made.prepared_.encoder.feature_names)
    else:
        assert set(parents) == {None}
    assert set(table.column("seed").to_pylist()) == {0}


def test_what_is_no_float_stays_within_its_range():
    rng = np.random.default_rng(0)
    y = np.repeat(["no", "yes"], 20)
    made = pa.table({
        "count": pa.array(rng.integers(0, 3, 40), pa.uint8()),
        "flag": pa.array(rng.integers(0, 2, 40), pa.int64()),
        "price": pa.array([Decimal(int(v)) / 100 for v in rng.integers(1, 999, 40)], pa.decimal128(3, 2)),
        "at": pa.array([time(int(h), 30) for h in rng.integers(0, 24, 40)], pa.time32("s")),
        "free": rng.normal(size=40),
        "y": y,
    })  # fmt: skip
    valid = made.slice(0, 10).set_column(4, "free", pa.array(np.linspace(5, 6, 10)))
    table = fitted(DataAugmenter, "fixed", made, "y", (valid, None), noise=5.0, masked=1e-6).table(200)
    assert table.schema.types[:5] == made.schema.types[:5]
    for name in ("count", "flag", "price", "at"):
        low, high = pc.min_max(made[name]).as_py().values()
        assert pc.min_max(table[name]).as_py() == {"min": low, "max": high}
    assert pc.max(table["free"]).as_py() > 2 * pc.max(made["free"]).as_py()


@pytest.mark.parametrize("targets", [np.arange(40) + 2**40, np.arange(40) + 1 / 3], ids=["whole", "fractions"])
def test_labels_are_their_parents_to_the_bit(targets):
    x, _ = rows(40)
    table = pa.table({"a": x[:, 0], "b": x[:, 1], "y": targets})
    valid = table.slice(0, 10).set_column(0, "a", pa.array(x[:10, 0] + 0.1))
    made = fitted(DataAugmenter, "fixed", table, "y", (valid, None), task="regression").table(50)
    assert made["y"].to_pylist() == targets[made["parent_id"].to_numpy()].tolist()
    assert made["y"].type == table["y"].type


def test_provenance_stands_aside_for_columns_of_its_name():
    train, valid = (frame(20, seed).rename(columns={"size": "how"})[["how", "y"]] for seed in (0, 1))
    table = fitted(DataSynthesizer, "untuned", train, "y", (valid, None)).table(3)
    assert table.column_names == ["how", "y", "parent_id", "how_", "seed", "draw"]


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("flat", [True, False])
def test_images_come_back_as_pixels(cls, flat):
    (x, y), (x_valid, y_valid) = images(40), images(12, 1)
    x, x_valid = (x[..., 0], x_valid[..., 0]) if flat else (x, x_valid)
    params = {"device": "cpu", "widths": [2, 2, 2]}
    more = {"predictor_params": params, "epochs": 1} | ({"operations": ["flip"]} if cls is DataAugmenter else {})
    made = fitted(cls, "learned", x, y, (x_valid, y_valid), **more)
    assert made.rows(0)[0].shape == (0, *x.shape[1:])
    new, labels = made.rows(30)
    assert new.dtype == np.uint8
    assert new.shape == (30, *x.shape[1:])
    assert new[labels == 1].mean() - new[labels == 0].mean() > 80
    if cls is DataAugmenter:  # each is its parent or its mirror image, to the pixel
        assert [row["operation"] for row in made.summary_] == ["flip"]
        for image, parent in zip(new, made.table(30).column("parent_id").to_pylist(), strict=True):
            assert (image == x[parent]).all() or (image == x[parent][:, ::-1]).all()
    else:
        assert "tangent" in made.summary_[-1]["scale"]
        assert made.summary_[0]["fitted"] != made.summary_[0]["learned"]


@pytest.mark.parametrize("kind", [np.int16, np.float64])
def test_images_keep_the_type_of_their_pixels(kind):
    (x, y), (x_valid, y_valid) = images(20), images(12, 1)
    more = {"predictor_params": {"device": "cpu", "widths": [2, 2, 2]}, "epochs": 1, "operations": ["brightness"]}
    made = fitted(DataAugmenter, "learned", x.astype(kind), y, (x_valid.astype(kind), y_valid), **more)
    new, _ = made.rows(30)
    assert new.dtype == kind
    assert x.min() <= new.min() < 10 < 100 < new.max() <= x.max()


@pytest.mark.parametrize("cls", BOTH)
def test_texts_come_back_as_strings(cls, tiny):
    (x, y), valid = texts(24), texts(10, 1)
    more = {"model": str(tiny), "fit_epochs": 1, "predictor_params": {"device": "cpu"}, "epochs": 1}
    made = fitted(cls, "learned", x, y, valid, **more)
    assert made.rows(0)[0] == []
    new, labels = made.rows(6)
    assert all(isinstance(text, str) and "[" not in text.replace("[UNK]", "") for text in new)
    hows = [json.loads(how) for how in made.table(6).column("how").to_pylist()]
    for text, how in zip(new, hows, strict=True):
        assert all(word.replace("#", "") in text for word in how["words"] if word)
    if cls is DataAugmenter:
        assert labels.tolist() == [y[p] for p in made.table(6).column("parent_id").to_pylist()]
    else:
        assert all(0 <= how["length_of"] < 24 for how in hows)


def test_synonyms_change_the_text_itself(tiny):
    x, y = texts(24)
    x[0] = "The FILM  is good, and the story"
    more = {"model": str(tiny), "predictor_params": {"device": "cpu"}, "epochs": 1}
    made = fitted(
        DataAugmenter, "synonyms", x, y, texts(10, 1), wordnet=_synonyms, **more
    )  # fmt: skip
    table = made.table(24)
    at = table.column("parent_id").to_pylist().index(0)
    assert table.column("x").to_pylist()[at] == "The MOVIE  is good, and the story"
    assert json.loads(table.column("how").to_pylist()[at]) == {"by": "synonyms"}


def _synonyms(word):
    return {"film": ["movie"]}.get(word, [])


@pytest.mark.parametrize(("cls", "method"), [
    (DataAugmenter, "learned"), (DataAugmenter, "synonyms"), (DataSynthesizer, "learned"), (DataSynthesizer, "none"),
])  # fmt: skip
def test_seeds_of_texts_may_be_trained_elsewhere(cls, method, tiny):
    (x, y), valid = texts(24), texts(10, 1)
    more = {"model": str(tiny), "fit_epochs": 1, "predictor_params": {"device": "cpu"}, "epochs": 1, "seeds": 2}
    more |= {"wordnet": _synonyms} if method == "synonyms" else {}
    _alike(fitted(cls, method, x, y, valid, **more), fitted(cls, method, x, y, valid, run=_elsewhere, **more))


@pytest.mark.parametrize(("cls", "method"), [
    (DataAugmenter, "learned"), (DataAugmenter, "fixed"), (DataSynthesizer, "learned"),
])  # fmt: skip
def test_seeds_of_images_may_be_trained_elsewhere(cls, method):
    (x, y), valid = images(40), images(12, 1)
    more = {"predictor_params": {"device": "cpu", "widths": [2, 2, 2]}, "epochs": 1, "seeds": 2}
    _alike(fitted(cls, method, x, y, valid, **more), fitted(cls, method, x, y, valid, run=_elsewhere, **more))


def _elsewhere(function, cases):
    """As another process would have it: all that goes there and comes back is pickled."""
    for case in cases:
        yield pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(case)))))


def _alike(here, there):
    assert [o.seed for o in there.outcomes_] == [0, 1]
    assert sum(o.learned is not None for o in there.outcomes_) == (there.maker_ is not None)  # of the best alone
    assert there.curve_ == here.curve_
    assert there.summary_ == here.summary_
    np.testing.assert_equal([s["utility"] for s in there.history_], [s["utility"] for s in here.history_])
    if here.maker_ is not None:
        assert there.table(70).equals(here.table(70))


@pytest.mark.parametrize("cls", BOTH)
def test_methods_without_new_rows_say_so(cls):
    x, y = rows(20)
    for method in ("none", "base+valid"):
        made = fitted(cls, method, x, y, rows(10, 1))
        assert made.summary_ == []
        with pytest.raises(RaydmError, match="no new rows"):
            made.rows(3)


@pytest.mark.parametrize("cls", BOTH)
def test_several_seeds_and_held_out_rows(cls):
    x, y = rows(40)
    with pytest.warns(RaydmWarning, match="held out"):
        made = cls(PLAIN[cls], seeds=2, random_state=3, **QUICK).fit(x, y)
    assert {point["seed"] for point in made.curve_} == {3, 4}
    assert made.scores(made.prepared_.valid).shape == (2,)
    if cls is DataAugmenter:
        parent = made.table(30).column("parent_id").to_pylist()
        new, labels = made.rows(30)
        assert (y[parent] == labels).all()
        assert np.abs(new - x[parent]).mean() < 0.3


def test_regression_is_augmented_and_not_synthesized():
    x, _ = rows(40)
    y = x[:, 0] * 10
    made = fitted(DataAugmenter, "fixed", x, y, (x[:10] + 0.01, y[:10]), noise=0.01, masked=1e-6)
    new, targets = made.rows(50)
    np.testing.assert_allclose(targets, new[:, 0] * 10, rtol=0.01)
    with pytest.raises(ParameterError, match="classification"):
        fitted(DataSynthesizer, "untuned", x, y, (x[:10] + 0.01, y[:10]))
    with pytest.raises(ParameterError, match="'per_class'"):
        fitted(DataAugmenter, "fixed", x, y, (x[:10] + 0.01, y[:10]), per_class=True)


@pytest.mark.parametrize("cls", BOTH)
def test_they_are_scikit_learn_estimators(cls):
    made = cls(PLAIN[cls], epochs=3, seeds=2)
    assert clone(made).get_params() == made.get_params()


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"method": "magic"}, "method"),
        ({"seeds": 0}, "seeds"),
        ({"epochs": 0, "warm_up": 0}, "untrained"),
        ({"share": 1.0}, "share"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"keep": "first"}, "keep"),
        ({"language_model": "a"}, "is for texts"),
        ({"predictor": "resnet-8"}, "reads a table"),
    ],
)
def test_arguments_out_of_range_are_refused(cls, arguments, match):
    x, y = rows(10)
    with pytest.raises(ParameterError, match=match):
        cls(**arguments).fit(x, y, X_valid=x[:6] + 0.1, y_valid=y[:6])


@pytest.mark.parametrize("cls", BOTH)
def test_texts_of_a_table_are_refused_before_anything_is_learned(cls):
    train = frame(20)[["size", "y"]].assign(said=[f"good words and words of row {k}" for k in range(20)])
    made = cls(PLAIN[cls], **QUICK)
    with pytest.raises(ParameterError, match="'said' holds texts"):
        made.fit(train, "y", X_valid=train.assign(size=train["size"] + 1))
    assert not hasattr(made, "history_")
