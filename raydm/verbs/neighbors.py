"""`raydm neighbors`: the neighbour table of rows that need not fit into memory."""

from __future__ import annotations

import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from raydm.data.blocks import ParquetRows, Rows, open_rows
from raydm.errors import ParameterError, RaydmWarning, one_of
from raydm.indexes import KINDS, LAYOUTS, IndexSpec
from raydm.neighborhood import (
    BY,
    HereShards,
    NeighborTable,
    Recipe,
    Tuned,
    Wanted,
    check_ids,
    make_recipe,
    neighbor_schema,
    notes_of,
    peak_bytes,
    searcher_of,
    tune,
)
from raydm.report.atomic import check_free, new_file
from raydm.report.stream import write_tables
from raydm.storage import output
from raydm.verbs.line import prints_line

_VERB = "raydm neighbors"
_ACTORS = 2  # on a cluster, where nobody says how many


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    started = time.perf_counter()
    _check(arguments)
    out = output(arguments.storage, arguments.out, Path("neighbors.parquet"))
    check_free(out)
    rows: Rows = open_rows(arguments.data)
    if arguments.actors:
        rows = parquet_only(rows).absolute()
    _wanted(arguments, 1).check(len(rows))
    name = arguments.data[0] if len(arguments.data) == 1 else f"{arguments.data[0]} and others"
    shards = make_shards(arguments)
    try:
        wanted = _wanted(arguments, memory_of(arguments, shards))
        recipe = make_recipe(rows, wanted, partial(shards.take, rows, wanted.block), name)
        for note in recipe.encoder.notes:
            print(f"raydm: {note}", file=sys.stderr)
        parts = shards.build(recipe)
        check_ids(parts, recipe)
        tuned = _tuned(parts, recipe, arguments)
        make = partial(NeighborTable, parts, recipe, wanted.k, wanted.by, tuned.effort)
        said: list[str] = []
        with new_file(out) as file:
            tables = notes_of(shards.stream(recipe, make), said)
            schema = neighbor_schema(recipe, wanted.k)
            written = write_tables(file, tables, schema, total=len(rows), desc="neighbors", quiet=arguments.quiet)
        held = list(parts.ask("peak_bytes", ()))
        settings = _settings(recipe, wanted, tuned)
    finally:
        shards.close()
    say_notes(said)
    return {
        "out": str(out),
        "rows": len(rows),
        "k": wanted.k,
        "by": wanted.by,
        **settings,
        "shards": len(held),
        "recall": 1.0 if tuned.recall is None else round(tuned.recall, 4),
        "seconds": round(time.perf_counter() - started, 3),
        "rows_per_second": round(written.rows_per_second, 1),
        "peak_memory": peak_bytes(),
        "peak_memory_shards": held if arguments.actors else [],
    }


def say_notes(said: Sequence[str]) -> None:
    """Warns once of what blocks warned of."""
    if said:
        more = f" (and in {len(said) - 1} more blocks of rows)" if len(said) > 1 else ""
        warnings.warn(
            f"{said[0]}{more}. The values were still encoded; check that the data come from the same source.",
            RaydmWarning,
            stacklevel=2,
        )


def _check(arguments: Namespace) -> None:
    if arguments.by not in BY:
        raise ParameterError.of("by", _VERB, one_of(BY), arguments.by)
    if arguments.index not in ("auto", *KINDS):
        raise ParameterError.of("index", _VERB, one_of(("auto", *KINDS)), arguments.index)
    if arguments.gpu not in LAYOUTS:
        raise ParameterError.of("gpu", _VERB, one_of(LAYOUTS), arguments.gpu)
    if not 0 < arguments.recall <= 1:
        raise ParameterError.of("recall", _VERB, "a number in (0, 1]", arguments.recall)
    if arguments.seed < 0:
        raise ParameterError.of("seed", _VERB, "an integer >= 0", arguments.seed)
    if arguments.k < 1:
        raise ParameterError.of("k", _VERB, "an integer >= 1", arguments.k)
    check_actors(arguments, _VERB, _ACTORS if arguments.address else 0)
    if not arguments.actors and (arguments.gpus_per_actor or arguments.cpus_per_actor != 1):
        raise ParameterError("--cpus-per-actor and --gpus-per-actor place Ray actors: add --actors N.")
    sizes = {"nprobe": ("ivf-flat", "ivf-pq"), "nlist": ("ivf-flat", "ivf-pq"), "ef_search": ("hnsw",)}
    for size, kinds in {**sizes, "refine": ("ivf-pq",)}.items():
        if is_given(arguments, size) and arguments.index not in kinds:
            flag = "--" + size.replace("_", "-")
            raise ParameterError(f"{flag} is for --index {' or '.join(kinds)}. Name that index, or leave {flag} out.")
    if arguments.by == "label" and arguments.features:
        raise ParameterError("--features are not used by --by label. Leave them out.")


def check_actors(arguments: Namespace, verb: str, usual: int) -> None:
    """Fills in how many actors there are, and raises ParameterError where that does not fit the other flags."""
    if arguments.actors is None:
        arguments.actors = usual
    if arguments.actors < 0:
        raise ParameterError.of("actors", verb, "an integer >= 0", arguments.actors)
    if arguments.address and not arguments.actors:
        raise ParameterError("--address is of a cluster for Ray actors: add --actors N, N >= 1.")


def _wanted(arguments: Namespace, memory: int) -> Wanted:
    index: Any = arguments.index
    if index != "auto":
        index = IndexSpec(
            index, arguments.nlist, arguments.nprobe, efSearch=arguments.ef_search, refine=arguments.refine
        )
    return Wanted(
        k=arguments.k,
        by=arguments.by,
        id=arguments.id,
        features=arguments.features,
        label=arguments.label,
        kinds=dict(arguments.kind),
        index=index,
        memory=memory,
        gpu=arguments.gpu,
        sample=arguments.sample,
        seed=arguments.seed,
    )


def make_shards(arguments: Namespace) -> Any:
    """Where the rows' shards live: here, or on Ray actors."""
    if not arguments.actors:
        return HereShards()
    from raydm.distributed.neighbors import RayShards  # Ray takes a second to import; a local run does not need it

    return RayShards(
        arguments.actors,
        cpus_per_actor=arguments.cpus_per_actor,
        gpus_per_actor=arguments.gpus_per_actor,
        address=arguments.address,
    )


def is_given(arguments: Namespace, name: str) -> bool:
    """Whether a flag was given; 0 is given, though no value that it may have."""
    value = getattr(arguments, name)
    return value is not None and value is not False


def memory_of(arguments: Namespace, shards: Any) -> int:
    """Bytes that indexes may take: what --memory says, else half of what there is."""
    return int(shards.memory() // 2 if arguments.memory is None else arguments.memory)


def parquet_only(rows: Rows) -> ParquetRows:
    """The rows; raises ParameterError where they cannot be read in blocks by others."""
    if not isinstance(rows, ParquetRows):
        raise ParameterError("Actors and streams read Parquet files in blocks. Write the rows as Parquet first.")
    return rows


def _tuned(parts: Any, recipe: Recipe, arguments: Namespace) -> Tuned:
    searcher = searcher_of(parts, recipe, arguments.by)
    effort = arguments.ef_search if arguments.nprobe is None else arguments.nprobe
    tuned = tune(searcher, recipe.questions.get(arguments.by), target=arguments.recall, effort=effort)
    if tuned.recall is not None and tuned.recall < arguments.recall:
        remedy = "Leave --nprobe and --ef-search out" if effort else "Allow the index more --memory, or use --refine"
        warnings.warn(
            f"Recall is {tuned.recall:.3f} on a sample, less than the {arguments.recall:g} of --recall. {remedy}.",
            RaydmWarning,
            stacklevel=2,
        )
    return tuned


def _settings(recipe: Recipe, wanted: Wanted, tuned: Tuned) -> dict[str, Any]:
    """What the index was, for the JSON line."""
    trained = recipe.indexes[wanted.by]
    if trained is None:
        return {"index": "exact", "features": 1}
    spec = trained.spec if tuned.effort is None else trained.spec.with_effort(tuned.effort)
    sizes = {name: value for name, value in vars(spec).items() if name != "kind" and value not in (None, False)}
    return {"index": spec.kind, "features": trained.d, **sizes}
