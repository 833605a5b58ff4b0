"""Tangent vectors: how an image changes, to first order, as it is moved, turned, scaled and sheared a little."""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ("down", "right", "turn", "zoom", "shear", "stretch")
"""Units: pixels, pixels, radians, and shares for the last three."""


def tangents(images: Tensor) -> Tensor:
    """The six tangent vectors of affine maps of the plane (Simard, LeCun, Denker, Victorri 1998, section 3).

    Args:
        images: (N, channels, H, W), H and W at least 2.

    Returns:
        (N, 6, channels, H, W), in the order of `NAMES`; linear in the images.
    """
    height, width = images.shape[-2:]
    down, right = torch.gradient(images, dim=(-2, -1))
    row = (torch.arange(height, dtype=images.dtype, device=images.device) - (height - 1) / 2)[:, None]
    column = torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2
    maps = (
        down,
        right,
        row * right - column * down,
        row * down + column * right,
        row * right + column * down,
        column * right - row * down,
    )
    return torch.stack(maps, 1)
