"""Image operations, differentiable in the image and in their strength, to any order and in forward mode too.

Strength 0 leaves an image as it is, bit by bit, so that an operation that is done by half is one at half its strength.
torch's grid_sample has no forward mode, hence the sampling of our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Rec. 601 luma, which the saturation and contrast of PIL and of RandAugment go by
_LUMA = (0.299, 0.587, 0.114)


def _nothing(x: Tensor, strength: Tensor, place: Tensor, fill: float) -> Tensor:
    return x


@dataclass(frozen=True)
class Operation:
    """One way to change images; it has a matrix or else a change.

    Attributes:
        name: what it is called in settings and reports.
        limit: the greatest strength; its unit is the operation's own.
        unit: that unit.
        signed: strengths lie in [-limit, limit], else in [0, limit].
        graded: has a magnitude; else it is done at its limit or not at all.
        matrix: of a map of the plane: (strength (B,), H, W) -> (B, 3, 3), see `sample`.
        change: (images (B, channels, H, W), strength (B,), place (B, 2) in [0, 1], fill) -> images.
    """

    name: str
    limit: float
    unit: str
    signed: bool = True
    graded: bool = True
    matrix: Callable[[Tensor, int, int], Tensor] | None = None
    change: Callable[[Tensor, Tensor, Tensor, float], Tensor] = _nothing

    def strength(self, z: Tensor) -> Tensor:
        """The strength at the unbounded magnitude z, as z."""
        if not self.graded:
            return torch.full_like(z, self.limit)
        return self.limit * (z.tanh() if self.signed else z.sigmoid())

    def __call__(self, x: Tensor, strength: Tensor, place: Tensor, fill: float) -> Tensor:
        """The images (B, channels, H, W) changed by strength (B,), at place (B, 2) where it matters."""
        if self.matrix is not None:
            return sample(x, self.matrix(strength, *x.shape[2:]), fill)
        return self.change(x, strength, place, fill)


def sample(x: Tensor, matrix: Tensor, fill: float) -> Tensor:
    """Images moved in the plane: the output at p is the input at matrix p, bilinear, with ``fill`` around it.

    Args:
        x: (B, channels, H, W).
        matrix: (B, 3, 3) on (column, row, 1), in pixels from the image's centre.
        fill: what lies outside.

    Returns:
        As x.
    """
    b, channels, height, width = x.shape
    row = torch.arange(height, dtype=x.dtype, device=x.device) - (height - 1) / 2
    column = torch.arange(width, dtype=x.dtype, device=x.device) - (width - 1) / 2
    grid = torch.stack([column.expand(height, width), row[:, None].expand(height, width)])  # (2, H, W)
    to = torch.einsum("bij,jhw->bihw", matrix[:, :2, :2], grid) + matrix[:, :2, 2, None, None]
    at_column, at_row = to[:, 0] + (width - 1) / 2, to[:, 1] + (height - 1) / 2  # (B, H, W), from the corner
    pixels = x.flatten(2)
    left, top = at_column.detach().floor(), at_row.detach().floor()
    out, covered = torch.zeros_like(x), torch.zeros_like(at_row)
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        c, r = left + right, top + below
        weight = (1 - (at_column - c).abs()) * (1 - (at_row - r).abs())
        weight = torch.where((c >= 0) & (c < width) & (r >= 0) & (r < height), weight, 0.0)
        index = (r.clamp(0, height - 1) * width + c.clamp(0, width - 1)).long()
        value = pixels.gather(2, index.flatten(1)[:, None].expand(b, channels, -1)).view_as(x)
        out, covered = out + weight[:, None] * value, covered + weight
    return out + (1 - covered)[:, None] * fill if fill else out


def _matrix(strength: Tensor, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    """(B, 3, 3): the identity but for some entries, each (B,)."""
    zero, one = torch.zeros_like(strength), torch.ones_like(strength)
    cells = [entries.get((i, j), one if i == j else zero) for i in range(3) for j in range(3)]
    return torch.stack(cells, -1).view(-1, 3, 3)


def _translate_x(strength: Tensor, height: int, width: int) -> Tensor:
    return _matrix(strength, {(0, 2): strength * width})


def _translate_y(strength: Tensor, height: int, width: int) -> Tensor:
    return _matrix(strength, {(1, 2): strength * height})


def _shear_x(strength: Tensor, height: int, width: int) -> Tensor:
    return _matrix(strength, {(0, 1): strength})


def _shear_y(strength: Tensor, height: int, width: int) -> Tensor:
    return _matrix(strength, {(1, 0): strength})


def _rotate(strength: Tensor, height: int, width: int) -> Tensor:
    cos, sin = strength.cos(), strength.sin()
    return _matrix(strength, {(0, 0): cos, (0, 1): -sin, (1, 0): sin, (1, 1): cos})


def _zoom(strength: Tensor, height: int, width: int) -> Tensor:
    return _matrix(strength, {(0, 0): torch.exp(-strength), (1, 1): torch.exp(-strength)})


def _over(strength: Tensor) -> Tensor:
    return strength[:, None, None, None]


def _flip(x: Tensor, strength: Tensor, place: Tensor, fill: float) -> Tensor:
    return x + _over(strength) * (x.flip(-1) - x)


def _brightness(x: Tensor, strength: Tensor, place: Tensor, fill: float) -> Tensor:
    return x + _over(strength) * x


def _gray(x: Tensor) -> Tensor:
    """(B, 1, H, W): luma of three channels, else the channels' mean."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return torch.einsum("bchw,c->bhw", x, x.new_tensor(_LUMA))[:, None]


def _contrast(x: Tensor, strength: Tensor, place: Tensor, fill: float) -> Tensor:
    return x + _over(strength) * (x - _gray(x).mean((2, 3), keepdim=True))


def _saturation(x: Tensor, strength: Tensor, place: Tensor, fill: float) -> Tensor:
    return x + _over(strength) * (x - _gray(x))


def _cutout(x: Tensor, strength: Tensor, place: Tensor, fill: float) -> Tensor:
    """A box of strength times H and W around place takes the fill; pixels that it covers in part, in that part."""
    covers = []
    for axis, n in enumerate(x.shape[2:]):
        pixel = torch.arange(n, dtype=x.dtype, device=x.device)
        centre, half = place[:, axis, None] * n, strength[:, None] * n / 2
        covers.append((torch.minimum(centre + half, pixel + 1) - torch.maximum(centre - half, pixel)).clamp(0, 1))
    return x + torch.einsum("bh,bw->bhw", *covers)[:, None] * (fill - x)


_ALL = (
    Operation("flip", 1.0, "of the way to the mirror image", signed=False, graded=False, change=_flip),
    Operation("translate_x", 0.3, "of the width", matrix=_translate_x),
    Operation("translate_y", 0.3, "of the height", matrix=_translate_y),
    Operation("rotate", math.pi / 6, "radians", matrix=_rotate),
    Operation("shear_x", 0.3, "columns a row", matrix=_shear_x),
    Operation("shear_y", 0.3, "rows a column", matrix=_shear_y),
    Operation("zoom", 0.3, "natural logarithm of the enlargement", matrix=_zoom),
    Operation("brightness", 0.9, "of the value, added to it", change=_brightness),
    Operation("contrast", 0.9, "of the difference from the image's mean, added to it", change=_contrast),
    Operation("saturation", 0.9, "of the difference from gray, added to it", change=_saturation),
    Operation("cutout", 0.5, "of the side", signed=False, change=_cutout),
)
OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _ALL}
"""By name, in the order in which a learned policy applies them: mirror, plane, colour, cutout."""


def chosen(names: tuple[str, ...] | None, channels: int) -> tuple[Operation, ...]:
    """The named operations in the order of `OPERATIONS`; None for all that change images with so many channels."""
    if names is None:
        return tuple(o for o in _ALL if channels > 1 or o.name != "saturation")
    return tuple(o for o in _ALL if o.name in names)
