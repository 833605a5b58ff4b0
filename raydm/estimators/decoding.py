"""New examples in the user's own form: texts, images and tables in the data's units, with where each comes from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import Prepared
from raydm.data.columns import Categorical, ColumnEncoder, Numeric, Vector, numbers_of
from raydm.data.pixels import ImageColumn
from raydm.data.vectors import is_vector_type, to_array, vector_column
from raydm.errors import MissingPackageError, ParameterError
from raydm.joint_training import NewRows
from raydm.text.column import TokenColumn

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Decoder:
    """Turns encoded examples back into rows of the training table's columns.

    Attributes:
        prepared: how the training set was encoded.
        train: the training table, of N rows in the order of the examples.
        ids: (N,) what to call its rows.
    """

    prepared: Prepared
    train: pa.Table
    ids: Array

    def check(self) -> None:
        """Tries what will be needed once all is learned.

        Raises:
            ParameterError: a column's encoding cannot be undone.
            MissingPackageError: images cannot be written.
        """
        for name, encoder in self.prepared.encoder.columns.items():
            if not isinstance(encoder, (Numeric, Categorical, Vector)):
                raise ParameterError(
                    f"The column {name!r} holds texts, which a table's encoding keeps no words of, so that no new ones "
                    "can be written. Leave it out (features), or read it alone, by a model (text, model)."
                )
        train, first = self.prepared.train, np.arange(1)
        try:
            self(NewRows(train.x[first], train.y[first], first, [None], [{}], 0))
        except pa.ArrowException as error:
            raise ParameterError(f"New rows cannot be written in the training table's types: {error}.") from error

    def __call__(self, rows: NewRows) -> pa.Table:
        """Features and labels as the training table has them, then parent_id, how (JSON), seed and draw.

        parent_id is null where a row was made from none. A name that the table has already gets a _ behind it.
        """
        columns = self._features(rows) | self._labels(rows)
        own = {
            "parent_id": pa.array([None if p < 0 else self.ids[p].item() for p in rows.parent], self._id_type()),
            "how": pa.array([json.dumps(self._told(how), ensure_ascii=False) for how in rows.how], pa.string()),
            "seed": pa.array(np.full(len(rows), rows.seed)),
            "draw": pa.array(np.arange(len(rows))),
        }
        for name, column in own.items():
            while name in columns:
                name += "_"
            columns[name] = column
        return pa.table(columns)

    def _features(self, rows: NewRows) -> dict[str, Any]:
        encoder = self.prepared.encoder
        if isinstance(encoder, TokenColumn):
            whole = [how.get("text") for how in rows.how]  # synonyms change the text itself, to the byte
            decoded = encoder.tokenizer.decode(rows.x)
            texts = [d if w is None else w for w, d in zip(whole, decoded, strict=True)]
            return {encoder.column: pa.array(texts, pa.string())}
        if isinstance(encoder, ImageColumn):
            return {encoder.column: self._images(encoder, rows.x)}
        columns, start = {}, 0
        for name, one in encoder.columns.items():
            part = rows.x[:, start : start + one.width]
            start += one.width
            columns[name] = _column(one, part, self.train.column(name), rows.parent)
        return columns

    def _labels(self, rows: NewRows) -> dict[str, Any]:
        """Its parent's own, to the bit; of a row made from none, what it was made of."""
        names = self.prepared.roles.labels
        if (rows.parent >= 0).all():
            return {name: self.train.column(name).take(pa.array(rows.parent)) for name in names}
        y = self.prepared.labels.inverse(rows.y)
        if y.ndim == 1:
            y = y[:, None]
        return {name: _typed(y[:, k], self.train.column(name).type) for k, name in enumerate(names)}

    def _images(self, encoder: ImageColumn, x: Array) -> Any:
        """Arrays as training has them; of encoded images PNG files, which lose nothing."""
        column = self.train.column(encoder.column)
        arrays = is_vector_type(column.type)
        if self.prepared.train.x.dtype == np.uint8 and x.dtype != np.uint8:  # phi sees these in [0, 1]
            x = np.clip(x, 0, 1) * 255
        pixels = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        if arrays:
            one = to_array(column.slice(0, 1))
            return vector_column(_numbers(pixels[..., 0] if one.ndim == 3 else pixels, one.dtype))
        pixels = _numbers(pixels, np.dtype(np.uint8))
        return pa.array([png(image) for image in pixels], pa.binary())

    def _id_type(self) -> pa.DataType:
        return pa.int64() if np.issubdtype(self.ids.dtype, np.integer) else pa.string()

    def _told(self, how: Mapping[str, Any]) -> dict[str, Any]:
        """What was done, with names for numbers."""
        names = self.prepared.encoder.feature_names
        told: dict[str, Callable[[Any], tuple[str, Any]]] = {
            "masked": lambda places: ("masked", [names[p] for p in places]),
            "text": lambda _: ("by", "synonyms"),
            "length_of": lambda row: ("length_of", self.ids[row].item()),
        }
        return dict(told[key](value) if key in told else (key, value) for key, value in how.items())


def named_summary(summary: list[dict[str, Any]], prepared: Prepared) -> list[dict[str, Any]]:
    """What phi does, with names for the numbers of features and classes."""
    names, classes = prepared.encoder.feature_names, prepared.labels.classes
    made = []
    for row in summary:
        feature = {"feature": names[row["feature"]]} if "feature" in row and len(names) > row["feature"] else {}
        of = {"class": classes[row["class"]]} if "class" in row and classes is not None else {}
        made.append({**row, **of, **feature})
    return made


def png(pixels: Array) -> bytes:
    """An image (H, W, channels) of uint8 as a PNG file.

    Raises:
        MissingPackageError: pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError.of("pillow", "Writing images", 'pip install "raydm[vision]"') from error
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, format="png")
    return file.getvalue()


def _column(encoder: ColumnEncoder, x: Array, train: pa.ChunkedArray, parent: Array) -> Any:
    """One column of new rows, of the training column's type; what was constant is as it was there.

    Whole numbers, decimals and times stay within the training column's range.
    """
    if isinstance(encoder, Numeric):
        absent = x[:, -1] > 0.5 if encoder.indicator else np.zeros(len(x), bool)
        if not encoder.std > 0:
            values = _kept(train, parent)
            return pa.array([None if a else v for a, v in zip(absent, values.to_pylist(), strict=True)], train.type)
        values = x[:, 0].astype(np.float64) * encoder.std + encoder.mean
        if not pa.types.is_floating(train.type):  # a count below 0 or a time past midnight would be no data
            known = numbers_of(train, "train")
            values = np.clip(values, np.nanmin(known), np.nanmax(known))
        return _typed(np.where(absent, np.nan, values), train.type)
    if not encoder.width:
        return _kept(train, parent)
    if isinstance(encoder, Categorical):
        return _categories(encoder, x, train.type)
    assert isinstance(encoder, Vector)  # noqa: S101  # Decoder.check has refused the rest
    values = (x.astype(np.float64) * encoder.std + encoder.mean).reshape(len(x), *encoder.shape)
    return vector_column(_numbers(values, to_array(train.slice(0, 1)).dtype))


def _numbers(values: Array, kind: np.dtype[Any]) -> Array:
    """Numbers of a type; whole ones are the nearest."""
    if np.issubdtype(kind, np.integer) and not np.issubdtype(values.dtype, np.integer):
        values = np.clip(np.rint(values), np.iinfo(kind).min, np.iinfo(kind).max)
    return values.astype(kind)


def _categories(encoder: Categorical, x: Array, kind: pa.DataType) -> Any:
    """The likeliest category of each row."""
    named = [encoder.categories[k] for k in x.argmax(1)]
    if encoder.numbers:
        return _typed(np.array([np.nan if c is None else float(c) for c in named]), kind)
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.array(named, pa.string()).cast(plain)


def _kept(train: pa.ChunkedArray, parent: Array) -> pa.Array:
    """The parents' values, or of rows without any those of the first row that has one."""
    present = np.flatnonzero(np.asarray(train.is_valid()))
    some = int(present[0]) if len(present) else 0
    taken = train.take(pa.array(np.where(parent < 0, some, parent)))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _typed(values: Array, kind: pa.DataType) -> pa.Array:
    """Numbers or classes as a column of a type, null where NaN; whole numbers are rounded, times are of seconds."""
    if not np.issubdtype(values.dtype, np.floating):
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        return pa.array(values.tolist()).cast(plain)
    absent = np.isnan(values)
    filled = np.where(absent, 0.0, values)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.array(values, mask=absent).cast(kind, safe=False)
    if pa.types.is_boolean(kind):
        return pa.array(filled > 0.5, mask=absent)
    if pa.types.is_integer(kind):
        bounds = np.iinfo(kind.to_pandas_dtype())
        whole = np.clip(np.rint(filled), max(bounds.min, -(2**53)), min(bounds.max, 2**53))
        return pa.array(whole.astype(np.int64), mask=absent).cast(kind)
    if pa.types.is_temporal(kind):
        return _times(filled, absent, kind)
    return pa.array(filled, mask=absent)


def _times(seconds: Array, absent: Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_date(kind):
        days = pa.array(np.rint(seconds / 86400).astype(np.int32), pa.int32(), mask=absent).cast(pa.date32())
        return days.cast(kind)
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    whole = pa.array(np.rint(seconds * unit).astype(np.int64), mask=absent)
    return (whole.cast(pa.int32()) if kind.bit_width == 32 else whole).cast(kind)
