"""Which epoch is kept, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from raydm.joint_training.keeping import Keeper, averaged, standard_error
from raydm.metrics import METRICS
from raydm.predictors.fitted_module import FittedModule


def says(hits: list[int]) -> torch.Tensor:
    """Predictions (1, M, 2) of M rows of class 0, right where there is a 1."""
    right = torch.tensor(hits, dtype=torch.float64)
    return torch.stack([right, 1 - right], -1)[None]


def kept(keep: str, epochs: list[list[int]], losses: list[float] | None = None, metric: str = "accuracy") -> int:
    """The number of the epoch that is kept."""
    keeper = Keeper(keep, METRICS[metric], torch.zeros(len(epochs[0]), dtype=torch.int64), len(epochs))
    for number, hits in enumerate(epochs):
        made: Any = number
        keeper.see(made, says(hits), losses[number] if losses else 0.0)
    assert isinstance(keeper.fitted, int)
    return keeper.fitted


def test_the_standard_error_of_a_mean_is_the_textbook_s():
    # The jackknife of a mean is its standard error; here of differences -1, 0, 1, 1 in hits
    a, b = says([0, 1, 1, 1]), says([1, 1, 0, 0])
    expected = np.std([-1, 0, 1, 1], ddof=1) / 2
    assert standard_error(METRICS["accuracy"], a, b, torch.zeros(4, dtype=torch.int64)) == pytest.approx(expected)


def test_of_many_rows_groups_are_left_out():
    rng = np.random.default_rng(0)
    a, b = (says(rng.integers(0, 2, 5000).tolist()) for _ in range(2))
    found = standard_error(METRICS["accuracy"], a, b, torch.zeros(5000, dtype=torch.int64))
    assert found == pytest.approx(np.sqrt(0.5 / 5000), rel=0.3)  # a difference of hits has variance 1/2


def test_near_best_is_the_last_that_chance_explains():
    best, near, far = [1] * 9 + [0], [1] * 7 + [0, 0, 1], [1, 1] + [0] * 8
    # Two hits fewer and one more: behind by .1, and the standard error of the difference is .18
    assert kept("near-best", [far, best, near]) == 2
    # 7 hits fewer: behind by .7, standard error .15
    assert kept("near-best", [best, near, far]) == 1
    assert kept("near-best", [near, best, far, far]) == 1
    assert kept("best", [far, best, near]) == 1
    assert kept("last", [best, near, far]) == 2
    # One hit fewer: behind by .1, which is the standard error
    assert kept("near-best", [best, [1] * 8 + [0, 0]]) == 1


def test_of_equals_the_best_has_the_least_loss_and_near_best_is_the_later():
    same = [1, 1, 0]
    assert kept("best", [same, same, same], [0.3, 0.1, 0.2]) == 1
    assert kept("near-best", [same, same, same], [0.3, 0.1, 0.2]) == 2


def test_a_better_one_raises_the_bar():
    first, worse, better = [1] * 5 + [0] * 15, [1] * 4 + [0] * 16, [1] * 20
    assert kept("near-best", [first, worse, better, worse]) == 2


def test_one_row_says_nothing_and_a_metric_that_is_undefined_on_a_part_keeps_the_best():
    assert kept("near-best", [[1], [0]]) == 1
    keeper = Keeper("near-best", METRICS["auc"], torch.tensor([0, 1]), 2)  # without either row there is one class
    for number, hits in enumerate([[1, 0], [0, 1]]):
        made: Any = number
        keeper.see(made, says(hits), 0.0)
    assert keeper.fitted == 0


def fitted(value: float, count: int) -> FittedModule:
    buffers = {"running_mean": torch.tensor([2 * value]), "num_batches_tracked": torch.tensor(count)}
    nothing: Any = None
    return FittedModule(nothing, [[torch.tensor([value])]], [buffers], torch.zeros(1, 1), torch.ones(1, 1))


def test_parameters_and_statistics_are_averaged_counts_are_the_last():
    mean = averaged(averaged(fitted(1.0, 5), fitted(2.0, 10), 2), fitted(6.0, 15), 3)
    assert mean.params[0][0].tolist() == pytest.approx([3.0])
    assert mean.buffers[0]["running_mean"].tolist() == pytest.approx([6.0])
    assert mean.buffers[0]["num_batches_tracked"] == 15


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1.0), (2, 2.0), (3, 2.5), (4, 3.5)])
def test_average_is_of_the_latter_half(epochs, expected):
    keeper = Keeper("average", METRICS["accuracy"], torch.zeros(1, dtype=torch.int64), epochs)
    for number in range(1, epochs + 1):
        keeper.see(fitted(float(number), number), says([1]), 0.0)
    assert keeper.fitted is not None
    assert keeper.fitted.params[0][0].item() == pytest.approx(expected)
