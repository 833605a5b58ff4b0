"""The methods beside MixRL: none, Mixup, C-Mixup, AdaMixUp, global kNN. Axes: N examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from raydm.checks import check_choice, check_integer, check_positive, check_positive_each
from raydm.mixing.adamixup import RegionLearner, RegionSettings
from raydm.mixing.method import Mixing, Setup
from raydm.mixing.mixer import Mixer
from raydm.mixing.options import DISTANCES, Options, counts
from raydm.mixing.pairs import Pairs, neighborhood
from raydm.mixing.partners import KernelPartners, NoPartners, RandomPartners, SameNeighbors, spread
from raydm.mixing.progress import Progress
from raydm.mixing.region import RegionShares
from raydm.mixing.search import BayesSettings, Candidate, Judge, MakePairs, try_all, try_some
from raydm.mixing.shares import BetaShares, FixedShares

SEARCHES = ("all", "bayes")

MakeMixer = Callable[[Candidate], Mixer]
Try = Callable[[Judge], Iterator[Progress]]


class Chosen(Mixing):
    """A mixer whose settings are chosen on the validation set; where there is one candidate, nothing is trained.

    Args:
        setup: what it works on.
        candidates: settings, one at least.
        mixer: gives the mixer of a candidate.
        pairs: gives its pairs of the training examples; None: the mixer does.
        search: which candidates are tried; None: all.
        total: how many steps the search has, if that is known.
    """

    def __init__(
        self,
        setup: Setup,
        candidates: Sequence[Candidate],
        mixer: MakeMixer,
        *,
        pairs: MakePairs | None = None,
        search: Try | None = None,
        total: int | None = None,
    ) -> None:
        super().__init__(setup)
        self._candidates, self._mixer = candidates, mixer
        self._pairs = pairs or (lambda candidate: mixer(candidate).pairs(setup.train, setup.problem.seed))
        self._search = search or (lambda judge: try_all(judge, candidates))
        self._total = total
        self._best: Candidate | None = candidates[0] if len(candidates) == 1 else None
        self._records: list[dict[str, Any]] = []

    @property
    def total(self) -> int | None:
        """How many steps there are, if that is known."""
        return 0 if len(self._candidates) == 1 else self._total

    def steps(self) -> Iterator[Progress]:
        """Yields after each stack of candidates; its figures: utility, the best so far, and tried, how many."""
        if len(self._candidates) == 1:
            return
        setup = self.setup
        utility = setup.make_utility(setup.problem)
        try:
            judge = Judge(setup.train, setup.problem, utility, setup.settings.repeats, self._pairs)
            yield from self._search(judge)
            self._best, self._records = judge.tried.best, judge.tried.records()
        finally:
            utility.close()

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The best candidate's settings."""
        return dict(self._best or {})

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """Settings, mixed_rows and mean utility of all that were tried."""
        return self._records

    def made(self) -> Mixer | None:
        """The best candidate's mixer."""
        return None if self._best is None else self._mixer(self._best)


def unmixed(setup: Setup) -> Mixing:
    """No augmentation: nobody is mixed."""
    return Chosen(setup, [{}], lambda _: Mixer(NoPartners(), FixedShares()))


def mixup(
    setup: Setup, *, alpha: float | None = None, alphas: Sequence[float] = (0.1, 0.2, 0.4, 1.0, 2.0), ratio: int = 4
) -> Mixing:
    """Mixup (Zhang et al. 2018): partners at random, lambda ~ Beta(alpha, alpha).

    Difference: the paper mixes every batch anew, and trains on mixed rows alone. Here a fixed pool, `ratio` mixed
    rows of each example drawn once, stands beside the examples, so that any predictor can be trained on it.

    Args:
        setup: what it works on.
        alpha: > 0; None: the one of `alphas` that does best on D^v, all of them trained as one stack, with the same
            partners.
        alphas: to choose from (the paper: 0.1 to 0.4 on ImageNet, 1 on CIFAR).
        ratio: mixed rows of each example, >= 1.

    Raises:
        ParameterError: a setting is out of its range.
    """
    grid = _grid("mixup", "alpha", alpha, "alphas", alphas)
    check_integer("mixup", "ratio", ratio, 1)
    return Chosen(setup, grid, lambda c: Mixer(RandomPartners(ratio), BetaShares(c["alpha"])))


def c_mixup(
    setup: Setup,
    *,
    sigma: float | None = None,
    sigmas: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
    alpha: float = 2.0,
    ratio: int = 4,
    memory: int = 2**26,
) -> Mixing:
    """C-Mixup (Yao et al. 2022), Algorithm 1: partners of similar labels, by a Gaussian kernel.

    Differences: a fixed pool, as in `mixup`; each row has its own lambda, where the released code draws one a batch;
    and a row that would be mixed with itself is left out (see `raydm.mixing.partners.KernelPartners`).

    Args:
        setup: what it works on.
        sigma: bandwidth > 0 in standard deviations of the training labels, of each column by itself; None: the one of
            `sigmas` that does best on D^v, all of them trained as one stack, from the same draws.
        sigmas: to choose from.
        alpha: of lambda ~ Beta(alpha, alpha), > 0 (the paper: 2, and 1.5 on one set).
        ratio: draws of each example, >= 1.
        memory: bytes that a block of probabilities may take, >= 1.

    Raises:
        ParameterError: a setting is out of its range.
    """
    grid = _grid("c-mixup", "sigma", sigma, "sigmas", sigmas)
    check_positive("c-mixup", "alpha", alpha)
    check_integer("c-mixup", "ratio", ratio, 1)
    check_integer("c-mixup", "memory", memory, 1)
    unit = spread(setup.train.y).tolist()

    def mixer(candidate: Candidate) -> Mixer:
        bandwidth = [candidate["sigma"] * of_target for of_target in unit]
        return Mixer(KernelPartners(bandwidth, ratio, memory), BetaShares(alpha))

    return Chosen(setup, grid, mixer)


def _grid(owner: str, name: str, value: float | None, plural: str, values: Sequence[float]) -> list[Candidate]:
    if value is not None:
        check_positive(owner, name, value)
        return [{name: float(value)}]
    check_positive_each(owner, plural, values)
    return [{name: float(v)} for v in dict.fromkeys(values)]


def global_knn(
    setup: Setup,
    *,
    k: str | int | Sequence[int] | None = None,
    distance: str | None = None,
    search: str = "all",
    trials: int = BayesSettings.trials,
    batch: int = BayesSettings.batch,
) -> Mixing:
    """Global kNN (Hwang, Whang 2021): every example is mixed with its k nearest, one k and one distance for all.

    Lambda is that of MixRL's settings. Difference: the paper finds k by Bayesian optimisation. Here every option is
    trained, as one stack, which is exact; `search="bayes"` is for option sets that are too many or too large for that.

    Args:
        setup: what it works on; without k, its settings' options are tried.
        k: numbers of neighbours, as `raydm.mixing.options.counts` takes them; None: those of the options.
        distance: "data" or "label"; None: both.
        search: "all", or "bayes": Optuna's GPSampler suggests.
        trials: suggestions of "bayes", >= 1.
        batch: of them at a time, trained as one stack, >= 1.

    Raises:
        ParameterError: a setting is out of its range, or N allows none of the options.
        MissingPackageError: "bayes" without Optuna.
    """
    owner = "global-knn"
    check_choice(owner, "search", search, SEARCHES)
    if distance is not None:
        check_choice(owner, "distance", distance, DISTANCES)
    bayes = BayesSettings(trials, batch)
    bayes.check(owner)
    wanted = setup.settings.options if k is None else Options(counts(k), counts(k))
    options = Options(**{d: ks if distance in (None, d) else () for d, ks in wanted.by_distance.items()})
    options = options.at_most(len(setup.train) - 1)
    known = neighborhood(setup.train, options)
    shares, seed, n = setup.settings.shares, setup.problem.seed, len(setup.train)

    def pairs(candidate: Candidate) -> Pairs:
        """As the mixer's, from neighbours that were found once."""
        i, j, kind = known.first({candidate["distance"]: np.full(n, candidate["k"])})
        found = Pairs(i, j, shares.of(setup.train, i, j, seed), kind)
        return found.take(found.distinct())

    def mixer(candidate: Candidate) -> Mixer:
        return Mixer(SameNeighbors(candidate["distance"], candidate["k"]), shares)

    candidates = [{"distance": d, "k": count} for d, count in options.each]
    if search == "all":
        return Chosen(setup, candidates, mixer, pairs=pairs)
    some: Try = lambda judge: try_some(judge, options.by_distance, bayes)
    return Chosen(setup, candidates, mixer, pairs=pairs, search=some, total=-(-trials // batch))


class AdaMixUp(Mixing):
    """AdaMixUp (Guo, Mao, Zhang 2019): partners at random, lambda from the learned policy region.

    Args:
        setup: what it works on.
        region: how the region is learned.
        ratio: mixed rows of each example, >= 1; a fixed pool of them stands beside the examples, as in `mixup`.
    """

    def __init__(self, setup: Setup, region: RegionSettings, ratio: int) -> None:
        super().__init__(setup)
        self.learner = RegionLearner(setup.train, setup.problem.seed, region)
        self.ratio, self._done = ratio, False

    @property
    def total(self) -> int:
        """Of the region's learning."""
        return self.learner.settings.steps

    def steps(self) -> Iterator[Progress]:
        """Yields each step as it is done."""
        yield from self.learner.steps()
        self._done = True

    @property
    def chosen(self) -> Mapping[str, Any]:
        """Nothing: the region is learned."""
        return {}

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """None."""
        return []

    def made(self) -> Mixer | None:
        """Random partners, at the region's lambdas."""
        return Mixer(RandomPartners(self.ratio), RegionShares(self.learner.network)) if self._done else None


def adamixup(
    setup: Setup,
    *,
    steps: int = RegionSettings.steps,
    batch_size: int = RegionSettings.batch_size,
    learning_rate: float = RegionSettings.learning_rate,
    hidden: Sequence[int] = RegionSettings.hidden,
    ratio: int = 4,
) -> Mixing:
    """AdaMixUp; see `raydm.mixing.adamixup.RegionLearner` for how it differs from the paper.

    Args:
        setup: what it works on.
        steps: of the region's learning; with batch_size, learning_rate and hidden as in
            `raydm.mixing.adamixup.RegionSettings`.
        batch_size: mixed rows a step.
        learning_rate: of Adam.
        hidden: widths of the networks' layers.
        ratio: mixed rows of each example, >= 1.

    Raises:
        ParameterError: a setting is out of its range.
    """
    check_integer("adamixup", "ratio", ratio, 1)
    return AdaMixUp(setup, RegionSettings(steps, batch_size, learning_rate, hidden), ratio)
