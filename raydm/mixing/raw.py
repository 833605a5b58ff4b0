"""Columns that are mixed, in the data's own units, as records. Axes: B rows, P pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import Roles, TableEncoder
from raydm.data.columns import Vector
from raydm.mixing.pairs import Array
from raydm.mixing.tables import blend, numbers


@dataclass(frozen=True)
class RawColumns:
    """Which columns they are, and what a row of them is.

    Attributes:
        dtype: a field for each feature and label: a float, or an array of them.
    """

    dtype: np.dtype[Any]

    @classmethod
    def of(cls, roles: Roles, encoder: TableEncoder, schema: pa.Schema) -> RawColumns:
        """Those of rows with a schema, whose vectors have the shapes that the encoder was fitted on."""
        fields = []
        for name, nothing in numbers(schema.empty_table(), (*roles.features, *roles.labels)).items():
            vector = encoder.columns.get(name)
            shape = vector.shape if isinstance(vector, Vector) else ()
            fields.append((name, np.result_type(nothing.dtype, np.float32), shape))  # a null among integers is NaN
        return cls(np.dtype(fields))

    def __call__(self, table: pa.Table, where: str) -> npt.NDArray[Any]:
        """The records (B,) of B rows, NaN where a number is missing; `where` names the rows in messages."""
        records = np.empty(table.num_rows, self.dtype)
        for name, values in numbers(table, self.dtype.names or ()).items():
            records[name] = values
        return records

    def blend(self, ours: npt.NDArray[Any], theirs: npt.NDArray[Any], lam: Array) -> dict[str, npt.NDArray[Any]]:
        """lambda ours + (1 - lambda) theirs, of records (P,): (P, ...) by column."""
        return {name: blend(ours[name], theirs[name], lam) for name in self.dtype.names or ()}
