"""NeighborVotes, against votes that are counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.predictors import TrainingSets, make_predictor

TWO, TARGETS = Task("classification", 2), Task("regression", 1)
SEED = np.zeros(1, dtype=np.int64)


def said(y: list[float], w: list[float], rows: list[float], task: Task = TWO, **arguments: Any) -> Tensor:
    """What is predicted for rows on a line on which example i lies at i: (M, C)."""
    labels = torch.tensor(y) if task.kind == "regression" else torch.tensor(y).long()
    sets = TrainingSets(torch.arange(float(len(y)))[:, None], labels, torch.tensor([w]), task)
    return make_predictor("neighbors", **arguments).fit_predict(sets, torch.tensor(rows)[:, None], seed=SEED)[0]


def test_the_nearest_vote_and_the_classes_share_the_prior() -> None:
    # To 0.1 the nearest are 0, 1, 2: two votes for class 0, one for class 1, beside a quarter for each. To 3.9: 4, 3,
    # 2, all of class 1.
    p = said([0, 0, 1, 1, 1], [1.0] * 5, [0.1, 3.9], k=3, prior=0.5)
    expected = torch.tensor([[2.25, 1.25], [0.25, 3.25]], dtype=torch.float64) / 3.5
    torch.testing.assert_close(p, expected)


def test_weights_are_votes_and_the_last_one_votes_in_part() -> None:
    # From 0 the votes are 0.5, then 2, of which 1.5 are left of k = 2; the third has none.
    p = said([0, 1, 0], [0.5, 2.0, 9.0], [0.0], k=2, prior=1.0)
    torch.testing.assert_close(p, torch.tensor([[0.5 + 0.5, 1.5 + 0.5]], dtype=torch.float64) / 3)


def test_targets_are_the_voters_mean() -> None:
    p = said([1.0, 5.0, 9.0], [0.5, 2.0, 9.0], [0.0, 2.0], TARGETS, k=2)
    torch.testing.assert_close(p, torch.tensor([[(0.5 * 1 + 1.5 * 5) / 2], [9.0]], dtype=torch.float64))


def test_fewer_votes_than_k_all_count() -> None:
    p = said([0, 0, 1], [1.0, 0.0, 1.0], [5.0], k=20, prior=2.0)
    torch.testing.assert_close(p, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    assert said([1.0, 2.0, 6.0], [1.0, 0.0, 1.0], [5.0], TARGETS, k=20).item() == pytest.approx(3.5)


def test_votes_are_gathered_however_many_neighbours_that_takes() -> None:
    # A hundredth of a vote each: the vote of k = 1 takes one hundred neighbours, half of each class.
    p = said([i % 2 for i in range(300)], [0.01] * 300, [0.0], k=1, prior=1.0)
    torch.testing.assert_close(p, torch.tensor([[0.5, 0.5]], dtype=torch.float64), rtol=0, atol=1e-6)


def test_one_row_that_needs_many_neighbours_does_not_change_another_s_votes() -> None:
    w = [1.0] * 10 + [0.001] * 500
    both, alone = (said([i % 2 for i in range(510)], w, rows, k=3) for rows in ([0.0, 509.0], [0.0]))
    assert torch.equal(both[:1], alone)


def test_a_neighbourhood_of_one_class_leaves_the_others_possible() -> None:
    p = said([1] * 30, [1.0] * 30, [3.0])
    torch.testing.assert_close(p, torch.tensor([[0.25, 20.25]], dtype=torch.float64) / 20.5)


@pytest.mark.parametrize("arguments", [{"k": 0}, {"k": 1.5}, {"prior": 0.0}, {"prior": float("nan")}])
def test_arguments_out_of_range_are_named(arguments: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=f"'{next(iter(arguments))}' parameter of NeighborVotes"):
        make_predictor("neighbors", **arguments)


def test_class_probabilities_as_labels_are_refused() -> None:
    sets = TrainingSets(torch.zeros(2, 1), torch.ones(2, 2) / 2, torch.ones(1, 2), TWO)
    with pytest.raises(ParameterError, match="needs class indices"):
        make_predictor("neighbors").fit(sets, seed=SEED)


def test_absent_examples_are_not_saved(tmp_path: Path) -> None:
    sets = TrainingSets(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 0]), torch.tensor([[1.0, 0.0, 2.0]]), TWO)
    fitted = make_predictor("neighbors").fit(sets, seed=SEED)
    fitted.save(tmp_path)
    read = make_predictor("neighbors").load(tmp_path, TWO, 2)
    assert read.x.tolist() == [[0.0, 1.0], [4.0, 5.0]]
    assert read.w.tolist() == [[1.0, 2.0]]
    assert torch.equal(read.predict(sets.x), fitted.predict(sets.x))
    replace(fitted, w=0 * fitted.w).save(tmp_path)  # a set of none
    assert make_predictor("neighbors").load(tmp_path, TWO, 2).predict(sets.x).tolist() == [[[0.5, 0.5]] * 3]


def test_an_empty_set_predicts_the_mean_of_all_targets_also_when_it_is_read_back(tmp_path: Path) -> None:
    w = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    for name, sets in (("some", w), ("none", 0 * w)):
        fitted = make_predictor("neighbors").fit(
            TrainingSets(torch.zeros(3, 1), torch.tensor([1.0, 2.0, 6.0]), sets, TARGETS), seed=np.zeros(2, int)
        )
        (tmp_path / name).mkdir()
        fitted.save(tmp_path / name)
        read = make_predictor("neighbors").load(tmp_path / name, TARGETS, 1)
        for votes in (fitted, read):
            assert votes.predict(torch.zeros(1, 1)).flatten().tolist() == [3.0, 1.0 if name == "some" else 3.0]


def test_a_file_of_another_width_is_refused(tmp_path: Path) -> None:
    sets = TrainingSets(torch.zeros(2, 3), torch.zeros(2).long(), torch.ones(1, 2), TWO)
    make_predictor("neighbors").fit(sets, seed=SEED).save(tmp_path)
    with pytest.raises(RunError, match="holds 3 features; the run's config names 2"):
        make_predictor("neighbors").load(tmp_path, TWO, 2)
    (tmp_path / "neighbors.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        make_predictor("neighbors").load(tmp_path, TWO, 3)
