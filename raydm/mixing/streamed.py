"""Mixing of rows that need not fit into memory: each block of them with neighbours that shards hold.

Axes: B rows of a block, P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from raydm.data.examples import Examples
from raydm.errors import ParameterError
from raydm.indexes import Found, Parts
from raydm.mixing.mixer import Mixer
from raydm.mixing.pairs import Indices, Pairs, ranks
from raydm.mixing.partners import NearestPartners
from raydm.mixing.raw import RawColumns, mixed_examples
from raydm.mixing.region import RegionShares
from raydm.mixing.tables import PROVENANCE, table_of
from raydm.neighborhood import By, Encoded, Recipe, encoded, kept_of, names_of, searcher_of, with_note

PARENT, PARTNER = "__parent__", "__partner__"  # row numbers, beside the mixed rows until the repeated ones are out

_PIECE_BYTES = 2**25  # of both parents' numbers that are held at once


def streams(mixer: Mixer) -> bool:
    """Whether a mixer's pairs can be made block by block."""
    return isinstance(mixer.partners, NearestPartners) and not isinstance(mixer.shares, RegionShares)


def check_streams(mixer: Mixer, method: str) -> None:
    """Raises ParameterError where pairs cannot be made block by block."""
    if not streams(mixer):
        why = (
            "one network gives lambda to all pairs at once"
            if isinstance(mixer.partners, NearestPartners)
            else "partners are not nearest neighbours, but drawn among all rows"
        )
        raise ParameterError(
            f"Rows cannot be streamed to a run of method {method!r}: {why}. Streams serve mixrl and global-knn; leave "
            "--stream and --actors out to mix these rows in memory."
        )


class MixBlock:
    """Mixes a block of rows. It is callable in any process that can ask the parts.

    Rows go by their numbers, as rows in memory do: ties between neighbours, lambdas and repeated rows are decided by
    these. So the recipe's encoder must take ids as texts, or none.

    Args:
        parts: the shards.
        recipe: by which they were made; it keeps `columns`, and its block is `raydm.data.blocks.ROWS`.
        mixer: of which `streams` is true.
        k: how many neighbours are looked for, by distance.
        effort: nprobe or efSearch by distance; absent: the index's own.
        seed: of lambdas.
        id_type: of ids in the result.
    """

    def __init__(
        self, parts: Parts, recipe: Recipe, mixer: Mixer, k: Mapping[By, int], effort: Mapping[By, int | None],
        seed: int, id_type: pa.DataType,
    ) -> None:  # fmt: skip
        self.parts, self.recipe, self.mixer, self.k, self.effort = parts, recipe, mixer, k, effort
        self.seed, self.id_type = seed, id_type
        self._searchers = {by: searcher_of(parts, recipe, by) for by in k}

    def __call__(self, first: int, table: pa.Table) -> pa.Table:
        """The mixed rows whose first parent is one of B rows, those that the block repeats left out.

        Args:
            first: the number of the first row.
            table: B rows.

        Returns:
            P rows of `mixed_schema`, by distance and then by parent, with a note.
        """
        rows = encoded(self.recipe, first, table)
        examples = Examples(np.asarray(rows.x), np.asarray(rows.y), rows.ids)
        counts = self.mixer.partners.counts(examples)  # type: ignore[attr-defined]  # `streams` says that they count
        own: list[Indices] = [np.empty(0, np.int64)]
        near: list[Found] = [_nobody()]
        kinds: list[Any] = [np.empty(0, "U5")]
        for by, most in self.k.items():
            k = np.minimum(counts.get(by, np.zeros(len(rows.ids), np.int64)), most)
            asked = np.flatnonzero(k)
            if len(asked):
                found = self._searchers[by].search(
                    rows.points(by)[asked], most, exclude=rows.ids[asked], effort=self.effort.get(by)
                )
                owner, rank = ranks(k[asked])
                own.append(asked[owner])
                near.append(Found(*(a[owner, rank] for a in vars(found).values())))
                kinds.append(np.full(len(owner), by))
        i, kind = np.concatenate(own), np.concatenate(kinds)
        j, owners, places = (np.concatenate([getattr(f, n) for f in near]) for n in ("ids", "owners", "places"))
        pairs = Pairs(first + i, j, self.mixer.shares.of(examples, first + i, j, self.seed), kind)
        once = pairs.distinct()
        made = self._mixed(first, table, rows, pairs.take(once), owners[once], places[once])
        return with_note(made, rows.events)

    def _mixed(
        self, first: int, table: pa.Table, rows: Encoded, pairs: Pairs, owners: Indices, places: Indices
    ) -> pa.Table:
        """The rows of P pairs, those that are let in; their partners are held by parts `owners` at `places`."""
        recipe, columns = self.recipe, columns_of(self.recipe)
        schema = mixed_schema(columns, self.id_type)
        if not len(pairs):
            return schema.empty_table()
        ours = columns(table, rows, recipe.rows.where(first, table.num_rows))
        _, once, which = np.unique(pairs.j, return_index=True, return_inverse=True)
        theirs = kept_of(self.parts, owners[once], places[once])
        if recipe.encoder.id is None:
            ids, names = np.arange(first, first + table.num_rows), pairs.j[once]
            mine, partners = pa.array(ids), pa.array(names)
        else:
            mine = table.column(recipe.encoder.id).combine_chunks()
            none = np.empty(0)
            partners = names_of(self.parts, recipe, Found(none, pairs.j[once], owners[once], places[once]))
        tables = []
        size = max(1, _PIECE_BYTES // columns.dtype.itemsize)
        for start in range(0, len(pairs), size):
            piece = np.arange(start, min(start + size, len(pairs)))
            some, j = pairs.take(piece), which[piece]
            if self.mixer.admission is not None:
                made = mixed_examples(ours[some.i - first], theirs[j], some.lam)
                inside = self.mixer.admission.admits(made)
                some, j = some.take(inside), j[inside]
            i = some.i - first
            values: dict[str, Any] = dict(columns.blend(ours[i], theirs[j], some.lam))
            told = (
                mine.take(pa.array(i)).cast(self.id_type),
                partners.take(pa.array(j)).cast(self.id_type),
                some.lam,
                pa.array(some.kind.tolist(), pa.string()),
            )
            values |= dict(zip(PROVENANCE, told, strict=True))
            tables.append(table_of(values | {PARENT: some.i, PARTNER: some.j}).cast(schema))
        return pa.concat_tables(tables)


def columns_of(recipe: Recipe) -> RawColumns:
    """What a recipe keeps, where it is for mixing."""
    if not isinstance(recipe.keep, RawColumns):
        raise TypeError("a recipe for mixing keeps RawColumns")
    return recipe.keep


def mixed_schema(columns: RawColumns, id_type: pa.DataType) -> pa.Schema:
    """Of what `MixBlock` makes: the mixed columns, `PROVENANCE`, and the parents' row numbers."""
    nothing = np.empty(0, columns.dtype)
    told = zip(PROVENANCE, (id_type, id_type, pa.float64(), pa.string()), strict=True)
    values: dict[str, Any] = dict(columns.blend(nothing, nothing, np.empty(0)))
    numbers = {name: pa.array([], pa.int64()) for name in (PARENT, PARTNER)}
    return table_of(values | {name: pa.array([], kind) for name, kind in told} | numbers).schema


def _nobody() -> Found:
    nobody = np.empty(0, np.int64)
    return Found(np.empty(0), nobody, nobody, nobody)
