"""Images of the named sets as arrays for convolutions, and the CIFAR-10 subsets of Hu et al. (2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from raydm.checks import check_choice
from raydm.data.examples import Examples
from raydm.data.subsets import load_subset
from raydm.data.vectors import to_array
from raydm.errors import DataError

CifarSetting = Literal["low", "20:1000", "50:1000", "100:1000"]
CIFAR_SETTINGS = ("low", "20:1000", "50:1000", "100:1000")
# In the release: the first two classes, airplane the rare one
_RARE, _COMMON = "airplane", "automobile"


def image_examples(table: pa.Table, *, label: str = "label", image: str = "x", classes: Sequence[str]) -> Examples:
    """A table of images as examples for convolutions.

    Args:
        table: N rows with a column ``image`` of (H, W, channels) arrays of uint8, one of labels, and ``id``.
        label: the label column.
        image: the images' column.
        classes: the C classes; their order gives their indices.

    Returns:
        x (N, channels, H, W) float32 in [0, 1]; y (N,) int64; ids.

    Raises:
        DataError: the images are not uint8 of three axes, or a label is none of the classes.
    """
    x = to_array(table.column(image), name=f"the column {image!r}")
    if x.ndim != 4 or x.dtype != np.uint8:
        raise DataError(f"Column {image!r}: expected images (H, W, channels) of uint8, got {x.shape[1:]} of {x.dtype}.")
    index = {name: i for i, name in enumerate(classes)}
    labels = table.column(label).to_pylist()
    unknown = sorted({str(name) for name in labels if name not in index})
    if unknown:
        raise DataError(f"Column {label!r}: holds {unknown}, expected only {list(classes)}.")
    y = np.array([index[name] for name in labels], np.int64)
    pixels = np.ascontiguousarray(np.moveaxis(x, -1, 1)).astype(np.float32) / np.float32(255)
    return Examples(pixels, y, table.column("id").to_numpy())


def cifar10_subset(
    setting: CifarSetting, *, seed: int, most_test: int | None = 2000, folder: Path | None = None
) -> tuple[Examples, Examples, Examples]:
    """Training, validation and test images of a CIFAR-10 setting of Hu et al. (2019, section 5; their release).

    "low" has 40 training and 2 validation images a class; "20:1000", "50:1000" and "100:1000" have so many airplanes
    and 1,000 automobiles to train on, and 10 validation images of each. Test images are the official ones of these
    classes. Differences: the images were re-encoded as JPEG, and training draws from the first 2,000 of a class.

    Args:
        setting: one of ``CIFAR_SETTINGS``.
        seed: the draw's seed, >= 0.
        most_test: the most test images, drawn by the seed; None for all 10,000 or 2,000.
        folder: the data folder; by default the one that ``RAYDM_DATA`` names.

    Raises:
        ParameterError: the setting is unknown.
        DataError: a file is absent and cannot be downloaded, or has another hash.
        MissingPackageError: pillow is not installed.
    """
    check_choice("cifar10_subset", "setting", setting, CIFAR_SETTINGS)
    if setting == "low":
        drawn = load_subset("cifar10", seed=seed, train=40, valid=2, most_test=most_test, folder=folder)
    else:
        train, valid = {_RARE: int(setting.split(":")[0]), _COMMON: 1000}, {_RARE: 10, _COMMON: 10}
        drawn = load_subset("cifar10", seed=seed, train=train, valid=valid, most_test=most_test, folder=folder)
    classes = sorted(set(drawn.train.column("label").to_pylist()))
    parts = [image_examples(table, classes=classes) for table in (drawn.train, drawn.valid, drawn.test)]
    return parts[0], parts[1], parts[2]
