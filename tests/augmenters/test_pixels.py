"""Rows and images, and back."""

from __future__ import annotations

import pytest
import torch

from raydm.augmenters.pixels import to_images, to_rows
from raydm.errors import ParameterError


def test_rows_unfold_to_rows_columns_channels():
    x = torch.arange(24.0).reshape(1, 24)
    images = to_images(x, (4, 3, 2))
    assert images.shape == (1, 2, 4, 3)
    assert images[0, 1, 0].tolist() == [1, 3, 5]
    assert torch.equal(to_rows(images), x)


def test_other_widths_are_refused():
    with pytest.raises(ParameterError, match="4 x 3 x 2"):
        to_images(torch.zeros(1, 23), (4, 3, 2))
