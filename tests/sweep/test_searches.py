"""Searches: what they propose, and how they go on after an interruption."""

from __future__ import annotations

import sys

import pytest

from raydm.errors import MissingPackageError, ParameterError
from raydm.sweep.search import Search, make_search, replay
from raydm.sweep.spaces import Settings, dimension

SPACE = [dimension("x=uniform(-1, 1)"), dimension("c=choice(a, [b, 1])"), dimension("n=int(1, 9)")]


def value(settings: Settings) -> float:
    """Highest at x = 0.3, c = [b, 1]."""
    return -abs(float(settings["x"]) - 0.3) - float(settings["c"] == "a")


def run(search: Search, most: int = 1000) -> list[tuple[int, Settings]]:
    found: list[tuple[int, Settings]] = []
    while len(found) < most and (proposal := search.propose()) is not None:
        found.append((proposal.number, proposal.settings))
        search.tell(proposal.number, value(proposal.settings))
    return found


def test_a_grid_is_told_by_its_space_alone() -> None:
    search = make_search("grid", [dimension("a=choice(1, 2)"), dimension("b=choice(3, 4)")], None, 0)
    assert search.total == 4
    search = make_search("grid", [dimension("a=choice(1, 2)"), dimension("b=choice(3, 4)")], None, 0)
    search.known(1, {"a": 1, "b": 4}, 0.5)
    search.begun(2, {"a": 2, "b": 3})
    proposals = []
    while (proposal := search.propose()) is not None:
        proposals.append(proposal.number)
    assert proposals == [0, 2, 3]
    with pytest.raises(ParameterError, match="--search grid tries all"):
        make_search("grid", [dimension("a=choice(1, 2)")], 3, 0)


def test_random_trials_are_the_same_after_an_interruption() -> None:
    whole = run(make_search("random", SPACE, 6, 4))
    resumed = make_search("random", SPACE, 6, 4)
    replay(resumed, {k: (s, 0.0) for k, s in whole[:2]}, {2: whole[2][1]})
    assert run(resumed) == whole[2:]


@pytest.mark.parametrize("name", ["optuna-tpe", pytest.param("optuna-gp", marks=pytest.mark.slow)])
def test_optuna_learns_from_what_it_is_told(name: str) -> None:
    pytest.importorskip("optuna")
    found = run(make_search(name, SPACE, 40, 0))
    assert [number for number, _ in found] == [*range(40)]
    assert found == run(make_search(name, SPACE, 40, 0))
    first, last = (sum(value(s) for _, s in part) / len(part) for part in (found[:10], found[-10:]))
    assert last > first
    for _, settings in found:
        assert -1 <= settings["x"] <= 1
        assert settings["c"] in ("a", ["b", 1])
        assert isinstance(settings["n"], int)


def test_optuna_goes_on_with_what_was_begun() -> None:
    pytest.importorskip("optuna")
    before = run(make_search("optuna-tpe", SPACE, 8, 0), most=4)
    search = make_search("optuna-tpe", SPACE, 8, 0)
    ended = {k: (s, None if k == 1 else value(s)) for k, s in before[:3]}
    replay(search, ended, {3: before[3][1]})
    after = run(search)
    assert after[0] == before[3]
    assert [number for number, _ in after] == [3, 4, 5, 6, 7]


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r'--search optuna-tpe needs .* pip install "raydm\[tune\]"'):
        make_search("optuna-tpe", SPACE, 4, 0)
