"""Label noise: a known share of wrong labels, to measure what finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from raydm.errors import ParameterError


def flip_labels(
    y: npt.NDArray[Any], share: float, *, n_classes: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Gives a share of the examples another class, drawn uniformly from the other C - 1.

    Args:
        y: (N,) class indices in [0, C).
        share: the share to flip, in [0, 1); exactly round(share * N) labels change, a half rounded to even.
        n_classes: C, at least 2.
        seed: the noise's seed, >= 0; the same seed flips the same labels to the same classes.

    Returns:
        (N,) int64 labels and (N,) bool, True where a label was flipped. ``y`` itself is left alone.

    Raises:
        ParameterError: ``y`` holds regression targets or indices outside [0, C), or an argument is out of its range.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "iu":
        raise ParameterError.of("y", "flip_labels", "class indices (label noise is for classification)", y.dtype)
    if not 0 <= share < 1:
        raise ParameterError.of("share", "flip_labels", "in [0, 1)", share)
    if n_classes < 2:
        raise ParameterError.of("n_classes", "flip_labels", "at least 2", n_classes)
    if y.size and not 0 <= y.min() <= y.max() < n_classes:
        raise ParameterError.of("y", "flip_labels", f"in [0, {n_classes})", int(y.max() if y.min() >= 0 else y.min()))
    draw = np.random.default_rng(seed)
    rows = draw.choice(len(y), round(share * len(y)), replace=False)
    noisy = y.astype(np.int64)
    noisy[rows] = (noisy[rows] + draw.integers(1, n_classes, len(rows))) % n_classes
    flipped = np.zeros(len(y), np.bool_)
    flipped[rows] = True
    return noisy, flipped
