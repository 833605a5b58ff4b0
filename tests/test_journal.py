"""The journal: a run that died is resumed to the bit, and does nothing again; what does not fit is refused."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raydm import DataMixer, DataValuator
from raydm.data import Examples
from raydm.data.task import Task
from raydm.errors import RaydmWarning, RolloutError, RunError
from raydm.journal import Journal, Journaled
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.records import Records
from raydm.utility import InProcess, Problem

TASK = Task("classification", 3)


class Died(BaseException):
    """Stands for SIGKILL."""


class Counted(InProcess):
    """Counts what it is asked, and dies when it has answered so often."""

    asked = 0
    dies_after: float = float("inf")

    def _count(self) -> None:
        if Counted.asked >= Counted.dies_after:
            raise Died
        Counted.asked += 1

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        self._count()
        return super().__call__(sets, step=step)

    def predictions(self, sets: TrainingSets, x: Tensor, *, step: int) -> Tensor:
        self._count()
        return super().predictions(sets, x, step=step)


@pytest.fixture(autouse=True)
def _uncounted() -> Iterator[None]:
    Counted.asked, Counted.dies_after = 0, float("inf")
    yield
    Counted.asked, Counted.dies_after = 0, float("inf")


def dies_after(answers: float) -> None:
    Counted.asked, Counted.dies_after = 0, answers


def rows(seed: int = 0, *, regression: bool = False) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 4))
    score = x[:, 0] - x[:, 1]
    y = score if regression else (score > 0).astype(int)
    return x[:35], y[:35], x[35:], y[35:]


def value(make: Any, **arguments: Any) -> DataValuator:
    x, y, x_valid, y_valid = rows()
    evidence: dict[str, Any] = {"evidence": ("validation", "neighbors")}
    arguments = {"steps": 6, "rollouts": 4, "outer_batch": 16, "shard": 2, "restarts": 1, **evidence, **arguments}
    return DataValuator(**arguments, utility=make).fit(x, y, X_valid=x_valid, y_valid=y_valid)


VALUING: dict[str, dict[str, Any]] = {
    "dvrl": {},
    "two-folds": {"judge": 2, "steps": 8},
    "pathwise": {"policy": "gumbel", "judge": 0},
    "taylor": {"control_variate": "taylor", "judge": 0},
    "full-data": {"baseline": "full-data", "judge": 0},
    "shapley": {"method": "shapley", "method_params": {"permutations": 4}},
    "loo": {"method": "loo"},
    "data-oob": {"method": "data-oob", "method_params": {"members": 12, "rollouts": 4}},
}


@pytest.mark.parametrize("how", VALUING)
@pytest.mark.parametrize(
    "share", [pytest.param(0.0, marks=pytest.mark.slow), 0.5, pytest.param(1.0, marks=pytest.mark.slow)]
)
def test_a_run_that_died_is_resumed_to_the_bit(tmp_path: Path, how: str, share: float) -> None:
    """It dies in the middle, before the first answer, or after the last; what was answered is not asked again."""
    arguments = VALUING[how]
    whole = value(Counted, **arguments)
    answers = Counted.asked
    before = int(share * answers)
    if before < answers:
        dies_after(before)
        with Journal(tmp_path / "j") as journal, pytest.raises(Died):
            value(journal.over(Counted), **arguments)
    else:
        with Journal(tmp_path / "j") as journal:
            value(journal.over(Counted), **arguments)
    dies_after(float("inf"))
    with Journal(tmp_path / "j", resume=True) as journal:
        assert journal.kept == before
        resumed = value(journal.over(Counted), **arguments)
        assert journal.left == 0
    assert Counted.asked == answers - before
    np.testing.assert_array_equal(resumed.values_, whole.values_)
    x = rows()[2]
    np.testing.assert_array_equal(resumed.predictor_.predict_proba(x), whole.predictor_.predict_proba(x))
    if whole.method == "dvrl":
        np.testing.assert_array_equal(resumed.value(x, rows()[3]), whole.value(x, rows()[3]))
    strip = lambda history: [{k: v for k, v in line.items() if k != "seconds"} for line in history]
    assert strip(resumed.history_) == strip(whole.history_)


@pytest.mark.parametrize(
    "before", [pytest.param(0, marks=pytest.mark.slow), 2, pytest.param(7, marks=pytest.mark.slow)]
)
def test_a_mixing_run_is_resumed_to_the_bit(tmp_path: Path, before: int) -> None:
    x, y, x_valid, y_valid = rows(regression=True)

    def mix(make: Any) -> DataMixer:
        mixer = DataMixer(
            predictor="linear", steps=4, rollouts=4, data_options="1..3", label_options="1..3", repeats=2, utility=make
        )
        return mixer.fit(x, y, X_valid=x_valid, y_valid=y_valid)

    whole, answers = mix(Counted), Counted.asked
    assert answers > 7  # among them those that choose the threshold, by other seeds
    dies_after(before)
    with Journal(tmp_path / "j") as journal, pytest.raises(Died):
        mix(journal.over(Counted))
    dies_after(float("inf"))
    with Journal(tmp_path / "j", resume=True) as journal:
        resumed = mix(journal.over(Counted))
    assert Counted.asked == answers - before
    assert resumed.chosen_ == whole.chosen_
    for part in ("i", "j", "lam"):
        np.testing.assert_array_equal(getattr(resumed.pairs_, part), getattr(whole.pairs_, part))
    np.testing.assert_array_equal(resumed.predictor_.predict(x), whole.predictor_.predict(x))


@pytest.mark.slow
def test_a_run_may_die_again_and_again(tmp_path: Path) -> None:
    whole, answers = value(Counted), Counted.asked
    for _ in range(answers - 1):
        dies_after(1)
        with Journal(tmp_path / "j", resume=True) as journal, pytest.raises(Died):
            value(journal.over(Counted))
    dies_after(float("inf"))
    for make in (Counted, no_utility):
        with Journal(tmp_path / "j", resume=True) as journal:
            assert journal.kept == answers - (make is Counted)
            resumed = value(journal.over(make))
    np.testing.assert_array_equal(resumed.values_, whole.values_)


def no_utility(problem: Problem) -> InProcess:
    raise AssertionError("a run whose answers are all there needs no utility, and starts no actors")


@pytest.fixture
def problem(digits_small: tuple[Examples, Examples]) -> Problem:
    return Problem(make_predictor("logistic"), digits_small[1], TASK, METRICS["log-likelihood"], seed=3, shard=4)


def sets(train: Examples, *wanted: str) -> TrainingSets:
    w = torch.rand(3, len(train), generator=torch.Generator().manual_seed(0))
    made = {"x": torch.from_numpy(train.x.copy()), "y": torch.from_numpy(train.y), "w": w}
    for name in wanted:
        made[name].requires_grad_()
    return TrainingSets(made["x"], made["y"], made["w"], TASK)


@pytest.mark.parametrize("wanted", [("w",), ("x",), ("x", "w")])
def test_slopes_are_kept_too(tmp_path: Path, digits_small: Any, problem: Problem, wanted: tuple[str, ...]) -> None:
    here = sets(digits_small[0], *wanted)
    u = InProcess(problem)(here, step=2)
    slopes = torch.autograd.grad(u.sum(), [getattr(here, name) for name in wanted])
    for resume in (False, True):
        with Journal(tmp_path / "j", resume=resume) as journal:
            given = sets(digits_small[0], *wanted)
            again = journal.over(no_utility if resume else InProcess)(problem)(given, step=2)
            torch.testing.assert_close(again, u, rtol=0, atol=0)
            found = torch.autograd.grad(again.sum(), [getattr(given, name) for name in wanted])
            torch.testing.assert_close(found, slopes, rtol=0, atol=0)


def filled(folder: Path, train: Examples, problem: Problem, identity: Any = None) -> None:
    with Journal(folder, identity) as journal:
        utility = Journaled(InProcess, journal)(problem)
        for step in range(3):
            utility(sets(train), step=step)


CHANGES: dict[str, Callable[[Problem, Examples], tuple[Problem, TrainingSets, int]]] = {
    "step": lambda problem, train: (problem, sets(train), 1),
    "seed": lambda problem, train: (replace(problem, seed=4), sets(train), 0),
    "predictor": lambda problem, train: (replace(problem, predictor=make_predictor("mlp")), sets(train), 0),
    "metric": lambda problem, train: (replace(problem, metric=METRICS["accuracy"]), sets(train), 0),
    "trusted rows": lambda problem, train: (replace(problem, valid=problem.valid.take(range(9))), sets(train), 0),
    "rows": lambda problem, train: (problem, sets(train.take(range(59, -1, -1))), 0),
    "slopes": lambda problem, train: (problem, sets(train, "w"), 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_question_is_refused(tmp_path: Path, digits_small: Any, problem: Problem, change: str) -> None:
    filled(tmp_path / "j", digits_small[0], problem)
    other, given, step = CHANGES[change](problem, digits_small[0])
    with Journal(tmp_path / "j", resume=True) as journal:
        utility = journal.over(InProcess)(other)
        with pytest.raises(RunError, match=rf"at step {step} \(answer 0\) something else is asked"):
            utility(given, step=step)


def test_what_is_there_is_not_overwritten(tmp_path: Path, digits_small: Any, problem: Problem) -> None:
    filled(tmp_path / "j", digits_small[0], problem)
    with pytest.raises(RunError, match=r"holds what an interrupted run has done\. Add --resume"):
        Journal(tmp_path / "j")


def test_another_run_is_refused_and_what_differs_is_named(tmp_path: Path, digits_small: Any, problem: Problem) -> None:
    identity = {"arguments": {"steps": 4, "seed": 0}, "fingerprints": {"train": "ab" * 32}}
    filled(tmp_path / "j", digits_small[0], problem, identity)
    other = {"arguments": {"steps": 5, "seed": 0, "rows": 3}, "fingerprints": {"train": "cd" * 32}}
    with pytest.raises(
        RunError,
        match=r"arguments\.rows is null there and 3 here; arguments\.steps is 4 there and 5 here; fingerprints\.train",
    ):
        Journal(tmp_path / "j", other, resume=True)
    Journal(tmp_path / "j", identity, resume=True).close()


def test_another_version_is_refused(
    tmp_path: Path, digits_small: Any, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "j", digits_small[0], problem)
    monkeypatch.setattr("raydm.journal.version", lambda name: "0.0.1" if name == "raydm" else "9")
    with pytest.raises(RunError, match=r"raydm is \"[\d.]+\" there and \"0\.0\.1\" here"):
        Journal(tmp_path / "j", resume=True)


def test_a_torn_journal_loses_its_last_answer_alone(tmp_path: Path, digits_small: Any, problem: Problem) -> None:
    filled(tmp_path / "j", digits_small[0], problem)
    file = tmp_path / "j" / "answers"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.warns(RaydmWarning, match="torn"), Journal(tmp_path / "j", resume=True) as journal:
        assert journal.kept == 2


def test_a_damaged_journal_is_refused(tmp_path: Path, digits_small: Any, problem: Problem) -> None:
    filled(tmp_path / "j", digits_small[0], problem)
    file = tmp_path / "j" / "answers"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="damaged at byte"):
        Journal(tmp_path / "j", resume=True)


@pytest.mark.parametrize("first", [b"", b"not JSON", b"[]", b"3", b"[" * 100_000, json.dumps("x").encode()])
def test_records_of_something_else_are_refused(tmp_path: Path, first: bytes) -> None:
    with Records(tmp_path / "j" / "answers") as records:
        records.add(first)
    with pytest.raises(RunError, match=str(tmp_path / "j")):
        Journal(tmp_path / "j", resume=True)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"junk" * 9])
def test_an_answer_that_is_none_is_refused(tmp_path: Path, digits_small: Any, problem: Problem, content: bytes) -> None:
    with Journal(tmp_path / "j") as journal:
        identity = json.dumps(journal._identity).encode()
    with Records(tmp_path / "j" / "answers") as records:
        records.add(identity)
        records.add(content)
    with Journal(tmp_path / "j", resume=True) as journal:
        utility = journal.over(InProcess)(problem)
        with pytest.raises(RunError, match="answer 0 is no record of a journal"):
            utility(sets(digits_small[0]), step=0)


def test_a_failed_rollout_is_no_answer(tmp_path: Path, digits_small: Any, problem: Problem) -> None:
    class Bad(InProcess):
        def __call__(self, given: TrainingSets, *, step: int) -> Tensor:
            raise RolloutError("Step 0: diverged")

    for resume in (False, True):
        with Journal(tmp_path / "j", resume=resume) as journal, pytest.raises(RolloutError):
            journal.over(Bad)(problem)(sets(digits_small[0]), step=0)
    assert not (tmp_path / "j").exists()


def test_it_is_its_owner_s_and_goes_away(tmp_path: Path, digits_small: Any, problem: Problem) -> None:
    filled(tmp_path / "j", digits_small[0], problem)
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "j" / "answers").stat().st_mode) == 0o600
    Journal(tmp_path / "j", resume=True).remove()
    assert list(tmp_path.iterdir()) == []
