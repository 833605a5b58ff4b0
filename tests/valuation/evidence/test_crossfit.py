"""Cross-fitting: who sees whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raydm.data.task import Task
from raydm.errors import RolloutError, RunError
from raydm.predictors import BlackBox, Predictor, TrainingSets, make_predictor
from raydm.valuation.evidence.crossfit import CrossFitted, cross_fit, load_cross_fitted, marks, sums

CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)
SEEDS = np.zeros(1, dtype=np.int64)


class Memory:
    """Says of a row the sum of the weights with which it was trained on it."""

    differentiable = False

    def fit(self, sets: TrainingSets, *, seed: Any) -> Remembered:
        assert sets.rollouts == 1
        seen: dict[bytes, float] = {}
        for row, w in zip(sets.x.numpy(), sets.w[0].tolist(), strict=True):
            seen[row.tobytes()] = seen.get(row.tobytes(), 0.0) + w
        return Remembered(seen)


@dataclass
class Remembered:
    seen: dict[bytes, float]

    def predict(self, x: Tensor) -> Tensor:
        said = [self.seen.get(row.tobytes(), -1.0) for row in x.numpy()]  # -1: it was not even there as absent
        return torch.tensor(said, dtype=torch.float64)[None, :, None]


def rows(n: int, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def sets(x: np.ndarray, w: np.ndarray | None = None, y: np.ndarray | None = None, task: Task = TARGETS) -> TrainingSets:
    w = np.ones(len(x), np.float32) if w is None else w.astype(np.float32)
    y = np.zeros(len(x), np.float32) if y is None else y
    return TrainingSets(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w)[None], task)


def fitted(x: np.ndarray, w: np.ndarray | None = None, *, count: int = 5, seed: int = 0, whole: bool = False) -> Any:
    return cross_fit(Memory(), sets(x, w), count=count, seed=seed, seeds=SEEDS, what="A test", whole=whole)


# Marks


def test_equal_rows_have_equal_marks_and_a_zero_s_sign_is_none() -> None:
    x = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    mark = marks(x, 0)
    assert mark[0] == mark[1] == mark[2] != mark[3]
    assert (mark >= 0).all()


def test_a_mark_is_of_the_row_alone() -> None:
    x = rows(50)
    np.testing.assert_array_equal(marks(x[10:20], 3), marks(x, 3)[10:20])
    np.testing.assert_array_equal(marks(np.asfortranarray(x), 3), marks(x, 3))


def test_folds_are_about_even_and_differ_by_seed() -> None:
    x = rows(2000)
    one, other = (marks(x, seed) % 5 for seed in (0, 1))
    assert (np.abs(np.bincount(one, minlength=5) - 400) < 4 * np.sqrt(2000 * 0.2 * 0.8)).all()
    table = np.histogram2d(one, other, bins=5)[0]
    assert (table > 0).sum() > 5  # another seed is not the same folds by other names
    np.testing.assert_array_equal(marks(x, 2**40 + 1), marks(x, 1))  # any integer will do


def test_sums_tell_rows_apart_as_marks_do() -> None:
    x = rows(5000, 3)
    x[1000:] = np.round(x[1000:])  # of which many are equal
    x[7] = -x[7] * 0.0
    x[8] = 0.0
    different = len(np.unique(x + np.float32(0), axis=0))
    assert len(np.unique(sums(x))) == different < 2000
    np.testing.assert_array_equal(sums(x[10:20]), sums(x)[10:20])
    np.testing.assert_array_equal(sums(np.asfortranarray(x)), sums(x))
    assert len(np.unique(sums(np.eye(64, dtype=np.float32)))) == 64  # where a row's ones stand counts


# Cross-fitting


@pytest.mark.parametrize("whole", [False, True])
def test_a_row_s_model_did_not_see_it(whole: bool) -> None:
    x = rows(200)
    x[7] = x[3]  # nor its double
    said = fitted(x, whole=whole).predict(x)
    assert said.shape == (200, 1)
    assert (said == 0).all()  # its weight was 0


@pytest.mark.parametrize("whole", [False, True])
def test_the_other_models_saw_it(whole: bool) -> None:
    x = rows(200)
    cross = fitted(x, np.full(200, 0.5), whole=whole)
    for k, model in enumerate(cross.models):
        said = model.predict(torch.from_numpy(x))[0, :, 0].numpy()
        np.testing.assert_array_equal(said, np.where((marks(x, 0) % 5 == k) & (k < 5), 0.0, 0.5))


def test_rows_that_no_model_saw_are_predicted_by_the_whole() -> None:
    x, new = rows(100), rows(40, seed=1)
    cross = cross_fit(Count(), sets(x), count=5, seed=0, seeds=SEEDS, what="A test", whole=True)
    both = cross.predict(np.concatenate([x, new]))[:, 0].numpy()
    assert (both[100:] == 100).all()
    assert (both[:100] < 100).all()
    by_fold = cross_fit(Count(), sets(x), count=5, seed=0, seeds=SEEDS, what="A test").predict(new)
    assert (by_fold < 100).all()


class Count:
    """Predicts how many rows it was trained on."""

    differentiable = False

    def fit(self, given: TrainingSets, *, seed: Any) -> Any:
        class Fitted:
            def predict(self, x: Tensor) -> Tensor:
                return (given.w > 0).sum().double().expand(1, len(x), 1)

        return Fitted()


def test_an_absent_row_is_as_one_that_no_model_saw() -> None:
    x, w = rows(100), np.arange(100) % 2
    cross = cross_fit(Count(), sets(x, w), count=5, seed=0, seeds=SEEDS, what="A test", whole=True)
    said = cross.predict(x)[:, 0].numpy()
    assert (said[w == 0] == 50).all()
    assert (said[w == 1] < 50).all()


def test_predictions_do_not_depend_on_what_else_is_asked() -> None:
    x = rows(60)
    cross = cross_fit(Count(), sets(x), count=5, seed=0, seeds=SEEDS, what="A test")
    every = cross.predict(x)
    assert torch.equal(cross.predict(x[20:30]), every[20:30])
    assert cross.predict(x[:0]).shape == (0, 1)


def test_a_training_that_fails_says_of_what() -> None:
    class Broken:
        differentiable = False

        def fit(self, given: TrainingSets, *, seed: Any) -> Any:
            raise ZeroDivisionError("no rows")

    with pytest.raises(RolloutError, match=r"A test failed: .*no rows"):
        cross_fit(Broken(), sets(rows(9)), count=5, seed=0, seeds=SEEDS, what="A test")


# Saved and read back


def made(predictor: Predictor, task: Task, *, whole: bool) -> CrossFitted:
    x = rows(50, 4)
    y = np.arange(50) % 3 if task == CLASSES else x[:, 0]
    return cross_fit(predictor, sets(x, y=y, task=task), count=5, seed=2, seeds=SEEDS, what="A test", whole=whole)


@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
@pytest.mark.parametrize("name", ["mlp", "neighbors", "sklearn.ensemble.ExtraTrees"])
@pytest.mark.parametrize("whole", [False, True])
def test_read_back_it_predicts_the_same_bits(tmp_path: Path, name: str, task: Task, whole: bool) -> None:
    kind = "Classifier" if task == CLASSES else "Regressor"
    own = {"mlp": {"epochs": 2}, "neighbors": {"k": 3}}.get(name, {"n_estimators": 3})
    predictor = make_predictor(name + kind if "." in name else name, **own)
    cross = made(predictor, task, whole=whole)
    cross.save(tmp_path)
    known = None if cross.known is None else cross.known.tolist()
    read = load_cross_fitted(predictor, tmp_path, task, 4, count=len(cross.models), seed=2, known=known)
    both = np.concatenate([rows(50, 4), rows(20, 4, seed=1)])
    assert torch.equal(read.predict(both), cross.predict(both))


@pytest.mark.parametrize("features", [6, 7])
def test_trained_on_few_rows_it_predicts_many_with_the_same_bits(tmp_path: Path, features: int) -> None:
    """How many rows are predicted at once must not follow from how many there were to train on."""
    ten, predictor = Task("classification", 10), make_predictor("logistic")
    x, many = rows(4, features), rows(300, features, seed=1)
    cross = cross_fit(
        predictor, sets(x, y=np.arange(4), task=ten), count=2, seed=0, seeds=SEEDS, what="A test", whole=True
    )
    cross.save(tmp_path)
    read = load_cross_fitted(predictor, tmp_path, ten, features, count=3, seed=0, known=cross.known.tolist())
    assert torch.equal(read.predict(many), cross.predict(many))


def test_a_lost_model_is_not_made_up_for(tmp_path: Path) -> None:
    """Fewer models would be other folds, and so other values of the same rows."""
    predictor = make_predictor("neighbors")
    made(predictor, CLASSES, whole=False).save(tmp_path)
    (tmp_path / "4" / "neighbors.safetensors").unlink()
    (tmp_path / "4").rmdir()
    with pytest.raises(RunError, match="cannot be read"):
        load_cross_fitted(predictor, tmp_path, CLASSES, 4, count=5, seed=2, known=None)


def test_a_black_box_is_trained_on_the_rows_outside_the_fold_alone() -> None:
    class Seen:
        """Remembers nothing but its rows; predicts how many there were."""

        def fit(self, x: np.ndarray, y: np.ndarray) -> Seen:
            self.rows = len(x)
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.full(len(x), float(self.rows))

    x = rows(40)
    cross = cross_fit(BlackBox(None, Seen()), sets(x), count=4, seed=0, seeds=SEEDS, what="A test")
    size = np.bincount(marks(x, 0) % 4, minlength=4)
    assert [int(m.predict(torch.from_numpy(x))[0, 0]) for m in cross.models] == (40 - size).tolist()
