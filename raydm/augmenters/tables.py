"""A learned augmentation of tables: of each feature, how much noise, and how often it is masked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.augmenters.relaxed import of_class, relaxed_bernoulli
from raydm.checks import check_positive
from raydm.errors import ParameterError


class TableAugmenter(nn.Module):
    """x~ = x + (noise scale) * (feature's deviation) * normal noise, then masked features take their mean.

    phi holds, for each feature, the noise scale before its softplus, and the logit of its masking probability
    (relaxed Bernoulli, which mixes value and mean in between).

    Args:
        x: (N, D) training rows, of which the features' means and deviations are taken; they are not learned.
        n_classes: each class has parameters of its own; None for one set.
        scale: noise before learning, in deviations of the feature, > 0.
        masked: masking probability before learning, in (0, 1).
        temperature: of the relaxed Bernoulli, > 0.

    Raises:
        ParameterError: an argument is out of its range, or x is not (N, D).
    """

    location: Tensor
    deviation: Tensor

    def __init__(
        self,
        x: Tensor,
        *,
        n_classes: int | None = None,
        scale: float = 0.1,
        masked: float = 0.05,
        temperature: float = 0.3,
    ) -> None:
        super().__init__()
        if x.ndim != 2 or len(x) == 0:
            raise ParameterError.of("x", "TableAugmenter", "rows (N, D), at least one", tuple(x.shape))
        check_positive("TableAugmenter", "scale", scale)
        check_positive("TableAugmenter", "temperature", temperature)
        if not 0 < masked < 1:
            raise ParameterError.of("masked", "TableAugmenter", "in (0, 1)", masked)
        self.temperature = temperature
        self.register_buffer("location", x.mean(0))
        self.register_buffer("deviation", x.std(0, correction=0))
        shape = (n_classes or 1, x.shape[1])
        self.raw_scale = nn.Parameter(torch.full(shape, math.log(math.expm1(scale)), dtype=x.dtype))
        self.logit = nn.Parameter(torch.full(shape, math.log(masked / (1 - masked)), dtype=x.dtype))

    def noise(self, n: int, rng: np.random.Generator) -> Tensor:
        """(n, D, 2): of each feature a normal number and a uniform one."""
        shape = (n, len(self.location))
        normal, uniform = rng.standard_normal(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)
        return torch.from_numpy(np.stack([normal, uniform], -1))

    def forward(self, x: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        """Rows x (N, D) rewritten, differentiable in phi and x; noise (N, D, 2) of `noise`."""
        if x.ndim != 2 or x.shape[1] != len(self.location):
            raise ParameterError.of("x", "TableAugmenter", f"rows (N, {len(self.location)})", tuple(x.shape))
        noise = noise.to(x)
        masked = relaxed_bernoulli(of_class(self.logit, y), noise[..., 1], self.temperature)
        x = x + functional.softplus(of_class(self.raw_scale, y)) * self.deviation * noise[..., 0]
        return x + masked * (self.location - x)

    @torch.no_grad()
    def summary(self) -> list[dict[str, Any]]:
        """For each class and feature: its noise in deviations of the feature, and its masking probability."""
        scale, masked = functional.softplus(self.raw_scale), self.logit.sigmoid()
        return [
            ({"class": c} if len(scale) > 1 else {})
            | {"feature": d, "noise": float(scale[c, d]), "masked": float(masked[c, d])}
            for c in range(len(scale))
            for d in range(scale.shape[1])
        ]

    @torch.no_grad()
    def told(self, y: Tensor | None, noise: Tensor) -> list[dict[str, Any]]:
        """The features of an example that are masked; noise is added to all others."""
        noise = noise.to(self.logit)
        masked = relaxed_bernoulli(of_class(self.logit, y), noise[..., 1], self.temperature) > 0.5
        return [{"masked": row.nonzero().squeeze(-1).tolist()} for row in masked]
