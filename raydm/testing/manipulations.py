"""What every manipulation must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.manipulations import Manipulation
from raydm.testing.predictors import problem

_ROLLOUTS = 5


class ManipulationContract(ABC):
    """Subclass it in a test module, and say how yours is made.

    Example::

        class TestMine(ManipulationContract):
            def make(self, task, examples):
                return Mine(...)

    Attributes:
        tasks: those that it can be used for.
        options: of how many options each example of a batch is given one; 0: none.
    """

    tasks: ClassVar[Sequence[Task]] = (Task("classification", 3), Task("regression", 1))
    options: int = 0

    @abstractmethod
    def make(self, task: Task, examples: Examples) -> Manipulation:
        """A new manipulation of these training examples; what is random in it must be seeded."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Runs each check for each task."""
        metafunc.parametrize("task", self.tasks, ids=lambda task: task.kind)

    def test_drawing_depends_on_the_generator_alone(self, task: Task) -> None:
        """Equal generators draw equal actions, (R, ...); others draw others."""
        manipulation, batch = self._made(task)
        policy = manipulation.policy(batch)
        first, again, other = (policy.draw(_ROLLOUTS, np.random.default_rng(s)) for s in (1, 1, 2))
        assert len(first) == _ROLLOUTS
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_log_prob_of_drawn_actions_is_finite(self, task: Task) -> None:
        """One number a rollout: (R,)."""
        manipulation, batch = self._made(task)
        policy = manipulation.policy(batch)
        log_prob = policy.log_prob(policy.draw(_ROLLOUTS, np.random.default_rng(0)))
        assert log_prob.shape == (_ROLLOUTS,)
        assert torch.isfinite(log_prob).all()

    def test_mean_action_is_finite(self, task: Task) -> None:
        """One number an example: (N,)."""
        manipulation, batch = self._made(task)
        mean = manipulation.policy(batch).mean
        assert mean.shape == batch.y.shape[:1]
        assert torch.isfinite(mean).all()

    def test_actions_make_one_training_set_a_rollout(self, task: Task) -> None:
        """R sets of the batch's task, with weights (R, N) >= 0, and the batch itself is left as it was."""
        manipulation, batch = self._made(task)
        x, y = batch.x.clone(), batch.y.clone()
        sets = manipulation.apply(manipulation.policy(batch).draw(_ROLLOUTS, np.random.default_rng(0)), batch)
        n = sets.w.shape[1]
        assert sets.rollouts == _ROLLOUTS
        assert sets.task == task
        assert sets.x.shape[-2:] == (n, batch.x.shape[1])
        assert sets.y.shape[0 if sets.y_is_shared else 1] == n
        assert (sets.w >= 0).all()
        assert torch.equal(batch.x, x)
        assert torch.equal(batch.y, y)

    def test_penalty_is_a_differentiable_scalar(self, task: Task) -> None:
        """It is >= 0 and has a finite gradient in phi."""
        manipulation, batch = self._made(task)
        penalty = manipulation.penalty(manipulation.policy(batch))
        assert penalty.shape == ()
        assert penalty >= 0
        for gradient in torch.autograd.grad(penalty, list(manipulation.parameters())):
            assert torch.isfinite(gradient).all()

    def test_gradient_reaches_every_parameter(self, task: Task) -> None:
        """The surrogate's gradient is not zero on any tensor of phi."""
        manipulation, batch = self._made(task)
        policy = manipulation.policy(batch)
        log_prob = policy.log_prob(policy.draw(_ROLLOUTS, np.random.default_rng(0)))
        advantage = torch.linspace(-1, 1, _ROLLOUTS)
        parameters = list(manipulation.parameters())
        gradients = torch.autograd.grad((advantage * log_prob).mean(), parameters)
        assert parameters
        assert all(torch.isfinite(g).all() and (g != 0).any() for g in gradients)

    def _made(self, task: Task) -> tuple[Manipulation, Batch]:
        """One of yours over 40 examples, and a batch of 24 of them in random order."""
        x, y = problem(task, 40, 6)
        rng = np.random.default_rng(3)
        rows = rng.permutation(40)[:24]
        given = rng.integers(self.options, size=24) if self.options else None
        batch = Batch(rows, torch.from_numpy(x[rows]), torch.from_numpy(y[rows]), given)
        return self.make(task, Examples(x, y, np.arange(40))), batch
