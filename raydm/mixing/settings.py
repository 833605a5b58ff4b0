"""How MixRL learns."""

from __future__ import annotations

from dataclasses import dataclass, field

from raydm.mixing.options import Options


@dataclass(frozen=True)
class MixSettings:
    """How MixRL learns. The defaults are ours, measured in the README; the paper's stand beside them.

    Attributes:
        options: N, the neighbour options (the paper, on NO2: 1..16 by data and 1..16 by label distance).
        lam: lambda of a mixed row (the paper: 0.5); None: drawn from Beta(alpha, alpha).
        alpha: of that distribution, > 0.
        steps: outer iterations.
        outer_batch: examples drawn a step (the paper: the whole training set); None: all, at most 1000.
        rollouts: R, inner trainings a step (the paper: 1).
        baseline: "leave-one-out" or "moving-average" (the paper, W = 20).
        reward_scale: C > 0 (the paper: 2 on NO2), or "std".
        learning_rate: of Adam on theta (the paper: 1e-3).
        anneal: whether it falls to 0 along a cosine.
        exploration: weight of the penalty on the mean of h_theta outside `mean_bounds` (the paper: none).
        mean_bounds: lowest and highest mean that cost nothing.
        threshold: T in [0, 1]; an option of a lower h is not used. None: chosen on the validation set.
        repeats: trainings of each candidate, where it is chosen.
    """

    options: Options = field(default_factory=Options)
    lam: float | None = 0.5
    alpha: float = 1.0
    steps: int = 60
    outer_batch: int | None = None
    rollouts: int = 16
    baseline: str = "leave-one-out"
    reward_scale: float | str = "std"
    learning_rate: float = 1e-3
    anneal: bool = True
    exploration: float = 1e3
    mean_bounds: tuple[float, float] = (0.1, 0.9)
    threshold: float | None = None
    repeats: int = 4
