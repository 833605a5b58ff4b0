"""What every method of mixing is: steps, then pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raydm.data.examples import Examples
from raydm.errors import RaydmError
from raydm.learner import Step
from raydm.mixing.mixer import Mixer
from raydm.mixing.pairs import Pairs
from raydm.mixing.progress import Progress
from raydm.mixing.settings import MixSettings
from raydm.utility import Problem, Utility

MakeUtility = Callable[[Problem], Utility]


@dataclass(frozen=True)
class Setup:
    """What every method is given.

    Attributes:
        train: the training set, N examples.
        problem: predictor, validation set, metric and seed.
        settings: MixRL's; of the others, global kNN takes its options and lambda, and all take its repeats.
        make_utility: maps the problem to its utility: in this process, or on a cluster.
    """

    train: Examples
    problem: Problem
    settings: MixSettings
    make_utility: MakeUtility


class Mixing(ABC):
    """One method on one problem.

    Args:
        setup: what it works on.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @property
    @abstractmethod
    def total(self) -> int | None:
        """How many steps there are, if that is known."""

    @abstractmethod
    def steps(self) -> Iterator[Step | Progress]:
        """Yields each step as it is done; exhaust it to have the pairs."""

    @property
    @abstractmethod
    def chosen(self) -> Mapping[str, Any]:
        """The settings that were chosen, such as alpha, k or the threshold, as JSON allows."""

    @property
    @abstractmethod
    def candidates(self) -> list[dict[str, Any]]:
        """What they were chosen among: settings, mixed_rows and mean utility of each; none where they were given."""

    @abstractmethod
    def made(self) -> Mixer | None:
        """What mixes examples; None before the steps are done."""

    @property
    def mixer(self) -> Mixer:
        """What mixes examples, any.

        Raises:
            RaydmError: its steps were not exhausted.
        """
        mixer = self.made()
        if mixer is None:
            raise RaydmError("This method of mixing has not chosen its settings yet. Exhaust its steps first.")
        return mixer

    def pairs(self) -> Pairs:
        """What the training examples are mixed with; no two pairs make one row."""
        return self.mixer.pairs(self.setup.train, self.setup.problem.seed)
