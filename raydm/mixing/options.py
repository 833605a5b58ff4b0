"""The neighbour options N: with how many nearest neighbours, by which distance, an example may be mixed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raydm.errors import ParameterError

DISTANCES = ("data", "label")

_RANGE = re.compile(r"^(\d+)\.\.(\d+)(?::(\d+))?$")
_POWERS = re.compile(r"^(\d+)\^(\d+)\.\.(\d+)\^(\d+)$")
_MOST = 10_000  # of a list: longer ones are slips of the pen
_FORM = "counts such as 4, 1,2,4, 1..16, 10..270:10 or 2^0..2^8, each >= 1, or none"


def counts(text: str | int | Sequence[int], name: str = "k") -> tuple[int, ...]:
    """Numbers of neighbours, rising, from a list or its short form.

    Args:
        text: counts >= 1, or such as "1..16" (linear), "10..270:10" (with a step), "2^0..2^8" (exponential), "1,2,4",
            or "none".
        name: of the parameter, for messages.

    Raises:
        ParameterError: it is none of these.
    """
    if isinstance(text, str) and text.strip() in ("", "none"):
        return ()
    if isinstance(text, str):
        found: list[Any] = [k for part in text.split(",") for k in _part(part.strip(), text, name)]
    else:
        found = list(text) if isinstance(text, Iterable) else [text]
    if not all(isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 1 for k in found):
        raise _bad(text, name)
    return tuple(sorted({int(k) for k in found}))


def _part(part: str, text: str, name: str) -> list[int]:
    if part.isdecimal():
        return [int(part)]
    if found := _RANGE.match(part):
        first, last, step = (int(g) if g else 1 for g in found.groups())
        if first <= last and step >= 1 and (last - first) // step < _MOST:
            return list(range(first, last + 1, step))
    if found := _POWERS.match(part):
        base, low, again, high = map(int, found.groups())
        if base == again and base >= 2 and low <= high < 64:
            return [base**e for e in range(low, high + 1)]
    raise _bad(text, name)


def _bad(got: object, name: str) -> ParameterError:
    return ParameterError.of(name, "raydm mix", _FORM, got)


@dataclass(frozen=True)
class Options:
    """What an example may be mixed with. Option o counts through `data`, then through `label`.

    Attributes:
        data: numbers of nearest neighbours by the distance of features, rising.
        label: by the distance of labels, rising.
    """

    data: tuple[int, ...] = tuple(range(1, 17))
    label: tuple[int, ...] = tuple(range(1, 17))

    def __post_init__(self) -> None:
        """Raises ParameterError where there is none."""
        if not self.data and not self.label:
            raise ParameterError("raydm mix needs an option: numbers of neighbours by data or by label distance.")

    def __len__(self) -> int:
        return len(self.data) + len(self.label)

    @property
    def each(self) -> list[tuple[str, int]]:
        """(distance, k) of every option."""
        return [("data", k) for k in self.data] + [("label", k) for k in self.label]

    @property
    def by_distance(self) -> dict[str, tuple[int, ...]]:
        """The numbers of neighbours, rising, of each distance; none where it is not used."""
        return {"data": self.data, "label": self.label}

    def of(self, distance: str) -> slice:
        """Which options are of a distance."""
        n = len(self.data)
        return slice(0, n) if distance == "data" else slice(n, len(self))

    def most(self, distance: str) -> int:
        """The largest k of a distance; 0 where it has none."""
        return max(self.data if distance == "data" else self.label, default=0)

    def at_most(self, neighbours: int) -> Options:
        """Those that a training set with so many other examples allows.

        Raises:
            ParameterError: it allows none.
        """
        least = min((*self.data, *self.label))
        if least > neighbours:
            raise ParameterError(
                f"Each of {neighbours + 1} training rows has {neighbours} others, and the options begin at {least} "
                "neighbours. Name fewer, or add rows."
            )
        return Options(*(tuple(k for k in ks if k <= neighbours) for ks in (self.data, self.label)))
