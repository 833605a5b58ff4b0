"""Named sets: splits that are disjoint and drawn by the seed, with content that is known."""

import os
import subprocess
import sys

import numpy as np
import pyarrow.compute as pc
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from raydm.data import (
    SETS,
    TableEncoder,
    describe_sets,
    fingerprint,
    flip_labels,
    infer_roles,
    load_set,
    readers,
    to_array,
)
from raydm.errors import MissingPackageError, ParameterError
from raydm.metrics import discovery_auc

EMBEDDED = {"breast_cancer": 569, "digits": 1797, "diabetes": 442, "synthetic": 5000, "wine": 178}
IN_FOLDER = sorted(set(SETS) - set(EMBEDDED))
needs_folder = pytest.mark.skipif("RAYDM_DATA" not in os.environ, reason="RAYDM_DATA names no data folder")

# name: training and validation rows, test rows, a row's image shape
SIZES = {
    "adult": (1000, 400, 16_281, None),
    "breast_cancer": (300, 60, 209, None),
    "cifar10": (1000, 400, 2000, (32, 32, 3)),
    "diabetes": (250, 60, 132, None),
    "digits": (1000, 100, 697, (8, 8, 1)),
    "enron1": (1000, 200, 2000, None),
    "fashion_mnist": (1000, 400, 2000, (28, 28, 1)),
    "imdb": (1000, 200, 2000, None),
    "mnist": (1000, 400, 2000, (28, 28, 1)),
    "no2": (200, 100, 200, None),
    "sms_spam": (1000, 200, 2000, None),
    "sst2": (1000, 200, 1821, None),
    "sst5": (1000, 200, 2210, None),
    "synthetic": (1000, 100, 2000, None),
    "thin_film": (500, 300, 300, None),
    "trec": (1000, 200, 500, None),
    "usps": (1000, 400, 2000, (16, 16, 1)),
    "wine": (90, 30, 58, None),
}


@pytest.mark.parametrize("name", [*EMBEDDED, *(pytest.param(name, marks=needs_folder) for name in IN_FOLDER)])
def test_every_set_as_described(name):
    loaded = load_set(name, seed=0)
    n_train, n_valid, n_test, shape = SIZES[name]
    parts = [loaded.train, loaded.valid, loaded.test]
    assert [part.num_rows for part in parts] == [n_train, n_valid, n_test]
    ids = np.concatenate([part["id"].to_numpy() for part in parts])
    assert len(np.unique(ids)) == len(ids)
    assert 0 <= ids.min() <= ids.max() < SETS[name].rows
    assert len({str(part.schema) for part in parts}) == 1
    roles = infer_roles(loaded.train, label=loaded.label)
    assert roles.id == "id"
    encoder = TableEncoder.fit(loaded.train, roles)
    assert encoder.image_shape == shape
    for column in roles.labels:
        labels = pc.count_distinct(loaded.train[column]).as_py()
        assert labels == SETS[name].classes if loaded.task == "classification" else labels > 50


def test_splits_follow_the_seed():
    first, again, other = (load_set("wine", seed=seed) for seed in (1, 1, 2))
    for part in ("train", "valid", "test"):
        assert fingerprint(getattr(first, part)) == fingerprint(getattr(again, part))
        assert fingerprint(getattr(first, part)) != fingerprint(getattr(other, part))


def test_ids_are_row_numbers_in_the_source():
    from sklearn.datasets import load_breast_cancer, load_digits

    digits, bunch = load_set("digits", seed=3), load_digits()
    rows = digits.test["id"].to_numpy()
    np.testing.assert_array_equal(to_array(digits.test["x"])[..., 0], bunch.images[rows])
    np.testing.assert_array_equal(digits.test["label"].to_numpy(), bunch.target[rows])
    cancer, bunch = load_set("breast_cancer", seed=3), load_breast_cancer()
    rows = cancer.train["id"].to_numpy()
    np.testing.assert_array_equal(cancer.train["mean radius"].to_numpy(), bunch.data[rows, 0])
    assert cancer.train["label"].to_pylist() == bunch.target_names[bunch.target[rows]].tolist()


def test_synthetic_is_one_fixed_pool_that_known_methods_find_flips_in():
    # The figures that the set was made for: about .95 for a logistic regression's self-confidence, .966 for a forest's
    # Data-OOB (of 300 trees; it grows with their number); here on the mean of two splits.
    rows = readers.synthetic(None).train.take(np.arange(5000)).to_pylist()
    pool = {(*row.values(),)[:-1]: row["label"] for row in rows}
    assert len(pool) == 5000
    found = []
    for seed in (0, 1):
        train = load_set("synthetic", seed=seed).train
        x = np.stack([train[f"x{i}"].to_numpy() for i in range(20)], axis=1)
        y = train["label"].to_numpy()
        assert all(pool[(*row,)] == label for row, label in zip(x.tolist(), y, strict=True))
        noisy, flipped = flip_labels(y, 0.2, n_classes=2, seed=seed)
        confidence = cross_val_predict(LogisticRegression(), x, noisy, cv=5, method="predict_proba")
        forest = RandomForestClassifier(300, oob_score=True, random_state=seed).fit(x, noisy)
        own = (np.arange(len(y)), noisy)
        found.append([discovery_auc(p[own], flipped) for p in (confidence, forest.oob_decision_function_)])
    assert np.mean(found, axis=0) == pytest.approx([0.945, 0.966], abs=0.012)


def test_sizes():
    wine = load_set("wine", seed=0, sizes=(170, 7))
    assert [wine.train.num_rows, wine.valid.num_rows, wine.test.num_rows] == [170, 7, 1]
    for sizes in ((171, 7), (0, 7), (7, 0)):
        with pytest.raises(ParameterError, match="'sizes' parameter of load_set for 'wine'"):
            load_set("wine", seed=0, sizes=sizes)
    with pytest.raises(ParameterError, match="one of 'adult'"):
        load_set("wines", seed=0)
    with pytest.raises(ParameterError, match="'seed' parameter"):
        load_set("wine", seed=-1)


def test_descriptions(monkeypatch, tmp_path):
    monkeypatch.delenv("RAYDM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "usps").mkdir()
    (tmp_path / "usps" / "usps.h5").touch()
    lines = {line["name"]: line for line in describe_sets(tmp_path)}
    assert list(lines) == sorted(SETS)
    assert lines["wine"]["source"] == "embedded"
    assert lines["usps"]["source"] == "RAYDM_DATA"
    assert lines["adult"]["source"] == "absent"
    assert (lines["no2"]["task"], lines["no2"]["classes"]) == ("regression", None)
    assert all(line["licence"] and line["description"] for line in lines.values())


@pytest.mark.parametrize(("name", "module", "package"), [("usps", "h5py", "h5py"), ("cifar10", "PIL", "pillow")])
def test_absent_packages_are_named_with_their_remedy(monkeypatch, name, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.Image", None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install 'raydm\[data\]'"):
        getattr(readers, name)(None)


def test_optional_packages_are_not_needed_to_import_and_use():
    blocked = "import sys; sys.modules.update(dict.fromkeys(('polars', 'datasets', 'h5py', 'PIL'))); "
    use = "from raydm.data import as_table, load_set; print(as_table(load_set('wine', seed=0).train).num_rows)"
    assert subprocess.run([sys.executable, "-c", blocked + use], capture_output=True, text=True).stdout == "90\n"


@needs_folder
def test_adult_is_clean():
    adult = load_set("adult", seed=0)
    assert set(adult.test["label"].to_pylist()) == set(adult.train["label"].to_pylist()) == {"<=50K", ">50K"}
    assert pc.sum(pc.equal(adult.test["label"], ">50K")).as_py() == 3846
    work = adult.test["workclass"]
    assert work.null_count == 963
    assert not any(value.startswith((" ", "?")) for value in work.drop_null().to_pylist())
    first = adult.test.slice(0, 1).to_pylist()[0]  # 25, Private, 226802, 11th, 7, Never-married, ...
    assert (first["age"], first["workclass"], first["fnlwgt"], first["education"]) == (25, "Private", 226802, "11th")


@needs_folder
def test_texts_and_their_labels():
    sst5 = load_set("sst5", seed=0, sizes=(8544, 1101))
    counts = {row["values"]: row["counts"] for row in sst5.train["label"].value_counts().to_pylist()}
    assert counts == {"very negative": 1092, "negative": 2218, "neutral": 1624, "positive": 2322, "very positive": 1288}
    trec = load_set("trec", seed=0, sizes=(5251, 200))
    both = dict(zip(trec.test["text"].to_pylist(), trec.test["label"].to_pylist(), strict=True))
    assert both["How far is it from Denver to Aspen ?"] == "number"
    assert both["What county is Modesto , California in ?"] == "location"
    spam = load_set("sms_spam", seed=0, sizes=(5000, 500))
    assert spam.test.num_rows == 74
    enron = load_set("enron1", seed=0, sizes=(5000, 100))
    labels = enron.train["label"].to_pylist() + enron.valid["label"].to_pylist()
    labels += enron.test["label"].to_pylist()
    assert (labels.count("ham"), labels.count("spam")) == (3672, 1500)
    assert "\n" in enron.train["text"][0].as_py()


@needs_folder
def test_images_and_their_labels():
    mnist = load_set("mnist", seed=0, sizes=(9998, 1))
    rows = dict(zip(mnist.train["id"].to_pylist(), mnist.train["label"].to_pylist(), strict=True))
    known = {0: 7, 1: 2, 2: 1, 3: 0, 4: 4}  # the test set's first labels
    assert {row: rows[row] for row in known if row in rows}.items() <= known.items()
    usps = load_set("usps", seed=0)
    assert to_array(usps.train["x"]).max() == 1.0
    fashion = load_set("fashion_mnist", seed=0, sizes=(59_000, 1000))
    pixels = np.concatenate([to_array(fashion.train["x"]), to_array(fashion.valid["x"])])
    assert pixels.mean() == pytest.approx(72.940352, abs=1e-5)  # the official training images' mean
    assert to_array(load_set("cifar10", seed=0, sizes=(3, 3)).test["x"]).std() > 50
