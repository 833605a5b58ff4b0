"""Hu et al.'s CIFAR-10 subsets: their sizes, their seeds, and the arrays that convolutions want."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest

from raydm.data.image_subsets import cifar10_subset, image_examples
from raydm.data.vectors import vector_column
from raydm.errors import DataError, ParameterError

needs_data = pytest.mark.skipif("RAYDM_DATA" not in os.environ, reason="RAYDM_DATA names no data folder")


def table(images, labels):
    columns = {"id": pa.array(np.arange(len(labels)) + 7), "x": vector_column(images), "label": pa.array(labels)}
    return pa.table(columns)


def test_images_become_channels_first_shares():
    images = np.random.default_rng(0).integers(256, size=(3, 4, 5, 3), dtype=np.uint8)
    examples = image_examples(table(images, ["b", "a", "b"]), classes=["a", "b"])
    assert examples.x.shape == (3, 3, 4, 5)
    assert examples.x.dtype == np.float32
    np.testing.assert_allclose(examples.x[1, 2], images[1, :, :, 2] / 255, rtol=1e-6)
    assert examples.y.tolist() == [1, 0, 1]
    assert examples.ids.tolist() == [7, 8, 9]


def test_other_columns_are_refused():
    images = np.zeros((2, 4, 5, 3), np.uint8)
    with pytest.raises(DataError, match=r"\['c'\]"):
        image_examples(table(images, ["a", "c"]), classes=["a", "b"])
    with pytest.raises(DataError, match="uint8"):
        image_examples(table(images.astype(np.float32), ["a", "b"]), classes=["a", "b"])


def test_an_unknown_setting_is_refused():
    with pytest.raises(ParameterError, match="20:1000"):
        cifar10_subset("30:1000", seed=0)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(("setting", "train", "valid"), [("low", [40] * 10, 2), ("50:1000", [50, 1000], 10)])
def test_sizes_and_seeds(setting, train, valid):
    parts = cifar10_subset(setting, seed=0, most_test=100)
    assert np.bincount(parts[0].y).tolist() == train
    assert np.bincount(parts[1].y).tolist() == [valid] * len(train)
    assert [len(part) for part in parts] == [sum(train), valid * len(train), 100]
    assert len(np.unique(np.concatenate([part.ids for part in parts]))) == sum(map(len, parts))
    assert all(part.x.shape[1:] == (3, 32, 32) and 0 <= part.x.min() < part.x.max() <= 1 for part in parts)
    again, other = cifar10_subset(setting, seed=0, most_test=100)[0], cifar10_subset(setting, seed=1, most_test=100)[0]
    assert np.array_equal(again.x, parts[0].x)
    assert np.array_equal(again.y, parts[0].y)
    assert not np.array_equal(other.ids, parts[0].ids)
