"""Before any shard is made: a sample of the rows, what encodes them, and a trained index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import Kind
from raydm.data.blocks import ROWS, Rows
from raydm.errors import DataError, ParameterError, one_of
from raydm.indexes import KINDS, TRAINING_POINTS, IndexSpec, Layout, Trained, choose, memory_bytes, train
from raydm.neighborhood.rows import By, RowEncoder, fit_rows
from raydm.neighborhood.shard import Questions, Recipe
from raydm.seeding import stream

Ids = npt.NDArray[np.int64]
# Of row numbers (S,), ascending, and columns (None: all): the table of these rows.
Take = Callable[[Ids], pa.Table]

_LEAST_SAMPLE = 2**17
_SAMPLE_BYTES = 2**29
_QUESTIONS = 1000  # half of them to choose nprobe by, half to measure recall


@dataclass(frozen=True)
class Wanted:
    """What neighbours are wanted, and how they are found.

    Attributes:
        k: K, >= 1.
        by: distances of the features ("data") or of the labels.
        id, features, label, kinds: columns, see `raydm.neighborhood.fit_rows`.
        index: a kind, its sizes, or "auto" to choose by memory.
        memory: bytes that the index may take, over all shards.
        gpu: how GPUs are used.
        sample: rows to learn encoders, centres and codes from; None: as many as they need.
        seed: of the sample and of k-means.
        block: rows that are encoded, added and searched at once.
    """

    k: int = 16
    by: By = "data"
    id: str | None = None
    features: Sequence[str] | None = None
    label: Sequence[str] | None = None
    kinds: Mapping[str, Kind] | None = None
    index: IndexSpec | str = "auto"
    memory: int = 2**33
    gpu: Layout = "auto"
    sample: int | None = None
    seed: int = 0
    block: int = ROWS

    def check(self, n: int) -> None:
        """Raises ParameterError where a field is out of its range for N rows, DataError where N is too few."""
        if n < 2:
            raise DataError("Nothing is near the only row that there is. At least two rows are needed.")
        if not 1 <= self.k < n:
            raise ParameterError.of("k", "raydm neighbors", f"an integer in [1, {n - 1}] for {n} rows", self.k)
        if isinstance(self.index, str) and self.index not in ("auto", *KINDS):
            raise ParameterError.of("index", "raydm neighbors", one_of(("auto", *KINDS)), self.index)
        if self.sample is not None and self.sample < 1:
            raise ParameterError.of("sample", "raydm neighbors", "an integer >= 1", self.sample)
        if self.memory < 1:
            raise ParameterError.of("memory", "raydm neighbors", "bytes, >= 1", self.memory)


def make_recipe(
    rows: Rows,
    wanted: Wanted,
    take: Take,
    name: str,
    *,
    encoder: RowEncoder | None = None,
    by: Sequence[By] | None = None,
) -> Recipe:
    """Samples, chooses and trains.

    Args:
        rows: all rows.
        wanted: what is wanted.
        take: reads the sample, such as `taker(rows)`.
        name: what to call the data in messages.
        encoder: of the rows; None: one is fitted on the sample.
        by: the distances that are indexed; None: the one that is wanted.

    Raises:
        ParameterError: a parameter out of its range, or no index fits into the memory.
        DataError: columns that are absent or cannot be encoded.
    """
    wanted.check(len(rows))
    positions = drawn(rows, wanted)
    table = take(positions)
    called = name if len(positions) == len(rows) else f"{name}, a sample of {len(positions)} of its rows"
    encoder = encoder or fit_rows(
        table, by=wanted.by, id=wanted.id, features=wanted.features, label=wanted.label, kinds=wanted.kinds, name=called
    )
    try:
        sample = encoder.encode(0, table, called)
    except DataError:
        for first, block in rows.blocks(columns=encoder.columns, rows=wanted.block):  # which file and row is it?
            encoder.encode(first, block, rows.where(first, block.num_rows))
        raise
    ids = positions if encoder.id is None or encoder.has_names else sample.ids
    indexes: dict[By, Trained | None] = {}
    questions: dict[By, Questions] = {}
    for distance in by or (wanted.by,):
        x = sample.points(distance)
        if x.shape[1] == 0:
            raise DataError(f"{name}: the features have no numbers in them. Name others with --features.")
        if distance == "label" and x.shape[1] == 1:
            indexes[distance] = None
            continue
        x = x.astype(np.float32, copy=False)
        trained = indexes[distance] = _trained(x, len(rows), wanted)
        if trained.spec.kind != "exact":
            some = stream(wanted.seed, "recall").choice(len(x), min(_QUESTIONS, len(x)), replace=False)
            questions[distance] = Questions(x[some], ids[some], wanted.k)
    return Recipe(rows, encoder, indexes, questions, wanted.gpu, wanted.block)


def _trained(x: npt.NDArray[np.float32], n: int, wanted: Wanted) -> Trained:
    d, spec = x.shape[1], wanted.index
    if spec == "auto":
        spec = choose(n, d, wanted.k, wanted.memory)
    elif isinstance(spec, str):
        spec = IndexSpec(spec)  # type: ignore[arg-type]
    if spec.kind in ("ivf-flat", "ivf-pq") and spec.nlist is None:  # no more lists than the sample can tell apart
        spec = replace(spec, nlist=min(IndexSpec("ivf-flat").sized(n, d).nlist or 1, max(1, len(x) // TRAINING_POINTS)))
    spec = spec.sized(n, d, wanted.k)
    needed = memory_bytes(spec, n, d, wanted.k)
    if needed > wanted.memory:
        raise ParameterError(
            f"An index of kind {spec.kind!r} over {n} points in {d} features takes about {needed} bytes, and "
            f"memory={wanted.memory}. Allow more with --memory, or leave the kind to --index auto."
        )
    return train(spec, x, seed=wanted.seed)


def drawn(rows: Rows, wanted: Wanted) -> Ids:
    """The sample's row numbers, ascending."""
    n = len(rows)
    size = wanted.sample or max(_LEAST_SAMPLE, TRAINING_POINTS * math.ceil(4 * math.sqrt(n)))
    size = min(n, size, max(ROWS, int(_SAMPLE_BYTES / max(rows.row_bytes, 1))))
    if size == n:
        return np.arange(n)
    return np.sort(stream(wanted.seed, "sample").choice(n, size, replace=False))


def taker(rows: Rows, block: int = ROWS) -> Take:
    """Reads rows by their numbers, in this process."""

    def take(positions: Ids) -> pa.Table:
        return pa.concat_tables([taken(first, table, positions) for first, table in rows.blocks(rows=block)])

    return take


def taken(first: int, table: pa.Table, positions: Ids) -> pa.Table:
    """Those rows of a block that are among the numbers."""
    low, high = np.searchsorted(positions, [first, first + table.num_rows])
    return table.take(pa.array(positions[low:high] - first))
