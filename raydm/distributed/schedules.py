"""Which trials are stopped, and which change: Tune's schedulers, as a sweep uses them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining

from raydm.distributed.trials import PARTS
from raydm.sweep.ledger import Ledger
from raydm.sweep.spaces import Dimension

_QUARTER = 0.25  # of a population, that goes on from as many of the best


def asha(grace: int, reduction: float, ledger: Ledger) -> Any:
    """The scheduler; its rungs know what trials of an interrupted sweep reported."""
    made = ASHAScheduler(
        time_attr="parts", metric="seen", mode="max", max_t=PARTS, grace_period=grace, reduction_factor=reduction,
        stop_last_trials=False,
    )  # fmt: skip
    nobody: Any = None  # Tune's controller, of which asha asks nothing
    for number, reports in ledger.reports.items():
        if number in ledger.ended:
            trial: Any = SimpleNamespace(trial_id=f"ended_{number}")
            made.on_trial_add(nobody, trial)
            for parts, utility in reports:
                made.on_trial_result(nobody, trial, {"parts": parts, "seen": utility})
    return made


def pbt(space: Sequence[Dimension], grace: int, seed: int) -> Any:
    """The scheduler of a population; members that do badly go on from good ones, with settings of the space changed.

    Args:
        space: the settings.
        grace: parts of a training between two changes.
        seed: of what is drawn.
    """
    random.seed(seed)  # which is what Tune draws from
    return PopulationBasedTraining(
        time_attr="parts", metric="seen", mode="max", perturbation_interval=grace, quantile_fraction=_QUARTER,
        hyperparam_mutations={"settings": {d.name: _domain(d) for d in space}}, log_config=False,
        custom_explore_fn=_Inside(tuple(space)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Inside:
    """Keeps settings that were changed inside of their space."""

    space: tuple[Dimension, ...]

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        for d in self.space:
            if d.kind != "choice":
                config["settings"][d.name] = min(max(config["settings"][d.name], d.low), d.high)
        return config


def _domain(d: Dimension) -> Any:
    if d.kind == "choice":
        return [*d.values]
    return tune.uniform(d.low, d.high) if d.kind == "uniform" else tune.loguniform(d.low, d.high)
