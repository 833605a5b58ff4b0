"""Columns that are mixed, in the data's own units, as records. Axes: B rows, P pairs, D features, C targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import Examples, Roles, TableEncoder
from raydm.data.columns import Vector
from raydm.mixing.pairs import Array
from raydm.mixing.tables import blend, numbers
from raydm.neighborhood import Encoded

_X, _Y = "__x__", "__y__"


@dataclass(frozen=True)
class RawColumns:
    """Which columns they are, and what a row of them is.

    Attributes:
        dtype: a field for each feature and label: a float, or an array of them; and where rows are also held as they
            are encoded, one of these, (D,) features and (C,) targets, float32.
    """

    dtype: np.dtype[Any]

    @classmethod
    def of(cls, roles: Roles, encoder: TableEncoder, schema: pa.Schema, *, encoded: bool = False) -> RawColumns:
        """Those of rows with a schema, whose vectors have the shapes that the encoder was fitted on.

        Args:
            roles: which columns they are.
            encoder: of the features.
            schema: of the rows.
            encoded: hold rows as they are encoded too.
        """
        fields = []
        for name, nothing in numbers(schema.empty_table(), (*roles.features, *roles.labels)).items():
            vector = encoder.columns.get(name)
            shape = vector.shape if isinstance(vector, Vector) else ()
            fields.append((name, np.result_type(nothing.dtype, np.float32), shape))  # a null among integers is NaN
        if encoded:
            fields += [
                (_X, np.dtype(np.float32), (len(encoder.feature_names),)),
                (_Y, np.dtype(np.float32), (len(roles.labels),)),
            ]
        return cls(np.dtype(fields))

    @property
    def names(self) -> list[str]:
        """The columns."""
        return [name for name in self.dtype.names or () if name not in (_X, _Y)]

    def __call__(self, table: pa.Table, rows: Encoded, where: str) -> npt.NDArray[Any]:
        """The records (B,) of B rows, NaN where a number is missing; `where` names the rows in messages."""
        records = np.empty(table.num_rows, self.dtype)
        for name, values in numbers(table, self.names).items():
            records[name] = values
        if _X in (self.dtype.names or ()):
            records[_X], records[_Y] = rows.x, np.asarray(rows.y, np.float32).reshape(len(records), -1)
        return records

    def blend(self, ours: npt.NDArray[Any], theirs: npt.NDArray[Any], lam: Array) -> dict[str, npt.NDArray[Any]]:
        """lambda ours + (1 - lambda) theirs, of records (P,): (P, ...) by column."""
        return {name: blend(ours[name], theirs[name], lam) for name in self.names}


def mixed_examples(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], lam: Array) -> Examples:
    """Mixed rows as `Pairs.rows` makes them, to the bit: P examples, of records (P,) that hold rows as encoded."""
    share = lam.astype(np.float32)[:, None]
    x, y = (share * ours[name] + (1 - share) * theirs[name] for name in (_X, _Y))
    return Examples(x, y, np.arange(len(lam)))
