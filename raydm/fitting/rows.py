"""The rows that a predictor is fitted on: training rows with their weights, new rows beside them, read in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raydm.data import LabelEncoder, Roles, TableEncoder
from raydm.data.blocks import Rows, Span, spans
from raydm.data.columns import numbers_of
from raydm.data.roles import check_column, is_text_type
from raydm.errors import DataError
from raydm.text.column import TokenColumn

Array = npt.NDArray[Any]
ID = "id"


@dataclass(frozen=True)
class Weights:
    """Weights of rows, in the order of the rows.

    Attributes:
        rows: one for each row, with the row's id where there is a column `ID`.
        column: that tells the weight: a number >= 0, or whether the row is selected.
        at_most: where given, rows of at most this number in the column are selected, and no others.
    """

    rows: Rows
    column: str
    at_most: float | None = None

    def of(self, table: pa.Table, where: str) -> npt.NDArray[np.float32]:
        """(B,) weights of a block of `rows`.

        Raises:
            DataError: one is missing, infinite or negative.
        """
        check_column(table, self.column, what="weight", name=where)
        values = numbers_of(table.column(self.column), f"{where}, column {self.column!r}")
        if self.at_most is not None:
            values = (values <= self.at_most).astype(np.float64)
        wrong = ~(values >= 0)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{where}, column {self.column!r}, row {row + 1}: {values[row]:g} where a weight >= 0 was expected. "
                "Values that may be negative can select rows (--final kept), but cannot weigh them."
            )
        return values.astype(np.float32)


@dataclass(frozen=True)
class Part:
    """Some of the rows.

    Attributes:
        rows: with features and labels.
        weights: of each; None: they are all alike.
        scale: what weights are multiplied by, > 0.
    """

    rows: Rows
    weights: Weights | None = None
    scale: float = 1.0

    def weights_of(self, first: int, count: int, block: int) -> npt.NDArray[np.float32]:
        """(count,) weights of a block of rows."""
        if self.weights is None:
            return np.full(count, self.scale, np.float32)
        at, table = next(self.weights.rows.blocks((first, first + count), rows=block))
        return self.weights.of(table, self.weights.rows.where(at, count)) * np.float32(self.scale)


@dataclass(frozen=True)
class Encoded:
    """n rows as the predictor sees them.

    Attributes:
        x: (n, ...) features, pixels or token ids.
        y: (n,) or (n, C).
        w: (n,) float32 > 0.
    """

    x: Array
    y: Array
    w: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.w)


class Source(Protocol):
    """Gives blocks of rows, encoded."""

    def read(self, blocks: Iterator[int]) -> Iterator[Encoded]:
        """The rows of each block that weigh anything, in the order of the blocks.

        Raises:
            DataError: rows that cannot be read or encoded.
        """
        ...


@dataclass(frozen=True)
class Mixture:
    """All rows, in blocks that begin anew with each part; it travels, and is a `Source` wherever it is.

    Attributes:
        parts: of the rows.
        encoder: of the features.
        labels: of the labels.
        roles: of the columns.
        block: rows of a block.
    """

    parts: tuple[Part, ...]
    encoder: TableEncoder
    labels: LabelEncoder
    roles: Roles
    block: int

    @property
    def blocks(self) -> list[tuple[int, Span]]:
        """The part and the rows of each block."""
        return [(number, span) for number, part in enumerate(self.parts) for span in spans(len(part.rows), self.block)]

    def read(self, blocks: Iterator[int]) -> Iterator[Encoded]:
        """See `Source`."""
        every = self.blocks
        for block in blocks:
            yield self.encoded(every[block])[0]

    def encoded(self, of: tuple[int, Span]) -> tuple[Encoded, list[str]]:
        """One block, without the rows that weigh nothing; and what to warn of."""
        number, (first, end) = of
        part = self.parts[number]
        w = part.weights_of(first, end - first, self.block)
        columns = list(dict.fromkeys([*self.roles.features, *self.roles.labels]))
        _, table = next(part.rows.blocks((first, end), columns=columns, rows=self.block))
        where, present = part.rows.where(first, end - first), w > 0
        x, events = self.encoder.transform_with_events(table, name=where)
        y = self.labels.transform_columns(table, self.roles.labels, name=where)
        if isinstance(self.encoder, TokenColumn):  # so that blocks can be laid together
            x = self.encoder.padded(x, self.encoder.tokenizer.length)
        return Encoded(x[present], y[present], w[present]), events


@dataclass(frozen=True)
class InMemory:
    """A `Source` of rows that are encoded already.

    Attributes:
        rows: of all blocks, one after another.
        starts: where each block begins, and the end of the last.
    """

    rows: Encoded
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, mixture: Mixture) -> tuple[InMemory, list[str]]:
        """Encodes all rows; and what to warn of."""
        made = [mixture.encoded(block) for block in mixture.blocks]
        return cls(joined([rows for rows, _ in made]), np.cumsum([0, *(len(rows) for rows, _ in made)])), list(
            dict.fromkeys(event for _, events in made for event in events)
        )

    def read(self, blocks: Iterator[int]) -> Iterator[Encoded]:
        """See `Source`."""
        for block in blocks:
            rows = slice(int(self.starts[block]), int(self.starts[block + 1]))
            yield Encoded(self.rows.x[rows], self.rows.y[rows], self.rows.w[rows])


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Rows laid one after another."""
    x, y, w = ([getattr(part, name) for part in parts] for name in ("x", "y", "w"))
    return Encoded(np.concatenate(x), np.concatenate(y), np.concatenate(w))


def check_ids(ids: pa.ChunkedArray, of_weights: pa.ChunkedArray, where: str, told: str) -> None:
    """Refuses weights of other rows.

    Args:
        ids: (B,) of the rows.
        of_weights: (B,) that the weights are of.
        where: what to call the rows in messages.
        told: and the weights.

    Raises:
        DataError: an id differs; the message names the row.
    """
    same = pc.equal(_text(ids), _text(of_weights)).fill_null(False).to_numpy(zero_copy_only=False)
    if not same.all():
        row = int((~same).argmax())
        raise DataError(
            f"{where}, row {row + 1}: its id is {ids[row].as_py()!r}, and the weight in {told} is of "
            f"{of_weights[row].as_py()!r}. Give the rows that the weights were learned for, in their order; for others "
            "let `raydm score` value them, and name its file (--weights)."
        )


def _text(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    return ids if is_text_type(ids.type) and ids.type == pa.string() else ids.cast(pa.string())
