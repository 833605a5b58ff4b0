"""Evidence gathered: what each source is trained on, in small and in lopsided data, and its bits."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RolloutError
from raydm.flags.value import EVIDENCE
from raydm.metrics import METRICS
from raydm.predictors import BlackBox, TrainingSets, make_predictor
from raydm.predictors.votes import NeighborVotes
from raydm.utility import Problem
from raydm.valuation.evidence import POOLED, SOURCES, check_sources, gather, load_evidence
from raydm.valuation.evidence.gather import source_predictor

CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)
QUICK = ("validation", "out-of-fold", "neighbors")
MODULE = sys.modules["raydm.valuation.evidence.gather"]  # a function of the package has its name


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_TREE_COUNT", 5)


def world(n: int, m: int, task: Task = CLASSES, flips: int = 0, seed: int = 0) -> tuple[Examples, Problem, np.ndarray]:
    """N training rows in C clear clusters (or on a line), some labels of which are wrong, M trusted rows, and which."""
    rng = np.random.default_rng(seed)
    of = np.arange(n + m) % 3
    x = (rng.normal(size=(n + m, 2)) * 0.3 + 3 * np.stack([of == 1, of == 2], 1)).astype(np.float32)
    wrong = np.arange(n + m) < flips
    if task.kind == "classification":
        y = np.where(wrong, (of + 1) % 3, of).astype(np.int64)
    else:
        y = np.where(wrong, -9 - x[:, 0], x.sum(1)).astype(np.float32)
    rows = Examples(x, y, np.arange(n + m))
    name, metric = ("logistic", "accuracy") if task.kind == "classification" else ("linear", "rmse")
    problem = Problem(make_predictor(name), rows.take(range(n, n + m)), task, METRICS[metric], seed)
    return rows.take(range(n)), problem, wrong[:n]


class Recorder:
    """Records the sets that it is trained on; says of a row the class of the nearest one."""

    differentiable = False

    def __init__(self) -> None:
        self.seen: list[TrainingSets] = []

    def fit(self, sets: TrainingSets, *, seed: Any) -> Any:
        self.seen.append(sets)
        return NeighborVotes(9).fit(sets, seed=seed)


def test_the_first_round_takes_labels_as_they_are_and_the_second_weights_them_by_what_the_first_said() -> None:
    train, problem, wrong = world(90, 15, flips=6)
    recorder = Recorder()
    evidence = gather(train, replace(problem, predictor=recorder), ("out-of-fold",))
    first, second = recorder.seen[:5], recorder.seen[5:]  # five folds, twice
    assert len(second) == 5
    trusted = np.arange(105) >= 90
    for k, sets in enumerate(first):
        w = sets.w[0].numpy()
        out = w == 0
        assert out.any(), k
        np.testing.assert_array_equal(w[~out], np.where(trusted, 3.0, 1.0)[~out])  # a trusted row counts as three
    w = np.max([sets.w[0].numpy() for sets in second], axis=0)
    assert w[:90][wrong].max() < 0.5 < 0.8 < w[:90][~wrong].min()
    assert w[:90][wrong].mean() < 0.2
    assert (w[90:] > 2.5).all()
    assert (w <= np.where(trusted, 3.0, 1.0)).all()
    # A row is out in the same fold of both rounds.
    for a, b in zip(first, second, strict=True):
        assert (b.w[0][a.w[0] == 0] == 0).all()
    odds = evidence.log_odds(torch.from_numpy(train.y), evidence.predictions(train))["out-of-fold"].numpy()
    assert odds[wrong].max() < odds[~wrong].min()


def test_the_validation_source_sees_trusted_rows_alone_and_judges_training_rows_by_all_of_them() -> None:
    train, problem, _ = world(40, 12)
    recorder = Recorder()
    evidence = gather(train, replace(problem, predictor=recorder), ("validation",))
    assert len(recorder.seen) == 12  # five folds and the whole, twice
    for sets in recorder.seen:
        np.testing.assert_array_equal(sets.x.numpy(), problem.valid.x)
        np.testing.assert_array_equal(sets.y.numpy(), problem.valid.y)
    assert (recorder.seen[-1].w > 0).all()
    whole = NeighborVotes(9).fit(recorder.seen[-1], seed=problem.seeds(0, 1))
    assert torch.equal(evidence.predictions(train)[0], whole.predict(torch.from_numpy(train.x))[0])
    own = whole.predict(torch.from_numpy(problem.valid.x))[0]
    assert not torch.equal(evidence.predictions(problem.valid)[0], own)  # trusted rows: by models without them


def test_a_predictor_without_sample_weight_sees_what_is_more_likely_right_than_wrong() -> None:
    train, problem, wrong = world(90, 15, flips=6)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    class Noted(KNeighborsClassifier):
        def fit(self, x: np.ndarray, y: np.ndarray) -> Noted:
            seen.append((x, y))
            return super().fit(x, y)

    gather(train, replace(problem, predictor=BlackBox(Noted(9))), ("out-of-fold",))
    rows = {row.tobytes(): i for i, row in enumerate(train.x)}
    given = [{rows[row.tobytes()] for row in x if row.tobytes() in rows} for x, _ in seen]
    assert set.union(*given[:5]) == set(range(90))
    assert set.union(*given[5:]) == set(np.flatnonzero(~wrong).tolist())


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "validation"])
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_every_source_finds_wrong_labels(name: str, task: Task) -> None:
    train, problem, wrong = world(90, 30, task, flips=12)
    evidence = gather(train, problem, (name,))
    odds = evidence.log_odds(torch.from_numpy(train.y), evidence.predictions(train))
    assert set(odds) == {name, POOLED}
    assert odds[name][wrong].max() < odds[name][~wrong].median()
    torch.testing.assert_close(odds[POOLED], odds[name])  # it is that one


def test_what_it_gives_is_of_all_sources_in_their_order() -> None:
    train, problem, _ = world(30, 9)
    evidence = gather(train, problem, QUICK)
    said, y = evidence.predictions(train), torch.from_numpy(train.y)
    assert said.shape == (3, 30, 3)
    gaps = evidence.gaps(y, said)
    assert gaps.shape == (30, 9)
    assert gaps.dtype == torch.float32
    onehot = torch.nn.functional.one_hot(y, 3)
    torch.testing.assert_close(gaps[:, 3:6], (onehot - said[1]).abs().float())
    alone = gather(train, problem, ("neighbors",))
    assert set(evidence.log_odds(y, said)) == {*QUICK, POOLED}
    # A source's own predictions in the first round do not depend on the others; in the second by the pool's weights.
    assert alone.predictions(train).shape == (1, 30, 3)


@pytest.mark.parametrize(
    "names", [(), "forest", None, 3, ["forest", "forest"], ["forest", "rumour"], [None], {"forest"}]
)
def test_sources_are_checked(names: Any) -> None:
    with pytest.raises(ParameterError, match="'evidence' parameter of DVRL must be different ones of 'validation'"):
        check_sources(names)


def test_the_command_line_knows_the_same_sources_without_loading_them() -> None:
    assert EVIDENCE == SOURCES


def finite(evidence: Any, rows: Examples) -> dict[str, Tensor]:
    """Log-odds of the rows, all of them finite."""
    said = evidence.predictions(rows)
    odds = evidence.log_odds(torch.from_numpy(rows.y), said)
    assert torch.isfinite(said).all()
    assert torch.isfinite(evidence.gaps(torch.from_numpy(rows.y), said)).all()
    assert all(torch.isfinite(v).all() for v in odds.values())
    return odds


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_a_few_trusted_rows_are_enough(task: Task, m: int) -> None:
    train, problem, wrong = world(45, m, task, flips=5)
    evidence = gather(train, problem, ("validation", "linear", "neighbors"))
    finite(evidence, problem.valid)
    odds = finite(evidence, train)[POOLED]
    assert odds[wrong].mean() < odds[~wrong].mean()  # the training rows tell of each other


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_a_few_training_rows_are_enough(task: Task, n: int) -> None:
    train, problem, _ = world(n, 4, task)
    evidence = gather(train, problem, SOURCES)
    finite(evidence, train)
    finite(evidence, problem.valid)


def test_a_class_that_no_trusted_row_has() -> None:
    train, problem, wrong = world(90, 30, flips=9)
    known = problem.valid.y < 2
    problem = replace(problem, valid=problem.valid.take(np.flatnonzero(known)))
    odds = finite(gather(train, problem, QUICK), train)
    third = (train.y == 2) & ~wrong
    assert (odds[POOLED][third] > 0).all()  # the other sources know it
    assert odds[POOLED][wrong].max() < odds[POOLED][third].min()


def test_classes_of_one_row_and_rows_that_are_all_equal() -> None:
    x = np.zeros((12, 2), np.float32)
    rows = Examples(x, np.array([0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1]), np.arange(12))
    problem = Problem(make_predictor("logistic"), rows.take([9, 10]), CLASSES, METRICS["accuracy"], 0)
    odds = finite(gather(rows.take(range(9)), problem, SOURCES), rows)
    assert set(odds) == {*SOURCES, POOLED}


def test_predictions_that_are_not_finite_are_told_by_source() -> None:
    class Diverged(Recorder):
        def fit(self, sets: TrainingSets, *, seed: Any) -> Any:
            class Fitted:
                def predict(self, x: Tensor) -> Tensor:
                    return torch.full((1, len(x), 3), torch.nan)

            return Fitted()

    train, problem, _ = world(12, 6)
    with pytest.raises(RolloutError, match="The evidence 'out-of-fold' predicts NaN or infinities"):
        gather(train, replace(problem, predictor=Diverged()), ("neighbors", "out-of-fold"))


def test_large_sets_are_pooled_on_a_draw_and_trees_see_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_STACK_ROWS", "_TREE_ROWS"):
        monkeypatch.setattr(MODULE, name, 50)
    train, problem, wrong = world(120, 20, flips=12)
    evidence = gather(train, problem, ("forest", "neighbors"))
    assert evidence.sources["forest"].models[0].estimators[0].max_samples == 50
    odds = finite(evidence, train)[POOLED]
    assert odds[wrong].max() < odds[~wrong].min()
    for fitted in evidence.sources["forest"].models:
        fitted.predict(torch.from_numpy(train.x))
    small, few, _ = world(30, 9)
    assert gather(small, few, ("forest",)).sources["forest"].models[0].estimators[0].max_samples is None


def test_a_forest_of_a_draw_is_asked_for_no_more_rows_than_a_fold_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just above the limit, a fold leaves fewer rows than the limit."""
    monkeypatch.setattr(MODULE, "_TREE_ROWS", 50)
    for n in (45, 55):
        train, problem, _ = world(n, 6)
        assert set(finite(gather(train, problem, ("forest",)), train)) == {"forest", POOLED}


@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_read_back_it_says_the_same_bits(tmp_path: Path, task: Task) -> None:
    train, problem, _ = world(45, 12, task, flips=5)
    evidence = gather(train, problem, ("validation", "linear", "forest", "neighbors"))
    evidence.save(tmp_path)
    state = json.loads(json.dumps(evidence.state()))
    read = load_evidence(tmp_path, state, problem.predictor, task, 2)
    new = world(20, 1, task, seed=9)[0]
    for rows in (train, problem.valid, new):
        a, b = (e.predictions(rows) for e in (evidence, read))
        assert torch.equal(a, b)
        y = torch.from_numpy(rows.y)
        assert torch.equal(evidence.gaps(y, a), read.gaps(y, a))
        for name, odds in evidence.log_odds(y, a).items():
            assert torch.equal(odds, read.log_odds(y, a)[name])


def test_the_bits_do_not_depend_on_the_threads() -> None:
    train, problem, _ = world(120, 20, flips=12)
    x = np.tile(train.x, (1, 40))  # wide enough for products that threads would share
    train = replace(train, x=x)
    problem = replace(problem, valid=replace(problem.valid, x=np.tile(problem.valid.x, (1, 40))))
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            evidence = gather(train, problem, ("out-of-fold", "neighbors"))
            assert torch.get_num_threads() == threads
            found.append(evidence.log_odds(torch.from_numpy(train.y), evidence.predictions(train))[POOLED])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_seeds_deal_other_folds() -> None:
    train, problem, _ = world(60, 12)
    one, again, other = (
        gather(train, replace(problem, seed=seed), ("out-of-fold",)).predictions(train) for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_a_predictor_for_every_task(name: str, task: Task) -> None:
    own = make_predictor("mlp")
    predictor = source_predictor(name, own, task, 10)
    assert (predictor is own) == (name in {"validation", "out-of-fold"})
    assert predictor.config()["name"]


def test_a_linear_source_that_stops_early_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn's advice on its solver is nothing that a user of raydm could follow."""
    train, problem, _ = world(45, 12)
    hurried = make_predictor("sklearn.linear_model.LogisticRegression", max_iter=1)
    monkeypatch.setattr(MODULE, "make_predictor", lambda *_, **__: hurried)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "linear" in finite(gather(train, problem, ("linear",)), train)
