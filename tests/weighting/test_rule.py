"""How free phi moves, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from raydm.errors import ParameterError
from raydm.weighting.rule import DecayedAscent


def moved(phi: list[float], gradient: list[float], rows: list[int] | None = None, **arguments) -> list[float]:
    of = nn.Parameter(torch.tensor(phi, dtype=torch.float64).unsqueeze(-1))
    slopes = torch.tensor(gradient, dtype=torch.float64)
    if rows is None:
        (of.squeeze(-1) * slopes).sum().backward()
    else:
        (functional.embedding(torch.tensor(rows), of, sparse=True).squeeze(-1) * slopes).sum().backward()
    DecayedAscent([of], **arguments).step()
    return of.detach().squeeze(-1).tolist()


def test_the_release_s_rule():
    got = moved([0.5, 0.5, 0.0], [-0.2, 0.7, 0.0], lr=1.0, decay=10.0, floor=1e-5)
    assert got == pytest.approx([0.25, 1e-5, 1e-5])


def test_rows_without_a_gradient_stay():
    got = moved([0.5, 0.5, 0.5], [-0.2, 0.1], rows=[2, 0], lr=1.0, decay=5.0)
    assert got == pytest.approx([1e-5, 0.5, 0.3])


def test_without_memory_it_is_ren_s():
    assert moved([9.0, 9.0, 9.0], [-3.0, 4.0, 0.0], lr=1.0, decay=math.inf, floor=0.0) == [3.0, 0.0, 0.0]


def test_by_the_batch_the_unit_of_the_slopes_has_no_influence():
    small = moved([0.5, 0.5], [-3e-9, 4e-9], decay=2.0)
    assert small == pytest.approx(moved([0.5, 0.5], [-3.0, 4.0], decay=2.0))
    assert small == pytest.approx([0.25 + 3 / (12.5**0.5), 1e-5])
    assert moved([0.5, 0.5], [0.0, 0.0], decay=2.0) == pytest.approx([0.25, 0.25])


def test_phi_goes_back_to_where_it_rests():
    assert moved([2.0, 0.0, 1.0], [0.0, 0.0, 0.2], lr=1.0, decay=4.0, rest=1.0) == pytest.approx([1.25, 0.75, 0.8])
    # By the batch a slope of the root mean square moves it by half the rest
    assert moved([1.0, 1.0], [3.0, -3.0], decay=2.0, rest=1.0) == pytest.approx([0.5, 1.5])


@pytest.mark.parametrize("bad", [{"rest": -1}, {"lr": 0}, {"lr": "all"}, {"decay": 0.5}, {"floor": -1}])
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        DecayedAscent([torch.zeros(1, requires_grad=True)], **bad)
