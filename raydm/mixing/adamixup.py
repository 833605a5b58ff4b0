"""AdaMixUp: the policy region is learned together with a predictor and an intrusion discriminator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from raydm.checks import check_integer, check_positive
from raydm.data.examples import Examples
from raydm.errors import ParameterError
from raydm.mixing.pairs import Indices
from raydm.mixing.partners import spread
from raydm.mixing.progress import Progress
from raydm.networks import IntrusionNetwork, PolicyRegion
from raydm.seeding import stream
from raydm.utility import aligned, one_thread

# Of rows (B,) and a generator: a partner (B,) for each, with which the region is learned
DrawPartners = Callable[[Indices, np.random.Generator], Indices]

_OWNER = "adamixup"


@dataclass(frozen=True)
class RegionSettings:
    """How AdaMixUp learns.

    Attributes:
        steps: of Adam, >= 0; without any, lambda is uniform in (1/3, 2/3).
        batch_size: mixed rows a step, >= 1, beside as many real ones that f sees and as many that it does not; at most
            half of the examples.
        learning_rate: of Adam, > 0 (the released code on MNIST: 1e-3).
        hidden: widths of the layers of f, and of the region's network.
    """

    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-3
    hidden: Sequence[int] = (128, 128)

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        check_integer(_OWNER, "steps", self.steps, 0)
        check_integer(_OWNER, "batch_size", self.batch_size, 1)
        check_positive(_OWNER, "learning_rate", self.learning_rate)
        if not (isinstance(self.hidden, tuple | list) and self.hidden):
            raise ParameterError.of("hidden", _OWNER, "one or more widths", self.hidden)
        for width in self.hidden:
            check_integer(_OWNER, "hidden", width, 1)


class RegionLearner:
    """Learns where the lambda of a pair may lie (Guo, Mao, Zhang 2019, their section on AdaMixUp and its training).

    All networks descend one sum of losses: L_D of f on real rows, L_D' of f on rows that are mixed at lambda = alpha +
    Delta eps, and the intrusion loss, by which a discriminator phi tells mixed rows from real ones. No part plays
    against another: a region is good where its rows cannot be taken for real ones whose labels would contradict theirs.
    The gradient reaches the region through eps ~ U(0, 1) held fixed. As in the released code phi is f with another
    readout, and sees real rows of which half are no parents of the step's mixed ones.

    Differences: targets are real numbers, at mean 0 and deviation 1 (squared error in place of cross-entropy). f is a
    small network of its own, since it is differentiated through; what is trained on the mixed rows in the end is the
    run's own predictor, from the learned region as it is then. Rows are mixed in pairs, the paper's K = 2.

    Args:
        train: the training set, N >= 2.
        seed: the run's.
        settings: how it learns.
        partners: with whom rows are mixed meanwhile; None: with any other, as in the paper.

    Attributes:
        network: the region.
    """

    def __init__(
        self, train: Examples, seed: int, settings: RegionSettings, partners: DrawPartners | None = None
    ) -> None:
        settings.check()
        if len(train) < 2:
            raise ParameterError("AdaMixUp mixes two examples, and the training set has one. Add rows.")
        self.train, self.seed, self.settings = train, seed, settings
        self.partners = partners or self._any_other
        y = aligned(train.y).reshape(len(train), -1).float()
        self._x, self._y = aligned(train.x), (y - y.mean(0)) / torch.from_numpy(spread(train.y)).float()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(stream(seed, "adamixup").integers(2**63)))
            self.network = PolicyRegion(train.x.shape[1], hidden=settings.hidden)
            self._f = IntrusionNetwork(train.x.shape[1], y.shape[1], hidden=settings.hidden)

    def steps(self) -> Iterator[Progress]:
        """Yields each step as it is done; its figures: loss, and intrusion, the share of it that is phi's."""
        optimizer = torch.optim.Adam(
            [*self.network.parameters(), *self._f.parameters()], self.settings.learning_rate, fused=True
        )
        for t in range(self.settings.steps):
            yield Progress(t, self._step(t, optimizer))

    @one_thread()
    def _step(self, t: int, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        rng = stream(self.seed, "adamixup", t)
        n = len(self.train)
        size = min(self.settings.batch_size, n // 2)
        rows = rng.choice(n, 2 * size, replace=False)
        seen, unseen = (torch.from_numpy(part) for part in (rows[:size], rows[size:]))
        other = torch.from_numpy(self.partners(rows[:size], rng))
        eps = torch.from_numpy(rng.random(size, dtype=np.float32))
        alpha, delta = self.network(self._x[seen], self._x[other])
        lam = (alpha + delta * eps).unsqueeze(-1)
        mixed = lam * self._x[seen] + (1 - lam) * self._x[other]
        wanted = torch.cat([self._y[seen], lam * self._y[seen] + (1 - lam) * self._y[other]])
        said, real = self._f(torch.cat([self._x[seen], mixed, self._x[unseen]]))
        errors = functional.mse_loss(said[:size], wanted[:size]) + functional.mse_loss(
            said[size : 2 * size], wanted[size:]
        )
        is_real = torch.cat([real[:size], real[2 * size :]])
        intrusion = 0.5 * (functional.softplus(-is_real).mean() + functional.softplus(real[size : 2 * size]).mean())
        loss = errors + intrusion
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return {"loss": loss.item(), "intrusion": intrusion.item()}

    def _any_other(self, rows: Indices, rng: np.random.Generator) -> Indices:
        return (rows + rng.integers(1, len(self.train), size=len(rows))) % len(self.train)
