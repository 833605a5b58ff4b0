"""New examples as they are kept: hard, each with where it comes from."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raydm.checks import check_integer
from raydm.data.examples import Examples
from raydm.errors import RunError
from raydm.seeding import stream

_CHUNK = 64  # rows that are drawn at once, whole, so that the k-th is the same however many are asked for
_SHAPE = b"raydm.shape"


@dataclass(frozen=True)
class NewRows:
    """n new examples, in the order in which they were drawn.

    Attributes:
        x: (n, ...) features, pixels, or token ids.
        y: (n,) labels, or (n, C) targets.
        parent: (n,) the row of the training set that each was made from; -1 where it was made from none.
        parent_id: (n,) that row's identifier; None where there is none.
        how: what was done to each, or what made it; plain values.
        seed: of the run. Row k is the k-th that the run's phi draws by it, however many are drawn.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    parent: npt.NDArray[np.int64]
    parent_id: list[Any]
    how: list[dict[str, Any]]
    seed: int

    def __len__(self) -> int:
        return len(self.y)

    def write(self, file: Path) -> None:
        """Writes Parquet: x (a list a row; its shape in the schema), label, parent, parent_id, how (JSON), seed, draw.

        Features and labels are as the predictor sees them, encoded.
        """
        flat = np.ascontiguousarray(self.x.reshape(len(self), -1))
        columns = {
            "draw": pa.array(np.arange(len(self))),
            "x": _lists(flat),
            "label": pa.array(self.y) if self.y.ndim == 1 else _lists(np.ascontiguousarray(self.y)),
            "parent": pa.array(self.parent, mask=self.parent < 0),
            "parent_id": pa.array(self.parent_id),
            "how": pa.array([json.dumps(how) for how in self.how]),
            "seed": pa.array(np.full(len(self), self.seed)),
        }
        shape = json.dumps(list(self.x.shape[1:])).encode()
        pq.write_table(pa.table(columns).replace_schema_metadata({_SHAPE: shape}), file)

    @classmethod
    def read(cls, file: Path) -> NewRows:
        """Reads what `write` wrote.

        Raises:
            RunError: it is missing, torn, or something else.
        """
        try:
            table = pq.read_table(file)
            shape = json.loads(table.schema.metadata[_SHAPE])
            seeds = table["seed"].to_pylist()
            return cls(
                _arrays(table["x"]).reshape(len(table), *shape),
                _arrays(table["label"]),
                table["parent"].fill_null(-1).to_numpy(),
                table["parent_id"].to_pylist(),
                [json.loads(how) for how in table["how"].to_pylist()],
                seeds[0] if seeds else 0,
            )
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise RunError(f"{file}: no new rows can be read from it ({error}). Write them anew.") from error


class RowMaker(ABC):
    """Makes new examples by what was learned: it needs neither predictor nor D^v, and can be pickled.

    Args:
        seed: of the run.
        summary: what phi does, a row for each operation or feature; none where a few numbers could not tell.
    """

    def __init__(self, seed: int, summary: list[dict[str, Any]]) -> None:
        self.seed, self.summary = seed, summary

    def rows(self, n: int, train: Examples) -> NewRows:
        """n new examples, of the N of the training set; row k is the same however many are asked for.

        Raises:
            ParameterError: n is no integer >= 0.
        """
        check_integer("rows", "n", n, 0)
        chunks = range(math.ceil(max(n, 1) / _CHUNK))
        made = [self.drawn(chunk, _CHUNK, train, stream(self.seed, "rows", chunk)) for chunk in chunks]
        parent = np.concatenate([part.parent for part in made])[:n]
        return NewRows(
            np.concatenate([part.x for part in made])[:n],
            np.concatenate([part.y for part in made])[:n],
            parent,
            [None if row < 0 else train.ids[row] for row in parent],
            [how for part in made for how in part.how][:n],
            self.seed,
        )

    @abstractmethod
    def drawn(self, chunk: int, n: int, train: Examples, rng: np.random.Generator) -> NewRows:
        """The n rows of a chunk, without their parents' identifiers."""

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Goes on with phi on a device."""


def _lists(rows: npt.NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def _arrays(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if not pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.to_numpy())
    size = column.type.list_size
    return np.asarray(column.combine_chunks().flatten().to_numpy()).reshape(len(column), size)
