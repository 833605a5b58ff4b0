"""`raydm mix --apply RUN`: mixes other rows by what a run learned, in memory or as a stream."""

from __future__ import annotations

import time
import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raydm.data import encode, read_table
from raydm.data.blocks import ROWS, ParquetRows, open_rows
from raydm.data.roles import check_column
from raydm.errors import ParameterError, RaydmWarning, one_of
from raydm.indexes import KINDS
from raydm.mixing.pairs import label_scale
from raydm.mixing.partners import NearestPartners
from raydm.mixing.raw import RawColumns
from raydm.mixing.streamed import MixBlock, check_streams, mixed_schema, streams
from raydm.mixing.tables import mixed_table
from raydm.neighborhood import (
    By,
    Recipe,
    RowEncoder,
    Wanted,
    check_ids,
    make_recipe,
    notes_of,
    rows_of,
    searcher_of,
    tune,
)
from raydm.report.atomic import check_free, new_file
from raydm.report.mix_run import MixRun, load_mix_run
from raydm.report.mixed import write_mixed
from raydm.storage import Place, output
from raydm.verbs.neighbors import check_actors, is_given, make_shards, memory_of, parquet_only, say_notes
from raydm.verbs.score import is_large

_RECALL = 0.95  # that an approximate index is tuned to
_STREAMED = ("stream", "index", "memory", "sample")  # flags of a stream alone, and what they are by default


def apply(arguments: Namespace) -> dict[str, Any]:
    """Mixes the rows of TRAIN; partners are looked for among these. Returns what the JSON line says."""
    started = time.perf_counter()
    check_actors(arguments, "raydm mix", 0)
    if arguments.index not in (None, "auto", *KINDS):
        raise ParameterError.of("index", "raydm mix", one_of(("auto", *KINDS)), arguments.index)
    out = output(arguments.storage, arguments.out, Path("mixed.parquet"))
    check_free(out)
    learned = load_mix_run(arguments.apply)
    if arguments.stream or arguments.actors:
        check_streams(learned.mixer, str(learned.config["method"]))
        streamed = len(parquet_only(open_rows(arguments.train))) > 1  # one row has no partner, and needs no index
    else:
        streamed = streams(learned.mixer) and is_large(arguments.train)
        given = next((flag for flag in _STREAMED if is_given(arguments, flag)), None)
        if given and not streamed:
            raise ParameterError(f"--{given} is for rows that are streamed: add --stream or --actors, or leave it out.")
    if streamed:
        rows, mixed, index = _streamed(arguments, learned, out)
    else:
        rows, mixed, index = _whole(arguments, learned, out)
    seconds = round(time.perf_counter() - started, 3)
    line = {"run": str(arguments.apply), "out": str(out), "rows": rows, "mixed_rows": mixed}
    return line | {"seconds": seconds, "index": index}


def _whole(arguments: Namespace, learned: MixRun, out: Place) -> tuple[int, int, dict[str, str]]:
    """Rows, mixed rows, and the kind of index by distance: with all rows in memory."""
    files: list[str] = arguments.train
    table = read_table(files)
    examples = encode(learned, table, _called(files))
    pairs = learned.mixer.pairs(examples, arguments.seed)
    with new_file(out) as file:
        pq.write_table(mixed_table(table, learned.roles, pairs, examples.ids), file)
    partners = learned.mixer.partners
    most = partners.most() if isinstance(partners, NearestPartners) else {}
    return len(examples), len(pairs), {distance: "exact" for distance, k in most.items() if k}


def _streamed(arguments: Namespace, learned: MixRun, out: Place) -> tuple[int, int, dict[str, str]]:
    """The same in blocks, from shards that hold all rows' codes or points, and their numbers on local disk."""
    rows = parquet_only(open_rows(arguments.train)).absolute()
    for what, names in (("feature", learned.roles.features), ("label", learned.roles.labels)):
        for column in names:
            check_column(rows.schema.empty_table(), column, what=what, name=_called(arguments.train))
    partners: Any = learned.mixer.partners  # `streams` says that they are nearest ones
    k: dict[By, int] = {by: min(most, len(rows) - 1) for by, most in partners.most().items() if most}
    shards = make_shards(arguments)
    said: list[str] = []
    try:
        memory = -(-memory_of(arguments, shards) // len(k))
        wanted = Wanted(k=max(k.values()), index=arguments.index or "auto", memory=memory, sample=arguments.sample,
                        seed=arguments.seed, block=ROWS)  # fmt: skip
        take, name = partial(shards.take, rows, wanted.block), _called(arguments.train)
        recipe = make_recipe(rows, wanted, take, name, encoder=_encoder(learned, rows, k), by=list(k))
        columns = RawColumns.of(
            learned.roles, learned.encoder, rows.schema, encoded=learned.mixer.admission is not None
        )
        recipe = replace(recipe, keep=columns)
        parts = shards.build(recipe)
        check_ids(parts, recipe)
        id_type = rows_of(learned, rows.schema).id_type
        make = partial(MixBlock, parts, recipe, learned.mixer, k, _efforts(parts, recipe, k), arguments.seed, id_type)
        with new_file(out) as file:
            tables = notes_of(shards.stream(recipe, make), said)
            expected = len(rows) * sum(k.values())
            mixed = write_mixed(
                file, tables, mixed_schema(columns, id_type), rows=len(rows), expected=expected, quiet=arguments.quiet
            )
    finally:
        shards.close()
    say_notes(said)
    kinds = {by: trained.spec.kind if trained is not None else "exact" for by, trained in recipe.indexes.items()}
    return len(rows), mixed, {str(by): str(kind) for by, kind in kinds.items()}


def _encoder(learned: MixRun, rows: ParquetRows, k: Mapping[By, int]) -> RowEncoder:
    """As the run encodes rows; with ids as texts beside row numbers, and labels in the unit that memory has."""
    encoder = rows_of(learned, rows.schema)
    labels, names = learned.labels, list(encoder.label_columns)
    if "label" in k and labels.n_outputs > 1:
        blocks = rows.blocks(columns=names)
        y = (labels.transform_columns(t, names, name=rows.where(first, t.num_rows)) for first, t in blocks)
        labels = replace(labels, std=label_scale(y))
    elif labels.n_outputs == 1:
        labels = replace(labels, std=1.0)
    return replace(encoder, id_type=pa.string() if encoder.id else pa.int64(), labels=labels)


def _efforts(parts: Any, recipe: Recipe, k: Mapping[By, int]) -> dict[By, int | None]:
    """nprobe or efSearch of each approximate index."""
    efforts: dict[By, int | None] = {}
    for by in k:
        tuned = tune(searcher_of(parts, recipe, by), recipe.questions.get(by), target=_RECALL, effort=None)
        efforts[by] = tuned.effort
        if tuned.recall is not None and tuned.recall < _RECALL:
            warnings.warn(
                f"Recall of neighbours by {by} is {tuned.recall:.3f} on a sample. Leave --index out, or allow more "
                "--memory.",
                RaydmWarning,
                stacklevel=2,
            )
    return efforts


def _called(files: list[str]) -> str:
    return files[0] if len(files) == 1 else f"{files[0]} and others"
