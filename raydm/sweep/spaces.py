"""Search spaces: which values of which settings are tried."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from raydm.errors import ParameterError
from raydm.seeding import stream

KINDS = ("choice", "uniform", "loguniform", "int", "logint")
Settings = dict[str, Any]  # by name

_FORM = re.compile(r"\s*([A-Za-z_][\w.\-]*)\s*=\s*([a-z]+)\((.*)\)\s*", re.DOTALL)
_EXAMPLE = "NAME=choice(A, B, ...), uniform(LOW, HIGH), loguniform(LOW, HIGH), int(LOW, HIGH) or logint(LOW, HIGH)"
_MOST = 100_000  # trials of a grid


@dataclass(frozen=True)
class Dimension:
    """One setting and its values.

    Attributes:
        name: of the setting.
        kind: of `KINDS`.
        values: of a choice.
        low: the least number, else.
        high: the largest; of integers it is one of them.
    """

    name: str
    kind: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0

    def draw(self, rng: np.random.Generator) -> Any:
        """A value at random."""
        if self.kind == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        if self.kind == "int":
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.kind == "uniform":
            return float(rng.uniform(self.low, self.high))
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        if self.kind == "logint":
            return int(min(max(round(drawn), self.low), self.high))
        return min(max(drawn, self.low), self.high)


def dimension(text: str) -> Dimension:
    """Reads NAME=KIND(...).

    Raises:
        ParameterError: it has another form, or no value.
    """
    found = _FORM.fullmatch(text)
    if not found or found[2] not in KINDS:
        raise ParameterError(f"--space {text}: expected {_EXAMPLE}.")
    name, kind = found[1].replace("-", "_"), found[2]
    try:
        values = [_scalar(value) for value in yaml.safe_load(f"[{found[3]}]")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParameterError(f"--space {text}: its values cannot be read. Expected {_EXAMPLE}.") from error
    if kind == "choice":
        if not values:
            raise ParameterError(f"--space {text}: a choice needs a value at least.")
        if any(value in values[:k] for k, value in enumerate(values)):
            raise ParameterError(f"--space {text}: a value stands twice.")
        return Dimension(name, kind, tuple(values))
    whole = kind in ("int", "logint")
    if len(values) != 2 or not all(_is_number(v) and (not whole or float(v).is_integer()) for v in values):
        raise ParameterError(f"--space {text}: {kind} takes two {'integers' if whole else 'numbers'}, LOW and HIGH.")
    low, high = map(float, values)
    if not low < high or (kind.startswith("log") and low <= 0):
        raise ParameterError(f"--space {text}: expected {'0 < ' if kind.startswith('log') else ''}LOW < HIGH.")
    return Dimension(name, kind, (), low, high)


def grid(space: Sequence[Dimension]) -> list[Settings]:
    """Every combination of the choices, the last one's values changing first.

    Raises:
        ParameterError: a dimension is no choice, or there are too many combinations.
    """
    for d in space:
        if d.kind != "choice":
            raise ParameterError(
                f"--search grid tries every value, and {d.name}={d.kind}(...) has no end of them. Name some by "
                f"{d.name}=choice(...), or take --search random or optuna-tpe."
            )
    count = math.prod(len(d.values) for d in space)
    if count > _MOST:
        raise ParameterError(f"--search grid has {count} combinations here, and {_MOST} at most. Name fewer values.")
    names = [d.name for d in space]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(d.values for d in space))]


def drawn(space: Sequence[Dimension], count: int, seed: int) -> list[Settings]:
    """So many combinations at random; the first ones are the same however many there are."""
    return [{d.name: d.draw(stream(seed, "sweep", k, d.name)) for d in space} for k in range(count)]


def merged(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A config with settings put in: `predictor.NAME` into predictor_args, `method.NAME` into method_args."""
    config = dict(base)
    for name, value in settings.items():
        owner, dot, key = name.partition(".")
        if dot:
            config[f"{owner}_args"] = {**config.get(f"{owner}_args", {}), key: value}
        else:
            config[name] = value
    return config


def _scalar(value: Any) -> Any:
    """YAML 1.1 takes 1e-3 for text; dates and the like are no settings."""
    if isinstance(value, str):
        try:
            return float(value) if re.fullmatch(r"[+-]?[\d.]+[eE][+-]?\d+", value) else value
        except ValueError:
            return value
    if isinstance(value, list):
        return [_scalar(each) for each in value]
    if not isinstance(value, (bool, int, float, type(None))):
        raise ValueError(f"{value!r} is no value of a setting")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
