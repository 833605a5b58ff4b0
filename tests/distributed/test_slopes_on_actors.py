"""Slopes on actors: the same bits as in one process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from raydm.data.task import Task
from raydm.distributed import RayUtility
from raydm.errors import ParameterError
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem


def relaxed(digits_small: Any) -> TrainingSets:
    train = digits_small[0]
    w = torch.rand(10, len(train), generator=torch.Generator().manual_seed(0)).requires_grad_()
    return TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, Task("classification", 3))


@pytest.mark.parametrize("actors", [1, 4])
def test_the_slopes_bits_are_those_of_one_process(
    digits_small: Any, problem: Problem, pools: dict[int, RayUtility], actors: int
) -> None:
    pools[actors].turn_to(problem)
    sets = relaxed(digits_small)
    there, here = pools[actors](sets, step=5), InProcess(problem)(sets, step=5)
    torch.testing.assert_close(there, here, rtol=0, atol=0)
    slopes = [torch.autograd.grad(u.sum(), sets.w)[0] for u in (there, here)]
    torch.testing.assert_close(*slopes, rtol=0, atol=0)
    assert (slopes[0] != 0).any()


def test_a_shared_x_s_slopes(digits_small: Any, problem: Problem, pools: dict[int, RayUtility]) -> None:
    pools[4].turn_to(problem)
    sets = relaxed(digits_small)
    sets = TrainingSets(sets.x.requires_grad_(), sets.y, sets.w.detach(), sets.task)
    slopes = [torch.autograd.grad(of(sets, step=5).sum(), sets.x)[0] for of in (pools[4], InProcess(problem))]
    torch.testing.assert_close(*slopes, rtol=0, atol=0)


def test_a_predictor_that_is_not_differentiable_is_refused(
    digits_small: Any, problem: Problem, pools: dict[int, RayUtility]
) -> None:
    pools[1].turn_to(replace(problem, predictor=make_predictor("naive-bayes")))
    with pytest.raises(ParameterError, match="BlackBox cannot be differentiated"):
        pools[1](relaxed(digits_small), step=0)
