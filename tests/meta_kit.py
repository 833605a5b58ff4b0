"""The meta-gradient of a manipulation's phi through the joint utility, against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.joint import Joint
from raydm.metrics import METRICS
from raydm.predictors.module import Module
from raydm.seeding import stream
from raydm.utility import Problem


def joint_on(valid: Examples, task: Task, make: Callable[[int, int], Any], optimizer: Any, **arguments: Any) -> Joint:
    predictor = Module(make, optimizer=optimizer, batch_size=16, epochs=1, device="cpu")
    metric = METRICS["accuracy" if task.kind == "classification" else "rmse"]
    return Joint(Problem(predictor, valid, task, metric, seed=3), **arguments)


def meta_errors(
    manipulation: Any, joint: Joint, batch: Batch, *, h: float = 1e-3, together: bool = False
) -> dict[int, float]:
    """For each tensor of phi that the gradient reaches: the relative error of the slope along a random direction.

    Or ``together``, at 0, along one of all of them: of large models, some of whose slopes are 0 but for rounding.
    """
    phi = list(manipulation.parameters())

    def u() -> Tensor:
        return joint(manipulation.apply(manipulation.policy(batch).draw(1, stream(5, "actions", 0)), batch), step=0)

    slopes = torch.autograd.grad(u().sum(), phi, allow_unused=True)
    rng = np.random.default_rng(4)
    reached = [(i, p, s) for i, (p, s) in enumerate(zip(phi, slopes, strict=True)) if s is not None and s.any()]
    along = {i: torch.from_numpy(rng.normal(size=p.shape)).to(p) for i, p, _ in reached}
    groups = [reached] if together else [[one] for one in reached]

    def error(group: list[tuple[int, Tensor, Tensor]]) -> float:
        def at(step: float) -> float:
            before = [p.detach().clone() for _, p, _ in group]
            with torch.no_grad():
                for i, p, _ in group:
                    p += step * along[i]
            value = float(u().detach())
            with torch.no_grad():
                for (_, p, _), was in zip(group, before, strict=True):
                    p.copy_(was)
            return value

        found = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        return abs(sum(float((slope * along[i]).sum()) for i, _, slope in group) / found - 1)

    return {group[0][0]: error(group) for group in groups}


def warmed(joint: Joint, sets: Any, steps: int = 3) -> Joint:
    """After some real steps: moments are not 0."""
    for t in range(steps):
        joint.carry(lambda: sets, step=t)
    return joint
