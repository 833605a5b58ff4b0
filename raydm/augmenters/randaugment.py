"""RandAugment: the fixed augmentation that learned policies are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raydm.augmenters.images import check_images
from raydm.augmenters.operations import OPERATIONS
from raydm.checks import check_choice, check_integer
from raydm.errors import ParameterError

LEVELS = 30
_STANDARD = ("translate_x", "translate_y", "rotate", "shear_x", "shear_y", "brightness", "contrast", "saturation")


class RandAugment(nn.Module):
    """N operations, drawn with equal chances and all of one magnitude M (Cubuk, Zoph, Shlens, Le 2020, section 3).

    The magnitude M goes from 0 to 30, linearly in each operation's strength up to its limit; signs are drawn. Of the
    paper's 14 operations these are here: identity, the maps of the plane (rotate, shear, translate) and of colours
    (brightness, contrast, saturation, which the paper calls color). Left out are the five that are not smooth in
    the image or have no magnitude: autocontrast, equalize, posterize, solarize, and sharpness, which acts through
    a kernel. As in the paper's CIFAR experiments images are mirrored by chance first and may end in a cutout.

    Args:
        n: N, operations an image, >= 0.
        magnitude: M, from 0 to 30.
        operations: names of `OPERATIONS` to draw from, the identity beside them.
        flip: mirror half of the images first.
        cutout: side of the square that is cut out last, as a share of the image's; 0 for none.
        fill: what comes in from outside the image, and what cutout leaves.
        bounds: least and greatest value of a pixel, to which results are clamped; None to leave them.

    Raises:
        ParameterError: an argument is out of its range.
    """

    def __init__(
        self,
        n: int = 2,
        magnitude: float = 9,
        *,
        operations: Sequence[str] = _STANDARD,
        flip: bool = True,
        cutout: float = 0.0,
        fill: float = 0.0,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        check_integer("RandAugment", "n", n, 0)
        if not 0 <= magnitude <= LEVELS:
            raise ParameterError.of("magnitude", "RandAugment", f"from 0 to {LEVELS}", magnitude)
        if not 0 <= cutout <= 1:
            raise ParameterError.of("cutout", "RandAugment", "from 0 to 1", cutout)
        for name in operations:
            check_choice("RandAugment", "operations", name, OPERATIONS)
        self.n, self.magnitude, self.flip, self.cutout, self.fill, self.bounds = (
            n,
            magnitude,
            flip,
            cutout,
            fill,
            bounds,
        )
        self.operations = tuple(OPERATIONS[name] for name in operations)

    def noise(self, n: int, rng: np.random.Generator) -> Tensor:
        """(n, N + 1, 4) uniform: of each slot which operation, sign and place; last whether to mirror, where to cut."""
        return torch.from_numpy(rng.random((n, self.n + 1, 4), dtype=np.float32))

    def forward(self, x: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        """Images x (N, channels, H, W) augmented, each on its own; y is not looked at; noise of `noise`."""
        check_images("RandAugment", x)
        noise = noise.to(x)
        if self.flip:
            x = OPERATIONS["flip"](x, (noise[:, -1, 0] < 0.5).to(x), noise[:, -1, 2:], self.fill)
        for slot in range(self.n):
            which = (noise[:, slot, 0] * (len(self.operations) + 1)).long()  # the last one is the identity
            sign = torch.where(noise[:, slot, 1] < 0.5, -1.0, 1.0)
            for i, operation in enumerate(self.operations):
                rows = (which == i).nonzero().squeeze(-1)
                if len(rows) == 0:
                    continue
                size = torch.full_like(noise[rows, slot, 0], operation.limit * self.magnitude / LEVELS)
                size = size * sign[rows] if operation.signed else size
                x = x.index_put((rows,), operation(x[rows], size, noise[rows, slot, 2:], self.fill))
            x = x if self.bounds is None else x.clamp(*self.bounds)
        if self.cutout:
            size = torch.full_like(noise[:, -1, 0], self.cutout)
            x = OPERATIONS["cutout"](x, size, noise[:, -1, 2:], self.fill)
        return x

    def summary(self) -> list[dict[str, Any]]:
        """For each operation: its chance in a slot, and its strength."""
        share = 1 / (len(self.operations) + 1)
        return [
            {"operation": o.name, "probability": share, "strength": o.limit * self.magnitude / LEVELS, "unit": o.unit}
            for o in self.operations
        ]

    def told(self, y: Tensor | None, noise: Tensor) -> list[dict[str, Any]]:
        """The operations that are done to an example, in order, and whether it is mirrored first."""
        which = (noise[:, : self.n, 0] * (len(self.operations) + 1)).long().tolist()
        mirrored = (noise[:, -1, 0] < 0.5).tolist()
        names = [*(operation.name for operation in self.operations), "identity"]
        return [
            {"operations": ["flip"] * (self.flip and flip) + [names[i] for i in row], "magnitude": self.magnitude}
            for row, flip in zip(which, mirrored, strict=True)
        ]
