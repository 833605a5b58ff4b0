"""Settings that change while phi is learned, at steps that a schedule names: what population based training finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from raydm.checks import check_integer
from raydm.errors import ParameterError, one_of
from raydm.gradients import Gradient, ScoreFunction

CHANGEABLE = ("learning_rate", "reward_scale", "exploration")

Schedule = Mapping[Any, Mapping[str, Any]]  # settings by the step from which they hold; steps may be text, as in JSON


def check_schedule(owner: str, schedule: object, check: Callable[[Mapping[str, Any]], object]) -> None:
    """Raises ParameterError unless it names steps >= 0 and settings that can change; `check` looks at their values."""
    if schedule is None:
        return
    if not (isinstance(schedule, Mapping) and all(isinstance(changes, Mapping) for changes in schedule.values())):
        raise ParameterError.of("schedule", owner, 'settings by step, such as {"20": {"reward_scale": 2}}', schedule)
    for step, changes in schedule.items():
        if not (isinstance(step, int) or (isinstance(step, str) and step.isdecimal())):
            raise ParameterError.of("schedule", owner, "by steps, integers >= 0", step)
        check_integer(owner, "schedule", int(step), 0)
        if other := [name for name in changes if name not in CHANGEABLE]:
            raise ParameterError.of("schedule", owner, f"of {one_of(CHANGEABLE)}", other[0])
        check(changes)


class Changes:
    """Applies a schedule to the parts of a training.

    Args:
        schedule: settings by step; None: nothing changes.
        learning_rate: that the optimizer began with.
        optimizer: of phi; where its learning rate falls along a curve, what is left of the curve is scaled.
        gradient: its reward scale changes, where it is the score function.
        manipulation: its weight of the exploration penalty changes.
    """

    def __init__(
        self,
        schedule: Schedule | None,
        learning_rate: float,
        optimizer: torch.optim.Optimizer,
        gradient: Gradient,
        manipulation: Any,
    ) -> None:
        self._left = sorted(((int(step), dict(changes)) for step, changes in (schedule or {}).items()), reverse=True,
                            key=lambda entry: entry[0])  # fmt: skip
        self._rate, self._optimizer, self._gradient, self._manipulation = (
            learning_rate, optimizer, gradient, manipulation,
        )  # fmt: skip

    def before(self, step: int) -> None:
        """Makes those that hold from this step on, or from one before it."""
        while self._left and self._left[-1][0] <= step:
            for name, value in self._left.pop()[1].items():
                self._change(name, value)

    def _change(self, name: str, value: Any) -> None:
        if name == "learning_rate":
            for group in self._optimizer.param_groups:
                group["lr"] *= value / self._rate
            self._rate = value
        elif name == "exploration":
            self._manipulation.exploration = value
        elif isinstance(self._gradient, ScoreFunction):
            self._gradient.reward_scale = value
