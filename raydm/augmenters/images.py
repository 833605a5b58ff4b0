"""A learned augmentation policy for images: of each operation, how likely and how strong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.augmenters.operations import OPERATIONS, Operation, chosen, sample
from raydm.augmenters.relaxed import hardened, of_class, relaxed_bernoulli
from raydm.checks import check_choice, check_integer, check_positive
from raydm.errors import ParameterError

_DRAWS = 4  # of each example and operation: whether, how strong, and the place, two numbers


class ImageAugmenter(nn.Module):
    """phi holds, for each operation, the logit of its probability and its magnitude's mean and spread.

    Each operation is done or not (relaxed Bernoulli), with the strength limit * tanh(mean + spread * normal noise), or
    the sigmoid's where strengths have no sign. As in Faster AutoAugment (Hataya et al. 2020) all is differentiable in
    phi. Two differences: what is done by half is done at half the strength, not mixed with the image as it was (the
    same thing for colours, and no ghosts where an image is moved); and all maps of the plane are one map with one
    interpolation.

    Args:
        channels: of the images.
        operations: names of `OPERATIONS`; None for all (without saturation where there is one channel).
        n_classes: each class has a policy of its own; None for one policy.
        probability: of each operation before learning, in (0, 1).
        spread: of each magnitude before learning, > 0; its mean starts at 0.
        temperature: of the relaxed Bernoulli, > 0.
        fill: what comes in from outside the image, and what cutout leaves.
        bounds: least and greatest value of a pixel, to which results are clamped; None to leave them.

    Raises:
        ParameterError: an argument is out of its range.
    """

    def __init__(
        self,
        channels: int,
        *,
        operations: Sequence[str] | None = None,
        n_classes: int | None = None,
        probability: float = 0.5,
        spread: float = 0.3,
        temperature: float = 0.3,
        fill: float = 0.0,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        check_integer("ImageAugmenter", "channels", channels, 1)
        for name in operations or ():
            check_choice("ImageAugmenter", "operations", name, OPERATIONS)
        if not 0 < probability < 1:
            raise ParameterError.of("probability", "ImageAugmenter", "in (0, 1)", probability)
        check_positive("ImageAugmenter", "spread", spread)
        check_positive("ImageAugmenter", "temperature", temperature)
        self.channels, self.temperature, self.fill, self.bounds = channels, temperature, fill, bounds
        self.operations: tuple[Operation, ...] = chosen(None if operations is None else tuple(operations), channels)
        shape = (n_classes or 1, len(self.operations))
        self.logit = nn.Parameter(torch.full(shape, math.log(probability / (1 - probability))))
        self.magnitude = nn.Parameter(torch.zeros(shape))
        self.spread = nn.Parameter(torch.full(shape, math.log(math.expm1(spread))))  # before the softplus

    def noise(self, n: int, rng: np.random.Generator) -> Tensor:
        """(n, O, 4): of each operation a uniform number, a normal one, and two uniform ones."""
        shape = (n, len(self.operations))
        uniform = rng.random((*shape, 3), dtype=np.float32)
        normal = rng.standard_normal((*shape, 1), dtype=np.float32)
        return torch.from_numpy(np.concatenate([uniform[..., :1], normal, uniform[..., 1:]], -1))

    def strengths(self, y: Tensor | None, noise: Tensor) -> Tensor:
        """(N, O): how strongly each operation is done; 0 where it is not. Differentiable in phi."""
        noise = noise.to(self.logit)
        done = relaxed_bernoulli(of_class(self.logit, y), noise[..., 0], self.temperature)
        z = of_class(self.magnitude, y) + functional.softplus(of_class(self.spread, y)) * noise[..., 1]
        sizes = [operation.strength(z[:, i]) for i, operation in enumerate(self.operations)]
        return done * torch.stack(sizes, -1)

    def forward(self, x: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        """Images x (N, channels, H, W) augmented, differentiable in phi and x; noise (N, O, 4) of `noise`."""
        check_images("ImageAugmenter", x, self.channels)
        noise = noise.to(x)
        strengths = self.strengths(y, noise).to(x)
        matrix: Tensor | None = None
        for i, operation in enumerate(self.operations):
            if operation.matrix is not None:
                new = operation.matrix(strengths[:, i], *x.shape[2:])
                matrix = new if matrix is None else matrix @ new
                continue
            if matrix is not None:
                x, matrix = sample(x, matrix, self.fill), None
            x = operation(x, strengths[:, i], noise[:, i, 2:], self.fill)
        if matrix is not None:
            x = sample(x, matrix, self.fill)
        return x if self.bounds is None else x.clamp(*self.bounds)

    @torch.no_grad()
    def summary(self) -> list[dict[str, Any]]:
        """For each class and operation: its probability; its strength at the mean and one spread to each side."""
        spread = functional.softplus(self.spread)
        at = torch.stack([self.magnitude - spread, self.magnitude, self.magnitude + spread])  # (3, G, O)
        return [
            ({"class": c} if len(self.logit) > 1 else {})
            | {"operation": o.name, "probability": float(self.logit[c, i].sigmoid())}
            | dict(zip(("low", "mean", "high"), o.strength(at[:, c, i]).tolist(), strict=True))
            | {"unit": o.unit}
            for c in range(len(self.logit))
            for i, o in enumerate(self.operations)
        ]

    @torch.no_grad()
    def told(self, y: Tensor | None, noise: Tensor) -> list[dict[str, Any]]:
        """The strength of each operation that is done to an example."""
        with hardened(self):
            strengths = self.strengths(y, noise).tolist()
        names = [operation.name for operation in self.operations]
        return [{name: s for name, s in zip(names, row, strict=True) if s} for row in strengths]


def check_images(owner: str, x: Tensor, channels: int | None = None) -> None:
    """Raises ParameterError unless x is (N, channels, H, W) of floats."""
    fits = x.ndim == 4 and x.is_floating_point() and (channels is None or x.shape[1] == channels)
    if not fits:
        expected = f"floating-point images (N, {channels or 'channels'}, H, W)"
        raise ParameterError.of("x", owner, expected, f"{tuple(x.shape)} of {x.dtype}")
