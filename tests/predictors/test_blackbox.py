"""BlackBox: what is handed to the estimator, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
import skops.io
import torch
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.predictors import BlackBox, TrainingSets, make_predictor
from raydm.predictors.blackbox import _is_known_class

CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)
N = 60
LIGHTGBM = {"n_estimators": 5, "min_child_samples": 5, "verbose": -1, "n_jobs": 1}


class Spy(ClassifierMixin, BaseEstimator):
    """Remembers what it was fitted with."""

    calls: list = []  # noqa: RUF012

    def __init__(self, random_state=None, n_jobs=None):
        self.random_state, self.n_jobs = random_state, n_jobs

    def fit(self, X, y, sample_weight=None):
        self.calls.append((X, y, sample_weight, self.random_state, self.n_jobs))
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        """Codes 0, 1, ... get 1/2, 1/4, ..., the last the rest."""
        p = 0.5 ** np.arange(1, len(self.classes_) + 1)
        p[-1] *= 2
        return np.tile(p, (len(X), 1))

    def predict(self, X):
        return np.zeros(len(X))


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setattr(Spy, "calls", [])
    return Spy


def sets_of(task, w, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(N, 4)).astype(np.float32))
    y = torch.from_numpy(rng.integers(3, size=N)) if task == CLASSES else (x @ torch.arange(4.0)).float()
    return TrainingSets(x, y, torch.as_tensor(w, dtype=torch.float32), task)


def some(share=0.6, rollouts=1):
    return (np.random.default_rng(3).random((rollouts, N)) < share).astype(np.float32)


@pytest.mark.filterwarnings("error")  # scikit-learn warns where n_jobs has no effect
@pytest.mark.parametrize("estimator", [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())])
def test_one_thread_is_not_asked_of_what_has_one(estimator):
    sets = sets_of(CLASSES, np.ones((1, N)))
    BlackBox(estimator).fit(sets, seed=np.zeros(1, int))


def test_one_thread_is_asked_inside_of_pipelines(spy):
    BlackBox(make_pipeline(StandardScaler(), spy(n_jobs=None))).fit(
        sets_of(CLASSES, np.ones((1, N))), seed=np.array([4])
    )
    assert spy.calls[0][3:] == (4, 1)


@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_absent_rows_are_dropped_and_not_weighted_zero(task):
    w = some()
    sets, present = sets_of(task, w), w[0] > 0
    predictor = BlackBox(LGBMClassifier(**LIGHTGBM), LGBMRegressor(**LIGHTGBM))
    p = predictor.fit_predict(sets, sets.x, seed=np.array([8]))[0].numpy()
    x, y = sets.x.numpy(), sets.y.numpy()

    def own(*arguments):
        if task == CLASSES:
            return LGBMClassifier(**LIGHTGBM, random_state=8).fit(*arguments).predict_proba(x)
        return LGBMRegressor(**LIGHTGBM, random_state=8).fit(*arguments).predict(x)[:, None]

    assert np.array_equal(p, own(x[present], y[present]))
    # The other way is not the same: rows of weight 0 shape LightGBM's bins.
    assert not np.allclose(p, own(x, y, w[0]), atol=1e-3)


def test_columns_of_missing_classes_are_zero():
    sets = sets_of(CLASSES, np.ones((3, N)))
    for r in range(3):
        sets.w[r, sets.y == r] = 0  # rollout r never sees class r
    p = BlackBox(LGBMClassifier(**LIGHTGBM)).fit_predict(sets, sets.x, seed=np.arange(3))
    for r in range(3):
        assert (p[r, :, r] == 0).all()
        others = [c for c in range(3) if c != r]
        rows = sets.w[r].numpy() > 0
        own = LGBMClassifier(**LIGHTGBM, random_state=r).fit(sets.x.numpy()[rows], sets.y.numpy()[rows])
        assert np.array_equal(p[r][:, others].numpy(), own.predict_proba(sets.x.numpy()))


def test_what_the_estimator_is_given(spy):
    sets = sets_of(CLASSES, some(rollouts=2))
    sets.w[1, :5] = 0.25
    BlackBox(spy()).fit(sets, seed=np.array([5, 2**31 + 6]))
    (x0, y0, w0, seed0, jobs0), (x1, _, w1, seed1, _) = spy.calls
    present = sets.w > 0
    assert np.array_equal(x0, sets.x[present[0]].numpy())
    assert np.array_equal(y0, sets.y[present[0]].numpy())
    assert w0 is None  # weights of 1 are not mentioned, so that estimators without sample_weight can be used
    assert np.array_equal(x1, sets.x[present[1]].numpy())
    assert np.array_equal(w1, sets.w[1, present[1]].numpy())
    assert (seed0, seed1, jobs0) == (5, 6, 1)  # 32-bit seeds, one thread


def test_codes_without_gaps_when_a_class_is_missing(spy):
    sets = sets_of(CLASSES, np.ones((1, N)))
    sets.w[0, sets.y == 0] = 0
    p = BlackBox(spy()).fit_predict(sets, sets.x[:2], seed=np.array([0]))
    assert set(spy.calls[0][1]) == {0, 1}  # XGBoost asks for this
    assert p.tolist() == [[[0.0, 0.5, 0.5]] * 2]


def test_seeds_reach_inside_a_pipeline(spy):
    predictor = BlackBox(make_pipeline(StandardScaler(), spy()))
    predictor.fit(sets_of(CLASSES, np.ones((1, N))), seed=np.array([5]))
    assert spy.calls[0][3:] == (5, 1)


def test_empty_and_one_class_sets_are_constant():
    w = np.zeros((3, N))
    sets = sets_of(CLASSES, w)
    sets.w[1, sets.y == 2] = 1
    sets.w[2, 7] = 1  # a single example
    p = BlackBox(LGBMClassifier(**LIGHTGBM)).fit_predict(sets, sets.x[:5], seed=np.zeros(3, int))
    for r, expected in enumerate([[1 / 3] * 3, [0, 0, 1], torch.eye(3)[sets.y[7]].tolist()]):
        torch.testing.assert_close(p[r], torch.tensor(expected).double().expand(5, 3))


def test_empty_and_single_example_sets_are_constant_in_regression():
    w = np.zeros((2, N))
    w[1, 7] = 1
    sets = sets_of(TARGETS, w)
    p = BlackBox(None, LGBMRegressor(**LIGHTGBM)).fit_predict(sets, sets.x[:5], seed=np.zeros(2, int))
    torch.testing.assert_close(p[0, :, 0], sets.y.mean().double().expand(5))
    torch.testing.assert_close(p[1, :, 0], sets.y[7].double().expand(5))


def test_without_probabilities_the_predicted_class_gets_one():
    sets = sets_of(CLASSES, np.ones((1, N)))
    sets.w[0, sets.y == 0] = 0
    p = BlackBox(LinearSVC()).fit_predict(sets, sets.x, seed=np.array([0]))[0].numpy()
    rows = sets.w[0].numpy() > 0
    own = LinearSVC(random_state=0).fit(sets.x.numpy()[rows], sets.y.numpy()[rows]).predict(sets.x.numpy())
    assert np.array_equal(p, np.eye(3)[own])


def test_fractional_weights_need_sample_weight():
    sets, predictor = sets_of(CLASSES, np.full((1, N), 0.5)), BlackBox(KNeighborsClassifier())
    assert not predictor.takes_weights(CLASSES)
    with pytest.raises(ParameterError, match=r'KNeighborsClassifier takes no sample_weight.*final="kept"'):
        predictor.fit(sets, seed=np.array([0]))
    assert BlackBox(LogisticRegression()).takes_weights(CLASSES)


def test_class_probabilities_as_labels_are_refused():
    sets = sets_of(CLASSES, np.ones((1, N)))
    soft = TrainingSets(sets.x, torch.full((N, 3), 1 / 3), sets.w, CLASSES)
    with pytest.raises(ParameterError, match=r"class indices.*Stacked"):
        BlackBox(LogisticRegression()).fit(soft, seed=np.array([0]))


@pytest.mark.parametrize(
    ("predictor", "task"), [(BlackBox(None, LinearRegression()), CLASSES), (make_predictor("naive-bayes"), TARGETS)]
)
def test_an_estimator_of_the_other_task_is_refused(predictor, task):
    with pytest.raises(ParameterError, match=f"made for {task.kind}"):
        predictor.fit(sets_of(task, np.ones((1, N))), seed=np.array([0]))


def test_the_template_itself_is_never_fitted():
    template = DecisionTreeClassifier()
    BlackBox(template).fit(sets_of(CLASSES, np.ones((1, N))), seed=np.array([0]))
    assert not hasattr(template, "tree_")


def test_foreign_types_in_a_saved_file_are_refused(tmp_path):
    skops.io.dump({"estimators": [Spy()], "classes": [[0, 1]]}, tmp_path / "predictor.skops")
    with pytest.raises(RunError, match=r"predictor\.skops: holds types that raydm does not trust: .*Spy"):
        BlackBox().load(tmp_path, CLASSES, 4)


def test_missing_and_torn_files_are_run_errors(tmp_path):
    predictor = BlackBox(LGBMClassifier(**LIGHTGBM))
    with pytest.raises(RunError, match=r"predictor\.skops: cannot be read"):
        predictor.load(tmp_path, CLASSES, 4)
    sets = sets_of(CLASSES, np.ones((1, N)))
    predictor.fit(sets, seed=np.array([0])).save(tmp_path)
    file = tmp_path / "predictor.skops"
    whole = file.read_bytes()
    for torn in (whole[: len(whole) // 2], b"", b"not a zip archive"):
        file.write_bytes(torn)
        with pytest.raises(RunError, match=r"predictor\.skops: cannot be read"):
            predictor.load(tmp_path, CLASSES, 4)


@pytest.mark.parametrize(
    "name",
    ["sklearn.utils._testing.check_output", "sklearn.utils.os.system", "sklearn.linear_model.Nothing", "os.system"],
)
def test_a_name_that_is_no_class_of_a_known_package_is_not_trusted(name):
    assert not _is_known_class(name)


def test_classes_of_known_packages_are_trusted():
    assert _is_known_class("sklearn.tree._tree.Tree")
    assert _is_known_class("lightgbm.basic.Booster")


class Plain:
    """Nothing but fit and predict."""

    def fit(self, x, y):
        self.most = np.bincount(y).argmax()

    def predict(self, x):
        return np.full(len(x), self.most)


def test_an_object_with_fit_and_predict_is_enough():
    p = make_predictor(Plain()).fit_predict(sets_of(CLASSES, np.ones((2, N))), torch.zeros(3, 4), seed=np.array([0, 0]))
    assert p.shape == (2, 3, CLASSES.n_outputs)
    assert (p.max(-1).values == 1).all()
