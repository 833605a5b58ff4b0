"""Image columns: arrays, bytes and paths become the same pixels; what is no image is refused by its row."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest

from raydm.data import vector_column
from raydm.data.pixels import ImageColumn
from raydm.data.roles import Roles
from raydm.errors import DataError

Image = pytest.importorskip("PIL.Image")
ROLES = Roles("label", None, {"image": "vector"})
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 6, 4, 3)).astype(np.uint8)


def png(pixels, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind)
    return out.getvalue()


def table(column):
    return pa.table({"image": column})


def fitted(column, **more):
    return ImageColumn.fit_images(table(column), ROLES, name="train", **more)


def test_arrays_bytes_and_paths_are_the_same_pixels(tmp_path):
    expected = np.moveaxis(PIXELS, -1, 1)
    files = [tmp_path / f"{k}.png" for k in range(5)]
    for file, pixels in zip(files, PIXELS, strict=True):
        file.write_bytes(png(pixels))
    encoded = [png(pixels) for pixels in PIXELS]
    columns = [
        vector_column(PIXELS), pa.array(encoded), pa.array([str(file) for file in files]),
        pa.array([{"bytes": b, "path": None} for b in encoded]),
    ]  # fmt: skip
    for column in columns:
        encoder = fitted(column)
        x = encoder.transform(table(column), name="train")
        assert x.dtype == np.uint8
        np.testing.assert_array_equal(x, expected)
        assert encoder.image_shape == (6, 4, 3)
        np.testing.assert_allclose(encoder.statistics[0], PIXELS.mean((0, 1, 2)) / 255)
        np.testing.assert_allclose(encoder.statistics[1], PIXELS.reshape(-1, 3).std(0) / 255)


def test_numbers_stay_in_their_unit_and_grey_images_have_one_channel():
    x = RNG.normal(size=(4, 3, 3))
    encoder = fitted(vector_column(x))
    got = encoder.transform(table(vector_column(x)), name="train")
    np.testing.assert_array_equal(got, x[:, None].astype(np.float32))
    assert encoder.statistics[0][0] == pytest.approx(x.mean(), abs=1e-6)
    grey = fitted(pa.array([png(PIXELS[0, :, :, 0])]))
    assert grey.shape == (1, 6, 4)
    np.testing.assert_array_equal(grey.transform(table(pa.array([png(PIXELS[1, :, :, 0])])), name="v")[0, 0],
                                  PIXELS[1, :, :, 0])  # fmt: skip


def test_a_grey_file_before_colour_ones_takes_no_colour_from_them():
    grey = PIXELS[0, :, :, 0]
    x = fitted(pa.array([png(grey), png(PIXELS[1])])).transform(table(pa.array([png(grey), png(PIXELS[1])])), name="t")
    np.testing.assert_array_equal(x[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(x[1], np.moveaxis(PIXELS[1], -1, 0))


def test_pixels_of_sixteen_bits_keep_their_shades_and_those_of_no_known_range_are_refused():
    wide = pa.array([png(PIXELS[0, :, :, 0].astype(np.uint16) * 257)])
    np.testing.assert_array_equal(fitted(wide).transform(table(wide), name="t")[0, 0], PIXELS[0, :, :, 0])
    with pytest.raises(DataError, match=r"row 1: cannot be read .* no known range: give arrays"):
        fitted(pa.array([png(np.ones((2, 2), np.float32), "TIFF")]))


def test_files_are_scaled_where_asked_and_saved_encoders_do_the_same(tmp_path):
    column = pa.array([png(PIXELS[0]), png(PIXELS[1, :3, :2])])
    with pytest.raises(DataError, match=r"row 2: an image of 3 x 2 .*where row 1 has 6 x 4\. .*--image-size"):
        fitted(column)
    encoder = fitted(column, size=(5, 2))
    x = encoder.transform(table(column), name="train")
    assert x.shape == (2, 3, 5, 2)
    encoder.save(tmp_path)
    again = ImageColumn.load(tmp_path)
    np.testing.assert_array_equal(again.transform(table(column), name="t"), x)
    assert again.statistics == encoder.statistics
    (tmp_path / "encoder.json").write_text("{")
    with pytest.raises(DataError, match="no saved image encoder"):
        ImageColumn.load(tmp_path)


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (pa.array([png(PIXELS[0]), None]), "row 2: the image is missing"),
        (pa.array([png(PIXELS[0]), b"GIF89a torn"]), r"row 2: cannot be read as an image \(of no known format\)"),
        (pa.array(["nowhere.png"]), "row 1: nowhere.png: no such file"),
        (pa.array([1, 2]), "holds no image"),
        (pa.array([[1.0, 2.0]]), r"arrays of shape \(2,\)"),
        (vector_column(np.array([[[[1.0]]], [[[np.nan]]]])), "row 2: a pixel is missing"),
    ],
)
def test_what_is_no_image_is_refused_by_its_row(column, match):
    with pytest.raises(DataError, match=match):
        fitted(column)


def test_another_shape_than_in_training_is_refused():
    encoder = fitted(vector_column(PIXELS))
    with pytest.raises(DataError, match="where training has"):
        encoder.transform(table(vector_column(PIXELS[:, :3])), name="valid")
