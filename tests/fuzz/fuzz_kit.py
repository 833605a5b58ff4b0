"""What the fuzz tests share: files, damage to their bytes and to their JSON, and what counts as refused."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydm.errors import RaydmError

Step = tuple[str, float, Any]
Damage = list[Step]
WRONG: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2,
        7,
        10**18,
        0.5,
        -1.5,
        float("nan"),
        float("inf"),
        "",
        "no such",
        "0",
        "../../etc",
    ),
    *([], [[]], [0] * 3, ["a", "b"], {}, {"name": 1}, {"a": {"b": [None]}}),
)
_PLACE = st.floats(0, 1, exclude_max=True)
_BYTES: tuple[st.SearchStrategy[Step], ...] = (
    st.tuples(st.just("cut"), _PLACE, st.none()),
    st.tuples(st.just("flip"), _PLACE, st.integers(1, 255)),
    st.tuples(st.just("flip"), _PLACE, st.integers(1, 255)),
    st.tuples(st.just("put"), _PLACE, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("over"), _PLACE, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("drop"), _PLACE, st.integers(1, 64)),
    st.tuples(st.just("again"), _PLACE, st.integers(1, 64)),
)
_JSON: tuple[st.SearchStrategy[Step], ...] = (
    st.tuples(st.just("set"), _PLACE, st.sampled_from(range(len(WRONG)))),
    st.tuples(st.just("set"), _PLACE, st.sampled_from(range(len(WRONG)))),
    st.tuples(st.just("remove"), _PLACE, st.none()),
    st.tuples(st.just("wrap"), _PLACE, st.none()),
    st.tuples(st.just("double"), _PLACE, st.none()),
)
byte_damage = st.lists(st.one_of(_BYTES), min_size=1, max_size=3)
json_damage = st.lists(st.one_of(_JSON), min_size=1, max_size=2)


def damaged(data: bytes, damage: Damage) -> bytes:
    """The bytes after all steps; places are shares of the length."""
    for what, place, how in damage:
        at = int(place * len(data))
        match what:
            case "cut":
                data = data[:at]
            case "flip" if data:
                data = data[:at] + bytes([data[at] ^ how]) + data[at + 1 :]
            case "put":
                data = data[:at] + how + data[at:]
            case "over":
                data = data[:at] + how + data[at + len(how) :]
            case "drop":
                data = data[:at] + data[at + how :]
            case "again":
                data = data[: at + how] + data[at:]
    return data


def spoiled(content: Any, damage: Damage) -> Any:
    """JSON content after all steps: at some place in it stands something else, or nothing."""
    content = json.loads(json.dumps(content))
    for what, place, how in damage:
        places = list(_places(content))
        if not places:
            return copy.deepcopy(WRONG[how]) if what == "set" else [content]
        inside, key = places[int(place * len(places))]
        match what:
            case "set":
                inside[key] = copy.deepcopy(WRONG[how])  # the next step may change it
            case "remove":
                del inside[key]
            case "wrap":
                inside[key] = [inside[key]]
            case "double" if isinstance(inside, list):
                inside.insert(key, inside[key])
            case "double":
                inside[f"{key}_"] = inside[key]
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Each entry, as what holds it and its key; the first of long lists alone."""
    items = (
        content.items() if isinstance(content, dict) else enumerate(content[:4]) if isinstance(content, list) else ()
    )
    for key, value in list(items):
        yield content, key
        yield from _places(value)


def is_read(read: Callable[[], object]) -> bool:
    """Whether it is read; False: refused by an error of raydm's. Any other error goes through, and fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read()
        except RaydmError:
            return False
    return True


def fuzz(examples: int, test: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
    """Runs a test on so many examples."""
    settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)(given(*strategies)(test))()


def amounts(few: int, many: int) -> pytest.MarkDecorator:
    """How many examples there are: few by default, many where the slow tests are run."""
    return pytest.mark.parametrize(
        "examples", [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.slow)]
    )


def rows(count: int, seed: int) -> pd.DataFrame:
    """Ids, numbers, a category, texts, and a label of two classes."""
    import numpy as np

    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"id": np.arange(count), "a": rng.normal(size=count), "b": rng.normal(size=count)})
    table["g"] = rng.choice(["u", "v", "w"], count)
    table["label"] = np.where(table.a - table.b > 0, "yes", "no")
    return table


def copied(folder: Path, into: Path) -> Path:
    """A copy of a folder, the last one's place."""
    import shutil

    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder, into)
    return into
