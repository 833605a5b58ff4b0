"""Checks of parameters that several parts share; each raises a ParameterError that says which, of what, the range."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from raydm.errors import ParameterError, one_of


def is_number(value: object) -> bool:
    """Whether it is a finite real number."""
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(np.isfinite(value))


def are_bounds(value: object) -> bool:
    """Whether it is (low, high) with 0 <= low <= high <= 1."""
    if not (isinstance(value, Sequence) and len(value) == 2 and all(is_number(v) for v in value)):
        return False
    return bool(0 <= value[0] <= value[1] <= 1)


def check_integer(owner: str, name: str, value: object, least: int) -> None:
    """Raises ParameterError unless it is an integer >= least."""
    if not (isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least):
        raise ParameterError.of(name, owner, f"an integer >= {least}", value)


def check_positive(owner: str, name: str, value: object) -> None:
    """Raises ParameterError unless it is a finite number > 0."""
    if not (is_number(value) and not isinstance(value, bool) and float(value) > 0):  # type: ignore[arg-type]
        raise ParameterError.of(name, owner, "a number > 0", value)


def check_inner_share(owner: str, name: str, value: object) -> None:
    """Raises ParameterError unless it is a number in (0, 1)."""
    if not (is_number(value) and 0 < float(value) < 1):  # type: ignore[arg-type]
        raise ParameterError.of(name, owner, "a number in (0, 1)", value)


def check_positive_each(owner: str, name: str, values: object) -> None:
    """Raises ParameterError unless these are one or more finite numbers > 0."""
    if not (isinstance(values, Sequence) and not isinstance(values, str) and len(values)):
        raise ParameterError.of(name, owner, "one or more numbers > 0", values)
    for value in values:
        check_positive(owner, name, value)


def check_choice(owner: str, name: str, value: object, names: Collection[str]) -> None:
    """Raises ParameterError unless it is one of the names."""
    if value not in names:
        raise ParameterError.of(name, owner, one_of(names), value)
