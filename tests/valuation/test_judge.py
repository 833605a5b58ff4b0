"""The judge: figures against brute force, and verdicts that are worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.metrics import METRICS
from raydm.predictors import make_predictor
from raydm.utility import Problem
from raydm.valuation.judge import (
    Finding,
    Verdict,
    best_input,
    collapse,
    detection,
    row_hits,
    row_scores,
    split,
    standard_error,
    ways,
    wrong_copies,
)

Array = np.ndarray
CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)


def trusted(y: Any, task: Task = CLASSES, metric: str = "accuracy", seed: int = 0) -> Problem:
    labels = np.asarray(y, dtype=np.int64 if task.kind == "classification" else np.float32)
    x = np.arange(len(labels), dtype=np.float32)[:, None]
    return Problem(make_predictor("logistic"), Examples(x, labels, np.arange(len(labels))), task, METRICS[metric], seed)


# Wrong copies


@pytest.mark.parametrize("classes", [2, 3, 10, 30])
def test_copies_of_classes_have_every_other_label_once_and_never_the_right_one(classes: int) -> None:
    valid = trusted(np.arange(40) % classes, Task("classification", classes)).valid
    copies, rows = wrong_copies(valid, Task("classification", classes), seed=3)
    each = min(classes - 1, 9)
    assert len(copies) == 40 * each
    assert (copies.y != valid.y[rows]).all()
    assert copies.y.dtype == valid.y.dtype
    np.testing.assert_array_equal(copies.x, valid.x[rows])
    for row in range(40):
        assert len(set(copies.y[rows == row].tolist())) == each


def test_copies_of_targets_have_other_rows_targets() -> None:
    valid = trusted(np.arange(50.0), TARGETS, "rmse").valid
    copies, rows = wrong_copies(valid, TARGETS, seed=0)
    assert len(copies) == 50 * 9
    assert copies.y.dtype == np.float32
    assert np.mean(copies.y == valid.y[rows]) < 0.1  # a permutation may leave a row where it was
    assert all(sorted(copies.y[start : start + 50]) == sorted(valid.y) for start in range(0, 450, 50))


def test_copies_of_the_only_class_are_none() -> None:
    copies, rows = wrong_copies(trusted([0, 0], Task("classification", 1)).valid, Task("classification", 1), seed=0)
    assert (len(copies), len(rows)) == (0, 0)


# Detection


def brute_force(right: Array, wrong: Array) -> float:
    return float(np.mean([(r > w) + 0.5 * (r == w) for r in right for w in wrong]))


@pytest.mark.parametrize("ties", [False, True])
def test_detection_is_the_share_of_pairs_in_the_right_order(ties: bool) -> None:
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(1, 1, 30), rng.normal(0, 1, 60)
    if ties:
        right, wrong = right.round(), wrong.round()
    area, influence = detection(right, wrong, np.tile(np.arange(30), 2))
    assert area == pytest.approx(brute_force(right, wrong))
    assert influence.mean() == pytest.approx(0, abs=1e-12)


def test_detection_by_hand() -> None:
    area, influence = detection(np.array([0.9, 0.4]), np.array([0.1, 0.5]), np.array([0, 1]))
    assert area == 0.75  # .4 is below .5
    # Row 0 beats both and its copy is beaten by both: 1 - .75 twice. Row 1 beats one of two, and its copy is beaten by
    # one of two: .5 - .75 twice.
    assert influence.tolist() == [0.5, -0.5]


@pytest.mark.parametrize(("right", "wrong"), [([], []), ([0.5], []), ([], [0.1])])
def test_detection_of_nothing_is_a_coin(right: list[float], wrong: list[float]) -> None:
    area, influence = detection(np.array(right), np.array(wrong), np.zeros(len(wrong), dtype=np.int64))
    assert area == 0.5
    assert influence.tolist() == [0.0] * len(right)


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_its_standard_error_is_that_of_a_bootstrap_over_rows(shared: float) -> None:
    """Also where a row's own part makes its copies alike, which a formula for independent pairs would miss."""
    rng = np.random.default_rng(1)
    m, each = 150, 3
    of_row = shared * rng.normal(size=m)
    right, wrong = of_row + rng.normal(1, 1, m), np.tile(of_row, each) + rng.normal(0, 1, m * each)
    rows = np.tile(np.arange(m), each)
    _, influence = detection(right, wrong, rows)
    drawn = []
    for _ in range(300):
        sample = rng.integers(m, size=m)
        copies = np.concatenate([sample + m * k for k in range(each)])
        drawn.append(detection(right[sample], wrong[copies], rows)[0])
    assert standard_error(influence) == pytest.approx(np.std(drawn), rel=0.15)


def test_a_standard_error_is_that_of_a_mean_and_infinite_for_one_row() -> None:
    assert standard_error(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(np.sqrt(5 / 3 / 4))
    assert standard_error(np.array([1.0])) == float("inf")
    assert standard_error(np.array([])) == float("inf")


# The best input


def by_rows(right: dict[str, Array], wrong: dict[str, Array]) -> Callable[[Examples], dict[str, Array]]:
    """Inputs whose values of trusted rows, and of copies, are given."""

    def values(examples: Examples) -> dict[str, Array]:
        first = next(iter(right.values()))
        return right if len(examples) == len(first) else {k: np.tile(v, 2) for k, v in wrong.items()}

    return values


def inputs(m: int, gaps: dict[str, float]) -> Callable[[Examples], dict[str, Array]]:
    """Of M rows: right labels are `gap` deviations above wrong ones."""
    rng = np.random.default_rng(0)
    return by_rows({k: rng.normal(g, 1, m) for k, g in gaps.items()}, {k: rng.normal(0, 1, m) for k in gaps})


def test_the_favourite_stays_unless_another_is_clearly_better() -> None:
    many, few = trusted(np.arange(200) % 3), trusted(np.arange(12) % 3)
    gaps = {"pooled": 1.0, "forest": 1.1, "random": 0.0}
    assert best_input(inputs(200, gaps), many, "pooled")[0] == "pooled"  # 1.1 for 1.0 is within two standard errors
    clear = gaps | {"forest": 2.0}
    assert best_input(inputs(200, clear), many, "pooled")[0] == "forest"
    best, found = best_input(inputs(12, clear), few, "pooled")
    assert best == "pooled"  # 12 rows tell little
    assert found["forest"] > found["pooled"]
    best, found = best_input(inputs(200, gaps), many, "random")
    assert best in {"pooled", "forest"}
    assert found[best] == max(found.values())
    assert set(found) == set(gaps)


def test_one_trusted_row_leaves_the_favourite() -> None:
    right, wrong = ({"pooled": np.array([p]), "forest": np.array([f])} for p, f in ((0.0, 1.0), (1.0, 0.0)))
    best, found = best_input(by_rows(right, wrong), trusted([0]), "pooled")
    assert (best, found) == ("pooled", {"pooled": 0.0, "forest": 1.0})


# Verdicts


def verdict(
    detects: tuple[float, float], gains: tuple[float, float], hits: tuple[float, float, float] = (0.0, 0.5, 0.1)
) -> Verdict:
    """From (gain, error) of detection and of utility, and (gain, start, error) of the hits."""
    gain, start, error = hits
    found = [Finding(0.5 + detects[0], 0.5, detects[1]), Finding(gains[0], 0.0, gains[1])]
    return Verdict(*found, Finding(start + gain, start, error), {})


@pytest.mark.parametrize(
    ("detects", "gains", "better"),
    [
        ((0.0, 0.1), (0.3, 0.2), True),
        ((0.0, 0.1), (0.2, 0.2), False),  # not by more than a standard error
        ((0.1, 0.1), (0.3, 0.2), True),
        ((-0.01, 0.1), (0.3, 0.2), False),
        ((0.4, 0.1), (-0.1, 0.05), False),
        ((0.0, float("inf")), (0.3, float("inf")), False),
        ((0.0, 0.0), (0.0, 0.0), False),  # the same as its input
    ],
)
def test_learned_is_better_where_it_raises_utility_and_detects_no_worse(
    detects: tuple[float, float], gains: tuple[float, float], better: bool
) -> None:
    assert verdict(detects, gains).learned_is_better is better


@pytest.mark.parametrize(
    ("hits", "better"),
    [
        ((0.08, 0.5, 0.02), True),
        ((0.04, 0.5, 0.01), False),  # too little of it
        ((0.08, 0.5, 0.05), False),  # within two standard errors
        ((0.2, -2.0, 0.05), True),  # targets: 10 % of the absolute error
        ((0.07, -2.0, 0.01), False),  # 3.5 %
    ],
)
def test_decisive_hits_outweigh_worse_detection(hits: tuple[float, float, float], better: bool) -> None:
    """Under a shift of the inputs, labels are right but of no use: what detects them best is not what is wanted."""
    assert verdict((-0.4, 0.02), (0.08, 0.01), hits).learned_is_better is better
    assert not verdict((-0.4, 0.02), (0.08, 0.1), hits).learned_is_better  # utility within a standard error


def test_ways_to_train_by_hand() -> None:
    found = ways(np.array([0.9, 0.1, 0.5, 0.4]), np.array([0.2, 0.8, 0.8, 0.3]))
    assert list(found)[:3] == ["start", "learned", "unvalued"]
    assert found["learned, best 25%"].tolist() == [1, 0, 0, 0]
    assert found["learned, best 75%"].tolist() == [1, 0, 1, 1]
    assert found["start, best 25%"].tolist() == [0, 1, 0, 0]  # of equal values the first
    assert found["start, best 50%"].tolist() == [0, 1, 1, 0]
    assert found["unvalued"].tolist() == [1, 1, 1, 1]
    assert len(found) == 9


def test_the_best_way_has_the_highest_score() -> None:
    some = Finding(0, 0, 0)
    assert Verdict(some, some, some, {"start": 0.1, "learned": 0.3, "unvalued": 0.2}).best_way == "learned"
    assert Verdict(some, some, some, {"start": 0.1, "learned": 0.1}).best_way == "start"  # ties: not what was learned


def test_row_hits_by_hand() -> None:
    predictions = torch.tensor([[[0.7, 0.3], [0.4, 0.6]], [[0.2, 0.8], [0.1, 0.9]]])
    assert row_hits(predictions, torch.tensor([0, 1])).tolist() == [[1, 1], [0, 1]]


def test_row_scores_by_hand() -> None:
    p = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], [[1.0, 0.0, 0.0], [0.5, 0.0, 0.5]]])
    truth = [[0.7, 0.3], [1.0, 0.5]]
    for name in ("accuracy", "auc"):
        np.testing.assert_allclose(row_scores(p, torch.tensor([0, 2]), METRICS[name]), truth, rtol=1e-6)
    found = row_scores(p, torch.tensor([0, 2]), METRICS["log-likelihood"])
    np.testing.assert_allclose(found, np.log(truth), rtol=1e-5, atol=1e-12)
    targets, y = torch.tensor([[[1.0], [2.0], [5.0]]]), torch.tensor([3.0, 1.5, 0.0])
    assert row_scores(targets, y, METRICS["mae"]).tolist() == [[-2.0, -0.5, -5.0]]
    assert row_scores(targets, y, METRICS["r2"]).tolist() == [[-4.0, -0.25, -25.0]]
    np.testing.assert_allclose(row_scores(targets, y, METRICS["rmspe"]), [[-4 / 9, -1 / 9, 0.0]])


# Collapse


VARIED = np.linspace(0.2, 0.8, 50)


@pytest.mark.parametrize(
    ("values", "how"),
    [
        (np.linspace(0.985, 1.0, 50), "all values at 1"),
        (np.linspace(0.0, 0.015, 50), "all values at 0"),
        (0.5 + 1e-5 * VARIED, "no variance"),
        (1 - VARIED, "inverted values"),
        (VARIED, None),
        (np.append(VARIED[:-1], 0.999), None),
        (VARIED**3, None),
        (np.where(np.arange(50) == 0, 0.5, np.linspace(0.985, 1.0, 50)), None),  # one row is told apart
    ],
)
def test_how_values_collapse(values: Array, how: str | None) -> None:
    assert collapse(values, VARIED) == how


@pytest.mark.filterwarnings("error")
def test_where_the_input_tells_nothing_apart_values_need_not() -> None:
    flat = 0.95 + 1e-5 * VARIED
    assert collapse(flat, flat) is None
    assert collapse(np.full(50, 0.95), flat) is None
    assert collapse(1 - VARIED, flat) is None  # there is no order to invert
    assert collapse(np.full(50, 1.0), np.full(50, 0.95)) == "all values at 1"


# Folds


def test_folds_share_the_rows_and_are_alike_in_their_labels() -> None:
    problem = trusted([0] * 30 + [1] * 12 + [2] * 6)
    for count in (2, 3):
        folds = split(problem, count)
        held = [set(fold.held.ids.tolist()) for fold in folds]
        assert set.union(*held) == set(range(48))
        assert sum(map(len, held)) == 48
        for fold in folds:
            rest = set(fold.problem.valid.ids.tolist())
            assert rest == set(range(48)) - set(fold.held.ids.tolist())
            assert np.bincount(fold.held.y, minlength=3).tolist() == [30 // count, 12 // count, 6 // count]
            assert replace(fold.problem, valid=problem.valid) == problem


def test_folds_of_targets_cover_their_range() -> None:
    for fold in split(trusted(np.arange(40.0), TARGETS, "rmse"), 2):
        assert abs(fold.held.y.mean() - 19.5) <= 0.5


def test_folds_differ_by_seed_alone() -> None:
    y = np.arange(30) % 3
    first, again, other = (split(trusted(y, seed=seed), 2)[0].held.ids.tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("problem", "folds"),
    [
        (trusted(np.arange(40) % 3), 0),
        (trusted([0, 1, 2]), 2),
        (trusted(np.arange(5) % 3), 3),
        (trusted([0] * 39 + [1], metric="auc"), 2),  # without the fold that holds the 1, there is one class
        (trusted([0.0] * 9 + [1.0], TARGETS, "r2"), 2),
        (trusted([0.0] * 9 + [1.0], TARGETS, "rmspe"), 2),
    ],
)
def test_one_fold_that_holds_nothing_out_where_folds_cannot_be(problem: Problem, folds: int) -> None:
    (whole,) = split(problem, folds)
    assert whole.problem is problem
    assert len(whole.held) == 0


def test_four_rows_are_enough_for_two_folds() -> None:
    assert [len(fold.held) for fold in split(trusted([0, 1, 0, 1]), 2)] == [2, 2]
