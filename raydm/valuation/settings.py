"""How DVRL learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raydm.changes import Schedule, check_schedule
from raydm.checks import are_bounds, is_number
from raydm.errors import ParameterError, one_of
from raydm.valuation.evidence import SOURCES, check_sources

BASELINES = ("leave-one-out", "moving-average", "full-data")
POLICIES = ("bernoulli", "gumbel", "straight-through")
CONTROL_VARIATES = ("none", "taylor", "datamodel")
STARTS = ("evidence", "nothing")

_OWNER = "DVRL"


@dataclass(frozen=True)
class Settings:
    """How DVRL learns. The defaults are ours, measured in the README; the paper's stand beside them.

    Attributes:
        steps: T, outer iterations in all (the released code: 2000); 0 leaves the values at their start.
        outer_batch: B, examples drawn a step (the paper: 2000; much smaller batches learn faster, since an example's
            share of the utility grows).
        rollouts: R, inner trainings a step (the paper: 1).
        baseline: delta: "leave-one-out" over the R rollouts, "moving-average" (the paper), or "full-data" (the
            released code).
        reward_scale: C > 0, or "std" (see `raydm.gradients.ScoreFunction`).
        learning_rate: of Adam on phi, > 0; it falls to 0 along a cosine where `anneal` is set (not so in the paper).
        anneal: whether it falls. The last steps then average the noise of single draws out.
        exploration: weight of the exploration penalty, >= 0.
        mean_bounds: lowest and highest mean of h_phi over a batch that the penalty lets pass, in [0, 1] (the released
            code: 0.1, 0.9; closer ones keep h_phi from taking nearly everything before it tells examples apart). A
            start whose own mean is outside widens them.
        evidence: what h_phi sees beside x and y: sources of `raydm.valuation.evidence` (the paper: "validation").
        start: "evidence": h_phi is the best single input before it learns; "nothing": untrained (the paper).
        judge: folds of the validation set, >= 2. For each, h_phi learns from the others, and is compared with its best
            input on the fold; the better of the two is returned. 0: it learns from all of D^v, unjudged (the paper).
        restarts: how often a collapsed h_phi is learned again from other draws, >= 0.
        policy: "bernoulli" with the score function (the paper); "gumbel" or "straight-through": relaxed actions with
            the pathwise gradient (Shah, Vaidya 2020), for differentiable predictors.
        temperature: of the relaxed actions, > 0.
        control_variate: of the score function: "none", "taylor" (for differentiable predictors), or "datamodel".
        schedule: settings that change at a step, by step (see `raydm.changes`), as in {20: {"reward_scale": 2.0}};
            steps are counted on over the folds.
        hidden: width of h_phi's first layers.
    """

    steps: int = 400
    outer_batch: int = 64
    rollouts: int = 32
    baseline: str = "leave-one-out"
    reward_scale: float | str = "std"
    learning_rate: float = 0.01
    anneal: bool = True
    exploration: float = 1e3
    mean_bounds: tuple[float, float] = (0.3, 0.7)
    evidence: Sequence[str] = SOURCES
    start: str = "evidence"
    judge: int = 2
    restarts: int = 2
    policy: str = "bernoulli"
    temperature: float = 0.5
    control_variate: str = "none"
    schedule: Schedule | None = None
    hidden: int = 100

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        for name, least in (("steps", 0), ("outer_batch", 1), ("rollouts", 1), ("hidden", 1), ("restarts", 0)):
            value = getattr(self, name)
            if not (isinstance(value, (int, np.integer)) and value >= least):
                raise ParameterError.of(name, _OWNER, f"an integer >= {least}", value)
        for name, names in (
            ("baseline", BASELINES),
            ("start", STARTS),
            ("policy", POLICIES),
            ("control_variate", CONTROL_VARIATES),
        ):
            if getattr(self, name) not in names:
                raise ParameterError.of(name, _OWNER, one_of(names), getattr(self, name))
        if self.reward_scale != "std" and not (is_number(self.reward_scale) and float(self.reward_scale) > 0):
            raise ParameterError.of("reward_scale", _OWNER, "a number > 0 or 'std'", self.reward_scale)
        for name in ("learning_rate", "temperature"):
            value = getattr(self, name)
            if not (is_number(value) and value > 0):
                raise ParameterError.of(name, _OWNER, "a number > 0", value)
        if not (is_number(self.exploration) and self.exploration >= 0):
            raise ParameterError.of("exploration", _OWNER, "a number >= 0", self.exploration)
        if not are_bounds(self.mean_bounds):
            raise ParameterError.of("mean_bounds", _OWNER, "(low, high) with 0 <= low <= high <= 1", self.mean_bounds)
        if not (isinstance(self.judge, (int, np.integer)) and (self.judge == 0 or self.judge >= 2)):
            raise ParameterError.of("judge", _OWNER, "0 or an integer >= 2", self.judge)
        check_sources(self.evidence)
        check_schedule(_OWNER, self.schedule, lambda changes: replace(self, schedule=None, **changes).check())
        self._check_together()

    def _check_together(self) -> None:
        if self.policy == "bernoulli" and self.rollouts < 2 and self._compares():
            raise ParameterError(
                f"baseline={self.baseline!r} with reward_scale={self.reward_scale!r} compares the rollouts of a step, "
                "so the 'rollouts' parameter must be >= 2. Got 1. Use more, or baseline='moving-average' with a "
                "reward_scale of 1."
            )
        if self.policy != "bernoulli" and self.control_variate != "none":
            raise ParameterError(
                f"control_variate={self.control_variate!r} is for the score function (policy='bernoulli'). Got "
                f"policy={self.policy!r}, whose gradient is pathwise. Leave one of the two out."
            )
        if self.steps == 0 and self.start == "nothing":
            raise ParameterError("steps=0 with start='nothing' would leave h_phi untrained. Use steps >= 1.")

    def _compares(self) -> bool:
        return self.baseline == "leave-one-out" or self.reward_scale == "std"
