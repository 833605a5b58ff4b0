"""Settings that change on the way: a schedule, and a member that goes on from another's journal, give the same bits."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

from raydm.changes import Changes
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.distributed.population import ANSWERS, Line, copy_member, load_line
from raydm.errors import ParameterError, RunError
from raydm.journal import Journal
from raydm.manipulations import Select
from raydm.metrics import METRICS
from raydm.mixing.mixrl import MixRL
from raydm.mixing.options import Options
from raydm.mixing.settings import MixSettings
from raydm.predictors import make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation import DVRL, Settings

MIX = MixSettings(options=Options((1, 2), (1,)), steps=6, rollouts=4, repeats=1, admit=1)
VALUE = Settings(steps=6, rollouts=4, outer_batch=20, evidence=("validation",), start="nothing", judge=0, restarts=0)


@pytest.fixture(scope="module")
def world() -> tuple[Examples, Problem]:
    x, y = load_diabetes(return_X_y=True)
    rows = Examples(x[:60].astype(np.float32) * 10, (y[:60] / 100).astype(np.float32), np.arange(60))
    task, metric = Task("regression", 1), METRICS["rmse"]
    return rows.take(range(40)), Problem(make_predictor("linear"), rows.take(range(40, 60)), task, metric, 3)


def learned(kind: type, world: Any, settings: Any, make_utility: Any = InProcess, most: int = 99) -> list[torch.Tensor]:
    """Utilities of all steps, then the weights of phi."""
    made = kind(world[0], world[1], settings, make_utility)
    found, members = [], []
    for t, step in enumerate(made.steps(), 1):
        found.append(step.u)
        members = [made.estimator] if kind is MixRL else [*made.value_function.members]
        if t == most:
            return found
    weights = [p.detach() for member in members for p in member.parameters()]
    assert weights
    return found + weights


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("kind", "settings"), [(MixRL, MIX), (DVRL, VALUE)])
@pytest.mark.parametrize("change", [{"learning_rate": 0.2}, {"reward_scale": 3.0}, {"exploration": 7e4}])
def test_a_member_that_goes_on_from_another_s_journal_is_a_run_with_its_schedule(
    world: Any, tmp_path: Path, kind: type, settings: Any, change: dict[str, Any]
) -> None:
    settings = replace(settings, mean_bounds=(0.1, 0.2))  # so that the penalty has a part
    donor, other = tmp_path / "donor", tmp_path / "other"
    with Journal(donor) as journal:
        first = learned(kind, world, settings, journal.over(InProcess), most=3)
    line = Line({"reward_scale": "std"}, step=3)
    line.save(donor)
    other.mkdir()
    (other / ANSWERS).write_bytes(b"of another past")
    copy_member(donor, other)
    taken = load_line(other)
    assert taken == line
    taken.turn({"reward_scale": "std", **{k: v for k, v in change.items() if k == "reward_scale"}})
    turned = replace(settings, schedule={3: change})
    with Journal(other, resume=True) as journal:
        assert journal.kept == 3
        went_on = learned(kind, world, turned, journal.over(InProcess))
        assert journal.given == 3  # no training of the past
    assert same(went_on[:3], first)
    assert same(went_on, learned(kind, world, replace(settings, schedule={"3": change})))
    assert not same(went_on, learned(kind, world, settings))


def test_a_line_tells_its_settings_at_any_time(tmp_path: Path) -> None:
    line = Line({"reward_scale": 1.0, "learning_rate": 0.1})
    line.turn({"reward_scale": 2.0, "learning_rate": 0.1})  # before any step: from the beginning
    assert line.training() == {"reward_scale": 2.0, "learning_rate": 0.1}
    line.step = 4
    line.turn({"reward_scale": 2.0, "learning_rate": 0.3})
    line.turn({"reward_scale": "std", "learning_rate": 0.3})
    line.step = 9
    line.turn({"reward_scale": "std", "learning_rate": 0.3})  # nothing new
    assert line.current == {"reward_scale": "std", "learning_rate": 0.3}
    assert line.training() == {
        "reward_scale": 2.0, "learning_rate": 0.1, "schedule": {"4": {"learning_rate": 0.3, "reward_scale": "std"}},
    }  # fmt: skip
    assert load_line(tmp_path) is None
    line.save(tmp_path)
    assert load_line(tmp_path) == line
    (tmp_path / "line.json").write_text("{")
    with pytest.raises(RunError, match=r"line.json: cannot be read"):
        load_line(tmp_path)


def test_a_member_without_answers_takes_none(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.mkdir()
    (old / ANSWERS).write_bytes(b"x")
    new.mkdir()
    Line({"a": 1}).save(new)
    copy_member(new, old)
    assert not (old / ANSWERS).exists()
    shutil.rmtree(new)


def test_a_learning_rate_s_curve_is_scaled_from_there_on() -> None:
    def rates(schedule: Any) -> list[float]:
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.Adam([parameter], lr=0.5)
        curve = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        changes = Changes(schedule, 0.5, optimizer, None, None)  # type: ignore[arg-type]
        changes.before(0)
        found = []
        for t in range(5):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            curve.step()
            changes.before(t + 1)
        return found

    plain = rates(None)
    assert rates({2: {"learning_rate": 2.0}}) == pytest.approx([*plain[:2], *(4 * r for r in plain[2:])])
    assert rates({0: {"learning_rate": 1.0}, 3: {"learning_rate": 0.25}}) == pytest.approx(
        [*(2 * r for r in plain[:3]), *(r / 2 for r in plain[3:])]
    )


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({"x": {"learning_rate": 1}}, "by steps, integers >= 0"), ({-1: {"learning_rate": 1}}, "an integer >= 0"),
        ({1: {"rollouts": 4}}, "of one of 'learning_rate', 'reward_scale', 'exploration'"), ([1], "settings by step"),
        ({1: 2}, "settings by step"), ({1: {"learning_rate": -1}}, "'learning_rate' parameter"),
        ({1: {"reward_scale": "big"}}, "'reward_scale' parameter"),
    ],
)  # fmt: skip
def test_bad_schedules_are_refused(schedule: Any, told: str) -> None:
    for settings in (MIX, VALUE):
        with pytest.raises(ParameterError, match=told):
            replace(settings, schedule=schedule).check()


def test_select_is_what_a_change_of_exploration_reaches(world: Any) -> None:
    made = DVRL(world[0], world[1], replace(VALUE, schedule={0: {"exploration": 5.0}}))
    members: list[Select] = []
    for _ in made.steps():
        members = [*made.value_function.members]
    assert [member.exploration for member in members] == [5.0]
