"""Policies pi_phi(a | D_B): distributions over actions, differentiable in phi through their log-probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from raydm.errors import ParameterError


class Policy(Protocol):
    """What the learner asks of a policy. Axes: R rollouts, N examples of the batch."""

    def draw(self, rollouts: int, rng: np.random.Generator) -> Any:
        """R independent actions for the batch; differentiable in phi where the policy is reparameterised.

        A tensor (R, N, ...), or whatever else the manipulation applies, such as soft tokens.
        """
        ...

    def log_prob(self, actions: Tensor) -> Tensor:
        """log pi_phi(a | D_B) of each rollout's actions (R, N), summed over the batch: (R,)."""
        ...

    @property
    def mean(self) -> Tensor:
        """The expected action of each example, (N,); h_phi where the actions are relaxed."""
        ...


@dataclass(frozen=True)
class Bernoulli:
    """Each example is used (1) or not (0), independently (DVRL, section 3.2: s_i ~ Ber(h_phi(x_i, y_i))).

    Attributes:
        logits: (N,) log-odds of using each example.
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """h_phi in [0, 1], (N,)."""
        return torch.sigmoid(self.logits)

    def draw(self, rollouts: int, rng: np.random.Generator) -> Tensor:
        """(R, N) of 0 and 1. Drawn on the CPU by numpy, so that every device gives the same actions."""
        return self._hard(self._uniform(rollouts, rng))

    def log_prob(self, actions: Tensor) -> Tensor:
        """Sum over the batch of a log h + (1 - a) log(1 - h), from the logits: no epsilon is needed. (R,)."""
        logits = self.logits.expand_as(actions)
        return -functional.binary_cross_entropy_with_logits(logits, actions, reduction="none").sum(-1)

    def _uniform(self, rollouts: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        return rng.random((rollouts, len(self.logits)), dtype=np.float32)

    def _hard(self, uniform: npt.NDArray[np.float32]) -> Tensor:
        h = self.mean.detach().cpu().numpy()
        return torch.from_numpy((uniform < h).astype(np.float32)).to(self.logits.device)


@dataclass(frozen=True)
class Relaxed(Bernoulli):
    """Bernoulli actions relaxed to (0, 1), differentiable in phi: Gumbel-softmax over {used, not used}.

    The binary Concrete distribution (Maddison, Mnih, Teh 2017, section 3.2 and appendix B; Jang, Gu, Poole 2017):
    a = sigmoid((logits + L) / temperature) with L logistic noise, the difference of two Gumbels. It goes over 1/2
    where, from equal noise, `Bernoulli` draws 1: with probability h_phi. The mean of a is h_phi only in the limit of
    temperature 0, and 1/2 more nearly than h_phi above it; `mean` stays h_phi, the data value.

    Attributes:
        logits: (N,) log-odds of using each example.
        temperature: > 0; the lower, the nearer to 0 and 1, and the more the gradient varies.
    """

    temperature: float = 0.5

    def draw(self, rollouts: int, rng: np.random.Generator) -> Tensor:
        """(R, N) in [0, 1], differentiable in the logits; the noise is drawn on the CPU by numpy."""
        return self._soft(self._uniform(rollouts, rng))

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log density of actions in (0, 1), summed over the batch: (R,) (Maddison 2017, appendix B, equation 25)."""
        inside = torch.finfo(actions.dtype).eps  # 0 and 1, to which sigmoids round, have no density
        a = actions.clamp(inside, 1 - inside)
        z = self.temperature * torch.logit(a) - self.logits  # minus the noise, logistic
        density = functional.logsigmoid(z) + functional.logsigmoid(-z) - torch.log(a * (1 - a) / self.temperature)
        return density.sum(-1)

    def _soft(self, uniform: npt.NDArray[np.float32]) -> Tensor:
        noise = torch.logit(torch.from_numpy(uniform))
        return torch.sigmoid((self.logits - noise.to(self.logits)) / self.temperature)


@dataclass(frozen=True)
class StraightThrough(Relaxed):
    """Bernoulli's 0 and 1 on the way forward, the relaxed action's derivative on the way back (Jang 2017, section 2.2).

    Equal generators draw `Bernoulli`'s actions. The gradient is that of another function, the relaxed one, taken at
    0 and 1: biased at every temperature.
    """

    def draw(self, rollouts: int, rng: np.random.Generator) -> Tensor:
        """(R, N) of 0 and 1, with the derivative of `Relaxed`'s actions in the logits."""
        uniform = self._uniform(rollouts, rng)
        soft = self._soft(uniform)
        return self._hard(uniform).to(soft) + (soft - soft.detach())

    def log_prob(self, actions: Tensor) -> Tensor:
        """Bernoulli's: (R,)."""
        return Bernoulli.log_prob(self, actions)


@dataclass(frozen=True)
class Deterministic:
    """One action, sure: R_phi itself says it, and the gradient goes through it (Hu et al. 2019, weighting).

    Attributes:
        actions: (N, ...), differentiable in phi.
    """

    actions: Tensor

    @property
    def mean(self) -> Tensor:
        """The actions, (N, ...)."""
        return self.actions

    def draw(self, rollouts: int, rng: np.random.Generator) -> Tensor:
        """The actions R times over, (R, N, ...), with their gradient; the generator is not used."""
        return self.actions.expand(rollouts, *self.actions.shape)

    def log_prob(self, actions: Tensor) -> Tensor:
        """There is none: nothing is drawn.

        Raises:
            ParameterError: always.
        """
        raise ParameterError(
            "Deterministic actions have no log-probability, so there is no score function. Use the gradient Pathwise."
        )


@dataclass(frozen=True)
class Reparameterised:
    """Actions are whole examples, a differentiable function of phi and of noise (Hu et al. 2019, section 4.2).

    Attributes:
        make: from a generator of noise, one rollout's examples: a tensor (S, ...), or rows made of several tensors.
    """

    make: Callable[[np.random.Generator], Any]

    @property
    def mean(self) -> Tensor:
        """There is none that could be told.

        Raises:
            ParameterError: always.
        """
        raise ParameterError("Actions that are whole examples have no mean in closed form. Draw some instead.")

    def draw(self, rollouts: int, rng: np.random.Generator) -> Any:
        """R times new examples: (R, S, ...); of rows made of several tensors one time, without an axis R.

        Raises:
            ParameterError: several rollouts of rows that are no tensors.
        """
        drawn = [self.make(rng) for _ in range(rollouts)]
        if isinstance(drawn[0], Tensor):
            return drawn[0].unsqueeze(0) if rollouts == 1 else torch.stack(drawn)
        if rollouts != 1:
            raise ParameterError.of("rollouts", "Reparameterised", "1 where examples are no plain tensors", rollouts)
        return drawn[0]

    def log_prob(self, actions: Any) -> Tensor:
        """None that is known: examples are made, not chosen.

        Raises:
            ParameterError: always.
        """
        raise ParameterError(
            "Examples made from noise have no log-probability that is known, so there is no score function. Use the "
            "gradient Pathwise."
        )
