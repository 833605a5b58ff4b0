"""The image column encoder: arrays, encoded images or paths of them, as pixels for convolutions."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.encoding import JSON_FILE, TableEncoder
from raydm.data.roles import Roles, check_column, is_text_type
from raydm.data.vectors import is_vector_type, to_array
from raydm.errors import DataError, MissingPackageError

Pixels = npt.NDArray[Any]
_WHAT = "image"
_GREY = ("L", "1")


class ImageColumn(TableEncoder):
    """One column of images, as (N, channels, H, W): uint8 in 0..255 as it is, other numbers as float32.

    The column holds arrays (H, W) or (H, W, channels), bytes of image files, Hugging Face's {bytes, path}, or paths of
    image files, seen from the current folder. Files are decoded as RGB, or as grey where all of training are.

    Args:
        roles: the columns' roles, the image's among them.
        shape: (channels, H, W).
        size: (H, W) that files are scaled to; None: they must be of one size.
        statistics: means and deviations of the training images' channels, of pixels in [0, 1] where they are uint8.
    """

    def __init__(
        self,
        roles: Roles,
        shape: Sequence[int],
        size: Sequence[int] | None,
        statistics: tuple[list[float], list[float]],
    ) -> None:
        super().__init__(roles, {}, [])
        (self.column,) = roles.features
        self.shape, self.statistics = tuple(shape), statistics
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.feature_names = [self.column]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, channels)."""
        channels, height, width = self.shape
        return height, width, channels

    @classmethod
    def fit_images(cls, table: pa.Table, roles: Roles, *, name: str, size: Sequence[int] | None = None) -> ImageColumn:
        """Learns shape and statistics from the training images.

        Raises:
            DataError: a row holds no image, or one of another shape than the first; the message names it.
            MissingPackageError: files are to be decoded, and pillow is not installed.
        """
        (column,) = roles.features
        check_column(table, column, what=_WHAT, name=name)
        x = _pixels(table.column(column), f"{name}, column {column!r}", size, None)
        scaled = x.astype(np.float64) / (255 if x.dtype == np.uint8 else 1)
        mean, std = scaled.mean((0, 2, 3)), np.maximum(scaled.std((0, 2, 3)), 1e-6)
        return cls(roles, x.shape[1:], size, (mean.tolist(), std.tolist()))

    def transform_with_events(self, table: pa.Table, *, name: str) -> tuple[Pixels, list[str]]:
        """(N, channels, H, W), and nothing to warn of."""
        check_column(table, self.column, what=_WHAT, name=name)
        where = f"{name}, column {self.column!r}"
        x = _pixels(table.column(self.column), where, self.size, self.shape[0])
        if len(x) and x.shape[1:] != self.shape:
            raise DataError(
                f"{where}: images (channels, H, W) of {x.shape[1:]} where training has {self.shape}. Scale them alike."
            )
        return x.reshape(len(x), *self.shape), []

    def save(self, folder: Path) -> None:
        """Writes ``encoder.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "image": True, "roles": self.roles.to_dict(), "shape": list(self.shape),
            "size": None if self.size is None else list(self.size), "statistics": self.statistics,
        }  # fmt: skip
        (folder / JSON_FILE).write_text(json.dumps(state, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ImageColumn:
        """The encoder that `save` wrote.

        Raises:
            DataError: it is missing, torn, or of another kind.
        """
        try:
            state = json.loads((Path(folder) / JSON_FILE).read_text(encoding="utf-8"))
            mean, std = state["statistics"]
            return cls(Roles.from_dict(state["roles"]), state["shape"], state["size"], (mean, std))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder}: no saved image encoder ({type(error).__name__}: {error}). Fit it anew."
            ) from error


def _pixels(column: pa.ChunkedArray, where: str, size: Sequence[int] | None, channels: int | None) -> Pixels:
    """(N, channels, H, W)."""
    if column.null_count:
        row = int(np.asarray(column.is_null()).argmax()) + 1
        raise DataError(f"{where}, row {row}: the image is missing. Drop the row.")
    if is_vector_type(column.type):
        x = to_array(column, name=where)
        x = x[..., None] if x.ndim == 3 else x
        if x.ndim != 4:
            raise DataError(f"{where}: arrays of shape {x.shape[1:]}, and images are (H, W) or (H, W, channels).")
        x = x if x.dtype == np.uint8 else x.astype(np.float32)
        if x.dtype != np.uint8 and not np.isfinite(x).all():
            row = int(np.argwhere(~np.isfinite(x))[0][0]) + 1
            raise DataError(f"{where}, row {row}: a pixel is missing or infinite. Fill it in or drop the row.")
        return np.moveaxis(x, -1, 1).copy()
    return _decoded(column, where, size, channels)


def _decoded(column: pa.ChunkedArray, where: str, size: Sequence[int] | None, channels: int | None) -> Pixels:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingPackageError.of("pillow", "Decoding images", 'pip install "raydm[vision]"') from error
    mode = {1: "L", 3: "RGB"}.get(channels or 0)
    made: list[Pixels] = []
    for row, value in enumerate(column.to_pylist(), 1):
        source = _source(value, f"{where}, row {row}", column.type)
        try:
            with Image.open(source) as image:
                own = _eight_bits(image)
                plain = own.convert(mode or ("L" if own.mode in _GREY else "RGB"))
                if size is not None:
                    plain = plain.resize((int(size[1]), int(size[0])), Image.Resampling.BILINEAR)
                pixels = np.atleast_3d(np.asarray(plain))
        except FileNotFoundError as error:
            raise DataError(f"{where}, row {row}: {source}: no such file (looked from {Path.cwd()}).") from error
        except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
            raise DataError(
                f"{where}, row {row}: cannot be read as an image ({reason}). Mend or drop the row."
            ) from error
        if made and pixels.shape[:2] != made[0].shape[:2]:
            raise DataError(
                f"{where}, row {row}: an image of {pixels.shape[0]} x {pixels.shape[1]} pixels (H x W) where row 1 has "
                f"{made[0].shape[0]} x {made[0].shape[1]}. Scale them alike: --image-size (image_size=(H, W))."
            )
        made.append(pixels)
    most = max((pixels.shape[2] for pixels in made), default=channels or 3)
    if not made:
        return np.empty((0, most, 1, 1), np.uint8)
    return np.moveaxis(np.stack([np.broadcast_to(pixels, (*pixels.shape[:2], most)) for pixels in made]), -1, 1).copy()


def _eight_bits(image: Any) -> Any:
    """The image with pixels of 8 bits: pillow would cut off those of 16 at 255."""
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits, mode {image.mode}, have no known range: give arrays of numbers instead")
    if not image.mode.startswith("I;16"):
        return image
    from PIL import Image

    return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))


def _source(value: Any, where: str, kind: pa.DataType) -> Any:
    """What pillow opens."""
    if isinstance(value, dict):  # Hugging Face's Image
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return io.BytesIO(value)
    if isinstance(value, str) and value and (is_text_type(kind) or pa.types.is_struct(kind)):
        return Path(value)
    raise DataError(
        f"{where}: Arrow type {kind} holds no image. Give arrays (H, W, channels), bytes, or paths of files."
    )
