"""Searches: which settings are tried next, given how the others did. One trial's number tells it from all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raydm.errors import MissingPackageError, ParameterError
from raydm.seeding import stream
from raydm.sweep.spaces import Dimension, Settings, drawn, grid

SEARCHES = ("grid", "random", "optuna-tpe", "optuna-gp")


@dataclass(frozen=True)
class Proposal:
    """Settings to try.

    Attributes:
        number: of the trial, from 0.
        settings: by name.
    """

    number: int
    settings: Settings


class Search(Protocol):
    """What proposes settings, and hears how they did.

    Attributes:
        total: how many trials there are in all.
    """

    @property
    def total(self) -> int:
        """How many trials there are in all."""
        ...

    def known(self, number: int, settings: Settings, utility: float | None) -> None:
        """Takes a trial that was ended before (None: it failed), which is not proposed again. Before any proposal."""
        ...

    def begun(self, number: int, settings: Settings) -> None:
        """Takes a trial that was begun before and not ended, which is proposed first. Before any proposal."""
        ...

    def propose(self) -> Proposal | None:
        """The next trial; None: there are no more."""
        ...

    def tell(self, number: int, utility: float | None) -> None:
        """How a proposed trial did; None: it failed."""
        ...


def make_search(name: str, space: Sequence[Dimension], samples: int | None, seed: int) -> Search:
    """The named search.

    Args:
        name: of `SEARCHES`.
        space: what is searched.
        samples: how many trials; None where the space tells, or 20.
        seed: of what is drawn.

    Raises:
        ParameterError: the space does not fit the search.
        MissingPackageError: Optuna is not installed.
    """
    if name == "grid":
        if samples is not None:
            raise ParameterError("--samples is how many trials are drawn; --search grid tries all. Leave it out.")
        return Listed(grid(space))
    count = 20 if samples is None else samples
    return Listed(drawn(space, count, seed)) if name == "random" else Suggested(name, space, count, seed)


class Listed:
    """Trials that are known from the beginning."""

    def __init__(self, trials: Sequence[Settings]) -> None:
        self.trials = trials
        self._left = [*range(len(trials))]

    @property
    def total(self) -> int:
        """How many trials there are in all."""
        return len(self.trials)

    def known(self, number: int, settings: Settings, utility: float | None) -> None:
        """See `Search`."""
        self._left.remove(number)

    def begun(self, number: int, settings: Settings) -> None:
        """See `Search`."""

    def propose(self) -> Proposal | None:
        """See `Search`."""
        return None if not self._left else Proposal(self._left[0], self.trials[self._left.pop(0)])

    def tell(self, number: int, utility: float | None) -> None:
        """See `Search`."""


class Suggested:
    """Trials that Optuna suggests, by what it heard of others; some at random come first."""

    def __init__(self, name: str, space: Sequence[Dimension], total: int, seed: int) -> None:
        self._optuna = _import_optuna(name)
        self._space, self._total, self._seed, self._name = space, total, seed, name
        self._distributions = {d.name: self._distribution(d) for d in space}
        self._asked: dict[int, Any] = {}
        self._again: list[Proposal] = []
        self._number, self._study = 0, None

    @property
    def total(self) -> int:
        """How many trials there are in all."""
        return self._total

    def known(self, number: int, settings: Settings, utility: float | None) -> None:
        """See `Search`."""
        self._number = max(self._number, number + 1)
        state = self._optuna.trial.TrialState
        if utility is None:
            trial = self._optuna.trial.create_trial(state=state.FAIL)
        else:
            params = {d.name: _place(d, settings[d.name]) for d in self._space}
            trial = self._optuna.trial.create_trial(params=params, distributions=self._distributions, value=utility)
        self._opened().add_trial(trial)

    def begun(self, number: int, settings: Settings) -> None:
        """See `Search`."""
        self._number = max(self._number, number + 1)
        self._again.append(Proposal(number, settings))

    def propose(self) -> Proposal | None:
        """See `Search`."""
        again = self._again.pop(0) if self._again else None
        if again is None and self._number >= self._total:
            return None
        study = self._opened()
        if again is not None:
            study.enqueue_trial({d.name: _place(d, again.settings[d.name]) for d in self._space})
        trial = study.ask(self._distributions)
        found = {d.name: d.values[trial.params[d.name]] if d.values else trial.params[d.name] for d in self._space}
        proposal = Proposal(self._number, found) if again is None else again
        self._number = max(self._number, proposal.number + 1)
        self._asked[proposal.number] = trial
        return proposal

    def tell(self, number: int, utility: float | None) -> None:
        """See `Search`."""
        trial = self._asked.pop(number)
        if utility is None:
            self._opened().tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._opened().tell(trial, utility)

    def _opened(self) -> Any:
        """The study; its draws follow from the seed, and from how many trials are known at the beginning."""
        if self._study is None:
            self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
            seed = int(stream(self._seed, "sweep", self._number).integers(2**31))
            kind = {"optuna-tpe": "TPESampler", "optuna-gp": "GPSampler"}[self._name]
            sampler = getattr(self._optuna.samplers, kind)(
                seed=seed, n_startup_trials=max(2, min(10, self._total // 4))
            )
            self._study = self._optuna.create_study(direction="maximize", sampler=sampler)
        return self._study

    def _distribution(self, d: Dimension) -> Any:
        kinds, log = self._optuna.distributions, d.kind.startswith("log")
        if d.kind == "choice":  # places: Optuna knows no lists as choices
            return kinds.CategoricalDistribution([*range(len(d.values))])
        if d.kind in ("int", "logint"):
            return kinds.IntDistribution(int(d.low), int(d.high), log=log)
        return kinds.FloatDistribution(d.low, d.high, log=log)


def _place(d: Dimension, value: Any) -> Any:
    return d.values.index(value) if d.values else value


def _import_optuna(name: str) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError.of("optuna", f"--search {name}", 'pip install "raydm[tune]"') from error
    return optuna


def replay(search: Search, ended: Mapping[int, tuple[Settings, float | None]], open_: Mapping[int, Settings]) -> None:
    """Tells a search of the trials of an interrupted sweep."""
    for number, (settings, utility) in sorted(ended.items()):
        search.known(number, settings, utility)
    for number, settings in sorted(open_.items()):
        search.begun(number, settings)
