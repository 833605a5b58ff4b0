"""Pieces that the learned augmenters share: whether to act, relaxed, and phi by class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from raydm.errors import ParameterError

_COLD = 1e-9


def relaxed_bernoulli(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Near 0 or near 1, over 1/2 with probability sigmoid(logits); differentiable in the logits.

    The binary Concrete distribution (Maddison, Mnih, Teh 2017, appendix B), as in `raydm.policies.Relaxed`. Logits of
    minus and plus infinity give 0 and 1 themselves.

    Args:
        logits: (...), log-odds.
        uniform: (...) in [0, 1).
        temperature: > 0; the lower, the nearer to 0 and 1.
    """
    inside = torch.finfo(uniform.dtype).tiny  # a 0 among the draws would have infinite noise, and inf - inf is NaN
    return torch.sigmoid((logits - torch.logit(uniform.clamp_min(inside))) / temperature)


def of_class(phi: Tensor, y: Tensor | None) -> Tensor:
    """The rows of phi (G, ...) that the classes y (N,) have; (1, ...) where all share one.

    Raises:
        ParameterError: phi depends on the class and y is missing.
    """
    if len(phi) == 1:
        return phi
    if y is None:
        raise ParameterError("This augmenter was made with n_classes: it needs the classes y (N,). Got None.")
    return phi[y]


@contextmanager
def hardened(augmenter: nn.Module) -> Iterator[None]:
    """What it does by chance is done or not, nothing in between: the limit of temperature 0, of the same noise."""
    relaxed: Any = augmenter
    before = getattr(relaxed, "temperature", None)
    if before is None:  # nothing is relaxed
        yield
        return
    relaxed.temperature = _COLD
    try:
        yield
    finally:
        relaxed.temperature = before
