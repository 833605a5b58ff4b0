"""Choosing a setting on the validation set D^v: all candidates as one stack, or some of many by Bayesian optimisation.

Axes: G candidates, N examples, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from raydm.checks import check_integer
from raydm.data.examples import Examples
from raydm.errors import MissingPackageError
from raydm.mixing.options import DISTANCES
from raydm.mixing.pairs import Array, Pairs, together
from raydm.mixing.progress import Progress
from raydm.mixing.scores import mixed_sets, utilities
from raydm.seeding import stream
from raydm.utility import Problem, Utility, one_thread

Candidate = Mapping[str, Any]  # its settings, by name
MakePairs = Callable[[Candidate], Pairs]

_BYTES = 2**28  # that the mixed rows of one stack may take; at least one candidate is in it


@dataclass
class Tried:
    """Candidates and how they did.

    Attributes:
        candidates: their settings.
        mixed_rows: of each.
        u: mean utility of each.
    """

    candidates: list[Candidate]
    mixed_rows: list[int]
    u: list[float]

    @property
    def best(self) -> Candidate:
        """The one with the highest utility; of equals the first."""
        return self.candidates[int(np.argmax(self.u))]

    def records(self) -> list[dict[str, Any]]:
        """Settings, mixed_rows and utility of each."""
        return [
            {**candidate, "mixed_rows": rows, "utility": u}
            for candidate, rows, u in zip(self.candidates, self.mixed_rows, self.u, strict=True)
        ]


class Judge:
    """Says how good candidates are: the mean utility of predictors that are trained with their mixed rows.

    Args:
        train: the training set, N examples.
        problem: the run's.
        utility: trains and scores.
        repeats: trainings of each candidate, from seeds that all candidates share.
        pairs: gives the pairs of a candidate.
    """

    def __init__(self, train: Examples, problem: Problem, utility: Utility, repeats: int, pairs: MakePairs) -> None:
        self.train, self.problem, self.utility, self.repeats, self.pairs = train, problem, utility, repeats, pairs
        self.tried = Tried([], [], [])

    def score(self, pairs: Sequence[Pairs], candidates: Sequence[Candidate]) -> None:
        """Trains and scores some as one stack, in which rows that several of them make stand once."""
        of = np.repeat(np.arange(len(candidates)), [len(p) for p in pairs])
        rows, chosen = together([*pairs]).merged(of, len(candidates))
        sets = mixed_sets(self.train, rows.rows(self.train), chosen, self.problem)
        u: Array = utilities(sets, self.problem, self.utility, self.repeats)
        self.tried.candidates += candidates
        self.tried.mixed_rows += [int(c) for c in chosen.sum(1)]
        self.tried.u += [float(v) for v in u]

    def stacks(self, candidates: Sequence[Candidate]) -> Iterator[tuple[list[Pairs], list[Candidate]]]:
        """Candidates with their pairs, as many at a time as fit."""
        held: tuple[list[Pairs], list[Candidate]] = ([], [])
        row_bytes = self.train.x[:1].nbytes + self.train.y[:1].nbytes
        for candidate in candidates:
            pairs = self.pairs(candidate)
            if held[0] and (sum(map(len, held[0])) + len(pairs)) * row_bytes > _BYTES:
                yield held
                held = ([], [])
            held[0].append(pairs)
            held[1].append(candidate)
        if held[0]:
            yield held


def try_all(judge: Judge, candidates: Sequence[Candidate]) -> Iterator[Progress]:
    """Every candidate, in stacks as large as fit."""
    for t, stack in enumerate(judge.stacks(candidates)):
        judge.score(*stack)
        yield _progress(t, judge)


@dataclass(frozen=True)
class BayesSettings:
    """Bayesian optimisation.

    Attributes:
        trials: suggestions in all, >= 1.
        batch: suggestions at a time, >= 1, trained as one stack; as many random ones come first.
    """

    trials: int = 40
    batch: int = 8

    def check(self, owner: str) -> None:
        """Raises ParameterError where a setting is out of its range."""
        check_integer(owner, "trials", self.trials, 1)
        check_integer(owner, "batch", self.batch, 1)


def try_some(judge: Judge, counts: Mapping[str, Sequence[int]], settings: BayesSettings) -> Iterator[Progress]:
    """Numbers of neighbours that a Gaussian process expects to improve, a batch at a time (Optuna's GPSampler).

    The process sees the distance, and the place of k among the numbers that the distance has; a suggestion that was
    tried before is not trained again.

    Args:
        judge: of candidates {"distance", "k"}.
        counts: by distance: the numbers of neighbours, rising.
        settings: how often.

    Raises:
        MissingPackageError: Optuna is not installed.
    """
    optuna = _import_optuna()
    names = [distance for distance in DISTANCES if counts.get(distance)]
    known: dict[tuple[str, int], float] = {}
    with _quiet(optuna):
        seed = int(stream(judge.problem.seed, "bayes").integers(2**31))
        sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=settings.batch)
        study = optuna.create_study(direction="maximize", sampler=sampler)
    for t, start in enumerate(range(0, settings.trials, settings.batch)):
        asked = []
        with _quiet(optuna), one_thread():
            for _ in range(min(settings.batch, settings.trials - start)):
                trial = study.ask()
                distance = trial.suggest_categorical("distance", names)
                place = trial.suggest_float("place", 0.0, 1.0)
                asked.append((trial, (distance, counts[distance][round(place * (len(counts[distance]) - 1))])))
        new = [option for option in dict.fromkeys(option for _, option in asked) if option not in known]
        before = len(judge.tried.u)
        for stack in judge.stacks([{"distance": distance, "k": k} for distance, k in new]):
            judge.score(*stack)
        known |= dict(zip(new, judge.tried.u[before:], strict=True))
        with _quiet(optuna), one_thread():
            for trial, option in asked:
                study.tell(trial, known[option])
        yield _progress(t, judge)


def _progress(t: int, judge: Judge) -> Progress:
    return Progress(t, {"utility": max(judge.tried.u), "tried": float(len(judge.tried.u))})


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError.of("optuna", "search='bayes'", 'pip install "raydm[tune]"') from error
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without a line on stderr for each trial; what the user set is set again."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
