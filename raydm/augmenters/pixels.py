"""Between rows of features and images: the table encoder unfolds images to rows, networks want channels first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from raydm.errors import ParameterError


def to_images(x: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Rows (N, D) that unfold row-major to ``image_shape`` (H, W, channels), as images (N, channels, H, W)."""
    height, width, channels = image_shape
    if x.ndim != 2 or min(image_shape) < 1 or x.shape[1] != height * width * channels:
        expected = (
            f"(H, W, channels) that rows {tuple(x.shape)} unfold to, once they are encoded: constant columns are "
            "dropped, so name a column of vectors where an image has some"
        )
        raise ParameterError.of("image_shape", "to_images", expected, f"{height} x {width} x {channels}")
    return x.reshape(-1, height, width, channels).movedim(-1, -3)


def to_rows(images: Tensor) -> Tensor:
    """The inverse: images (N, channels, H, W) as rows (N, H * W * channels)."""
    return images.movedim(-3, -1).flatten(1)


def to_unit(x: Tensor) -> Tensor:
    """Pixels of 0 to 255 (uint8) as numbers from 0 to 1, as image networks read them; other tensors as they are."""
    return x.float() / 255 if x.dtype == torch.uint8 else x
