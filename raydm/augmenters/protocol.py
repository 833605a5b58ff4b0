"""What a rewriting of examples must offer; the noise comes from outside, so that equal seeds give equal bits."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from torch import Tensor


class Augmenter(Protocol):
    """A torch module: its parameters are phi, none where nothing is learned."""

    def noise(self, n: int, rng: np.random.Generator) -> Tensor:
        """What chance has in the rewriting of n examples, (n, ...) float32; drawn on the CPU by numpy."""
        ...

    def __call__(self, x: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        """The examples rewritten, differentiable in phi and in x.

        Args:
            x: (N, D) features or (N, channels, H, W) images, floating point.
            y: (N,) int64 classes; None where the rewriting does not depend on them.
            noise: of `noise(N, rng)`, or some of its rows.

        Returns:
            As x.
        """
        ...

    def summary(self) -> list[dict[str, Any]]:
        """What is done to the examples, one row for each class (where they differ) and operation or feature."""
        ...

    def told(self, y: Tensor | None, noise: Tensor) -> list[dict[str, Any]]:
        """What is done to each of the examples of this noise, plain values, as `hardened` does it."""
        ...
