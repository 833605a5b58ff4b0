"""How MixRL learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from raydm.changes import Schedule, check_schedule
from raydm.checks import are_bounds, check_choice, check_integer, check_positive, is_number
from raydm.errors import ParameterError
from raydm.mixing.learned_neighbors import PICKS
from raydm.mixing.options import Options
from raydm.mixing.shares import BetaShares, FixedShares, Shares

BASELINES = ("leave-one-out", "moving-average")

_OWNER = "MixRL"


@dataclass(frozen=True)
class MixSettings:
    """How MixRL learns. The defaults are ours, measured in the README; the paper's stand beside them.

    Attributes:
        options: N, the neighbour options (the paper, on NO2: 1..16 by data and 1..16 by label distance).
        lam: lambda of a mixed row (the paper: 0.5); None: drawn from Beta(alpha, alpha).
        alpha: of that distribution, > 0.
        steps: outer iterations.
        outer_batch: examples drawn a step (the paper: the whole training set); None: all, at most 1000.
        admit: share of the possible mixed rows, those of the least label error, that are let in, in (0, 1]; 1: all, as
            in the paper. See `raydm.mixing.admission`.
        rollouts: R, inner trainings a step (the paper: 1).
        baseline: "leave-one-out" or "moving-average" (the paper, W = 20).
        reward_scale: C > 0 (the paper: 2 on NO2), or "std".
        learning_rate: of Adam on theta (the paper: 1e-3).
        anneal: whether it falls to 0 along a cosine.
        exploration: weight of the penalty on the mean of h_theta outside `mean_bounds` (the paper: none).
        mean_bounds: lowest and highest mean that cost nothing.
        threshold: T in [0, 1]; an option of a lower h is not used. None: chosen on the validation set.
        thresholds: what it is chosen among; None: what lets tenths of the possible mixed rows in.
        pick: which option above T is taken: "best" (the paper) or "most", see `raydm.mixing.learned_neighbors`. None:
            chosen with T; "best" where T is given.
        repeats: trainings of each candidate, where it is chosen.
        schedule: settings that change at a step, by step (see `raydm.changes`), as in {20: {"reward_scale": 2.0}}.
        warm_start: the inner trainings of a step start from a predictor of the training set alone, not from scratch;
            for torch predictors.
    """

    options: Options = field(default_factory=Options)
    lam: float | None = 0.5
    alpha: float = 1.0
    steps: int = 60
    outer_batch: int | None = None
    admit: float = 0.5
    rollouts: int = 16
    baseline: str = "leave-one-out"
    reward_scale: float | str = "std"
    learning_rate: float = 1e-2
    anneal: bool = True
    exploration: float = 1e3
    mean_bounds: tuple[float, float] = (0.1, 0.9)
    threshold: float | None = None
    thresholds: Sequence[float] | None = None
    pick: str | None = None
    repeats: int = 4
    warm_start: bool = False
    schedule: Schedule | None = None

    @property
    def shares(self) -> Shares:
        """What gives lambda."""
        return BetaShares(self.alpha) if self.lam is None else FixedShares(self.lam)

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        if not isinstance(self.options, Options):
            raise ParameterError.of("options", _OWNER, "neighbour options, raydm.mixing.options.Options", self.options)
        for name, least in (("steps", 0), ("rollouts", 1), ("repeats", 1)):
            check_integer(_OWNER, name, getattr(self, name), least)
        if self.outer_batch is not None:
            check_integer(_OWNER, "outer_batch", self.outer_batch, 1)
        for name in ("lam", "threshold"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and 0 <= value <= 1):
                raise ParameterError.of(name, _OWNER, "None or a number in [0, 1]", value)
        self._check_thresholds()
        check_schedule(_OWNER, self.schedule, lambda changes: replace(self, schedule=None, **changes).check())
        if not (is_number(self.admit) and 0 < self.admit <= 1):
            raise ParameterError.of("admit", _OWNER, "a number in (0, 1]", self.admit)
        for name in ("alpha", "learning_rate"):
            check_positive(_OWNER, name, getattr(self, name))
        check_choice(_OWNER, "baseline", self.baseline, BASELINES)
        if self.pick is not None:
            check_choice(_OWNER, "pick", self.pick, PICKS)
        if self.reward_scale != "std" and not (is_number(self.reward_scale) and float(self.reward_scale) > 0):
            raise ParameterError.of("reward_scale", _OWNER, "a number > 0 or 'std'", self.reward_scale)
        if not (is_number(self.exploration) and self.exploration >= 0):
            raise ParameterError.of("exploration", _OWNER, "a number >= 0", self.exploration)
        if not are_bounds(self.mean_bounds):
            raise ParameterError.of("mean_bounds", _OWNER, "(low, high) with 0 <= low <= high <= 1", self.mean_bounds)
        if self.rollouts < 2 and (self.baseline == "leave-one-out" or self.reward_scale == "std"):
            raise ParameterError(
                f"baseline={self.baseline!r} with reward_scale={self.reward_scale!r} compares the rollouts of a step, "
                "so the 'rollouts' parameter must be >= 2. Got 1. Use more, or baseline='moving-average' with a "
                "reward_scale of 1."
            )

    def _check_thresholds(self) -> None:
        given = self.thresholds
        if given is None:
            return
        if self.threshold is not None:
            raise ParameterError(
                "threshold is the one T that is used, and thresholds are what it is chosen among: give one of the two."
            )
        if not len(given) or not all(is_number(t) and 0 <= t <= 1 for t in given):
            raise ParameterError.of("thresholds", _OWNER, "None or one or more numbers in [0, 1]", given)
