"""Search spaces: their grammar, grids and draws."""

from __future__ import annotations

import numpy as np
import pytest

from raydm.errors import ParameterError
from raydm.flags.types import numbers
from raydm.sweep.spaces import Dimension, dimension, drawn, grid, merged


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("reward_scale=choice(.25, 1, std)", (0.25, 1, "std")),
        ("learning-rate = choice(1e-3, 2E+1)", (1e-3, 20.0)),
        ("data_options=choice(1..16, '2^0..2^8', none)", ("1..16", "2^0..2^8", "none")),
        ("predictor.hidden=choice([100], [512, 256], null, true)", ([100], [512, 256], None, True)),
        ("mean_bounds=choice([1e-1, .9])", ([0.1, 0.9],)),
    ],
)
def test_values_of_a_choice(text: str, values: tuple[object, ...]) -> None:
    found = dimension(text)
    assert (found.kind, found.values) == ("choice", values)
    assert [type(v) for v in found.values] == [type(v) for v in values]


def test_names_and_bounds() -> None:
    assert dimension("learning-rate=loguniform(1e-3, .1)") == Dimension("learning_rate", "loguniform", (), 1e-3, 0.1)
    assert dimension("predictor.l2=uniform(-1, 2)") == Dimension("predictor.l2", "uniform", (), -1.0, 2.0)
    assert dimension("rollouts=int(8, 64)") == Dimension("rollouts", "int", (), 8.0, 64.0)


@pytest.mark.parametrize(
    "text",
    [
        "rollouts", "rollouts=", "rollouts=8", "rollouts=normal(0, 1)", "rollouts=choice()", "rollouts=choice(1, 1)",
        "rollouts=int(1, 2.5)", "rollouts=int(1)", "lr=uniform(2, 1)", "lr=uniform(1, 1)", "lr=loguniform(0, 1)",
        "lr=uniform(a, b)", "lr=choice([1)", "lr=choice(2020-01-01)", "lr=uniform(0, .inf)", "=choice(1)",
        "lr=choice(*a)", "n=uniform(true, 3)",
    ],
)  # fmt: skip
def test_what_is_no_space_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match=r"^--space"):
        dimension(text)


def test_a_grid_has_every_combination_once() -> None:
    space = [dimension("a=choice(1, 2, 3)"), dimension("b=choice(x, y)")]
    found = grid(space)
    assert found[:3] == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}]
    assert len({(one["a"], one["b"]) for one in found}) == len(found) == 6
    assert grid([]) == [{}]
    with pytest.raises(ParameterError, match="has no end of them"):
        grid([dimension("a=uniform(0, 1)")])
    with pytest.raises(ParameterError, match="has 1000000 combinations"):
        grid([Dimension(name, "choice", tuple(range(100))) for name in "abc"])


def test_draws_are_inside_and_the_first_stay_the_first() -> None:
    kinds = ("uniform", "loguniform", "int", "logint")
    space = [dimension(f"{kind[0]}{n}={kind}(2, 32)") for n, kind in enumerate(kinds)]
    space.append(dimension("c=choice(x, y)"))
    found = drawn(space, 2000, 0)
    assert found[:7] == drawn(space, 7, 0)
    assert found[:7] != drawn(space, 7, 1)
    for d in space[:4]:
        values = np.array([one[d.name] for one in found], float)
        assert 2 <= values.min() < values.max() <= 32
        whole = all(isinstance(one[d.name], int) for one in found)
        assert whole == (d.kind in ("int", "logint"))
        middle = np.median(values)  # of a logarithmic one at the root of the product
        assert middle == pytest.approx(8 if d.kind.startswith("log") else 17, rel=0.15)
    assert {one["c"] for one in found} == {"x", "y"}
    assert {2, 32} <= {one["i2"] for one in found}  # both ends


def test_settings_go_into_a_config_by_their_owner() -> None:
    base = {"steps": 4, "predictor_args": {"epochs": 5, "l2": 1.0}}
    found = merged(base, {"predictor.epochs": 7, "method.k": 2, "steps": 6})
    assert found == {"steps": 6, "predictor_args": {"epochs": 7, "l2": 1.0}, "method_args": {"k": 2}}
    assert base == {"steps": 4, "predictor_args": {"epochs": 5, "l2": 1.0}}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0:1:0.25", [0, 0.25, 0.5, 0.75, 1]),
        ("0:0.3:0.1", [0, 0.1, 0.2, 0.3]),
        ("0:1:0.333334", [0, 0.333334, 0.666668, 1]),  # a third, rounded up: it ends at the end all the same
        ("0:1:0.3", [0, 0.3, 0.6, 0.9]),
        ("0.5,0.2", [0.5, 0.2]),
    ],
)
def test_thresholds_are_the_decimal_numbers_that_were_written(text: str, values: list[float]) -> None:
    assert numbers(text) == values
