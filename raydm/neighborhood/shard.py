"""A shard: the points of some of the rows, and whatever may be asked of those rows.

Everything that it holds is made anew from the files by its constructor. So one that is lost is replaced by another,
with the same places for the same rows.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.blocks import ROWS, Rows, Span
from raydm.indexes import Candidates, Layout, Line, Trained, make_part, nearest_first
from raydm.neighborhood.ids import marks_of
from raydm.neighborhood.kept import Keep, KeptRecords
from raydm.neighborhood.rows import By, Encoded, RowEncoder
from raydm.neighbors import nearest

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Questions:
    """Rows whose exact neighbours are wanted, to measure recall by.

    Attributes:
        x: (T, D), points of those rows.
        ids: (T,).
        k: K.
    """

    x: Floats
    ids: Ids
    k: int


@dataclass(frozen=True)
class Recipe:
    """What every shard is made by.

    Attributes:
        rows: all rows, of which a shard takes some.
        encoder: of the rows.
        indexes: by what distances are taken, the trained index; None for one label, which is sorted.
        questions: by what distances are taken; absent where recall is not measured.
        gpu: how each shard uses its GPUs.
        block: rows that are encoded, added and searched at once.
        keep: what shards keep of their rows on local disk; None: nothing.
    """

    rows: Rows
    encoder: RowEncoder
    indexes: Mapping[By, Trained | None]
    questions: Mapping[By, Questions] = field(default_factory=dict)
    gpu: Layout = "auto"
    block: int = ROWS
    keep: Keep | None = None


class Shard:
    """The rows of some spans.

    Args:
        recipe: shared by all shards.
        spans: which rows, in order.
    """

    def __init__(self, recipe: Recipe, spans: Sequence[Span]) -> None:
        self.recipe, self.spans = recipe, spans
        self._parts: dict[By, Any] = {
            by: make_part(trained, gpu=recipe.gpu) for by, trained in recipe.indexes.items() if trained is not None
        }
        ids, names, numbers = [], [], []
        self._kept = KeptRecords()
        has_line = None in recipe.indexes.values()
        self._truth = {by: _nothing(len(asked.ids), asked.k) for by, asked in recipe.questions.items()}
        for span in spans:
            for first, table in recipe.rows.blocks(span, columns=recipe.encoder.columns, rows=recipe.block):
                where = recipe.rows.where(first, table.num_rows)
                rows = recipe.encoder.encode(first, table, where)
                if recipe.keep is not None:
                    self._kept.add(recipe.keep(table, rows, where))
                for by, part in self._parts.items():
                    part.add(rows.points(by).astype(np.float32, copy=False), rows.ids)
                self._answer(rows)
                ids.append(rows.ids)
                if rows.names is not None:
                    names.append(rows.names)
                if has_line:
                    numbers.append(rows.points("label")[:, 0])
        self.ids = np.concatenate(ids)
        self._names = pa.chunked_array(names).combine_chunks() if names else None
        for by, trained in recipe.indexes.items():
            if trained is None:
                self._parts[by] = Line(np.concatenate(numbers), self.ids)

    def _answer(self, rows: Encoded) -> None:
        """Takes what is near the questions among these rows."""
        for by, asked in self.recipe.questions.items():
            x = rows.points(by).astype(np.float32, copy=False)
            ds, places = nearest(asked.x, x, min(asked.k + 1, len(x)))
            ids = rows.ids[places]
            ds[ids == asked.ids[:, None]] = np.inf
            ds, ids, same = (np.concatenate(pair, 1) for pair in zip(self._truth[by], (ds, ids, ids), strict=True))
            self._truth[by] = nearest_first(ds, ids, same, asked.k)

    def ready(self) -> int:
        """How many rows it holds; answers once it is made."""
        return len(self.ids)

    def truth(self, by: By) -> tuple[Distances, Ids]:
        """Of its rows, the nearest to the questions: distances (T, K) and ids."""
        return self._truth[by][:2]

    def candidates(
        self, by: By, queries: Floats, count: int, effort: int | None, probes: tuple[Ids, Floats] | None
    ) -> Candidates:
        """See `raydm.indexes.Part`."""
        found: Candidates = self._parts[by].candidates(queries, count, effort, probes)
        return found

    def vectors(self, by: By, places: Ids) -> Floats:
        """See `raydm.indexes.Part`."""
        vectors: Floats = self._parts[by].vectors(places)
        return vectors

    def within(
        self, by: By, queries: Floats, exclude: Ids | None, radius: Distances, count: int,
        probes: tuple[Ids, Floats] | None,
    ) -> tuple[Distances, Ids, Ids]:  # fmt: skip
        """See `raydm.indexes.Part`."""
        found: tuple[Distances, Ids, Ids] = self._parts[by].within(queries, exclude, radius, count, probes)
        return found

    def nearest(self, by: By, queries: Distances, exclude: Ids, k: int) -> tuple[Distances, Ids, Ids]:
        """See `raydm.indexes.Line`."""
        found: tuple[Distances, Ids, Ids] = self._parts[by].nearest(queries, exclude, k)
        return found

    def kept(self, places: Ids) -> npt.NDArray[Any]:
        """The records (P,) that are kept of the rows at places (P,), where any are."""
        return self._kept.at(places)

    def names(self, places: Ids) -> pa.Array:
        """The ids (P,) of the rows at places (P,), where they are texts."""
        return cast(pa.Array, self._names).take(pa.array(places))

    def integers(self, places: Ids) -> Ids:
        """The ids (P,) of the rows at places (P,), where they are integers."""
        return self.ids[places]

    def marks(self) -> npt.NDArray[np.uint64]:
        """Marks of the ids (n,), see `raydm.neighborhood.marks_of`."""
        return marks_of(self.ids if self._names is None else self._names)

    def row_numbers(self, places: Ids) -> Ids:
        """The numbers (P,), over all rows, of those at places (P,)."""
        return np.concatenate([np.arange(*span) for span in self.spans])[places]

    def peak_bytes(self) -> int:
        """The most memory that its process has held."""
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _nothing(rows: int, k: int) -> tuple[Distances, Ids, Ids]:
    nobody = np.full((rows, k), -1)
    return np.full((rows, k), np.inf), nobody, nobody.copy()
