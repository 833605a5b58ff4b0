"""What `raydm fit` trains on, from flags to blocks of rows that are ready to be encoded."""

from __future__ import annotations

import hashlib
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from raydm.data import SETS, fingerprint, infer_roles, load_set, read_table
from raydm.data.blocks import ParquetRows, Rows, TableRows, open_rows
from raydm.data.files import list_files
from raydm.data.labels import TaskKind
from raydm.data.prepare import encode
from raydm.data.roles import check_column
from raydm.errors import DataError, ParameterError, RunError
from raydm.estimators.reading import Reading
from raydm.fitting import Judge, Mixture, Part, Survey, block_rows, labels_of, sampled, surveyed
from raydm.fitting.csv_rows import as_parquet, is_csv
from raydm.metrics import Metric
from raydm.neighborhood import USUAL_LABELS, machine_memory
from raydm.verbs.fit_use import Use

_WHOLE = 8  # rows of up to 1/8 of the memory are held whole: encoded, they take several times that
_TAIL = 2**16  # bytes at the end of a Parquet file, where it tells of its columns


@dataclass(frozen=True)
class Tables:
    """Raw rows.

    Attributes:
        called: what to call the training rows in messages.
        train: the training rows.
        valid: the trusted rows; None: none were given.
        test: further ones; None: none were given.
        label: the label columns.
        judges: what to call the trusted rows, and the further ones.
        task: of a named set; None: the labels tell.
    """

    called: str
    train: Rows
    valid: pa.Table | None
    test: pa.Table | None
    label: tuple[str, ...]
    judges: tuple[str, str]
    task: TaskKind | None = None


def is_named(arguments: Namespace) -> bool:
    """Whether TRAIN is a named set."""
    return len(arguments.train) == 1 and arguments.train[0] in SETS


def read_tables(arguments: Namespace, scratch: Path | None) -> Tables:
    """Opens what the command line names; large CSV is written as Parquet below `scratch` first.

    Raises:
        ParameterError: flags that do not fit together.
        DataError: files that cannot be read or lack the label.
    """
    first: str = arguments.train[0]
    if is_named(arguments):
        for flag in ("valid", "test", "label"):
            if getattr(arguments, flag):
                raise ParameterError(f"--{flag} is for files; the named set {first!r} splits itself. Leave it out.")
        loaded = load_set(first, seed=arguments.seed, sizes=tuple(arguments.sizes) if arguments.sizes else None)
        label = (loaded.label,) if isinstance(loaded.label, str) else loaded.label
        called, judges = f"{first} (train)", (f"{first} (valid)", f"{first} (test)")
        whole: Rows = TableRows(loaded.train, called)
        return Tables(called, whole, loaded.valid, loaded.test, label, judges, loaded.task)
    if arguments.sizes:
        raise ParameterError("--sizes splits a named set; files are taken whole. Leave it out.")
    train = _opened(arguments.train, arguments.stream, scratch)
    if arguments.label:
        label = tuple(arguments.label)
    else:
        usual = next((column for column in USUAL_LABELS if column in train.schema.names), None)
        if usual is None:
            raise DataError(f"{first}: which column is the label? Name it with --label. It has {train.schema.names}.")
        label = (usual,)
    valid, test = (read_table(files) if files else None for files in (arguments.valid, arguments.test))
    judges = (_called(arguments.valid or ["valid"]), _called(arguments.test or ["test"]))
    return Tables(_called(arguments.train), train, valid, test, label, judges)


def is_streamed(arguments: Namespace, rows: Rows) -> bool:
    """Whether rows are read in blocks, each epoch anew.

    Raises:
        ParameterError: that is asked for, and cannot be.
    """
    if not isinstance(rows, ParquetRows):
        if arguments.stream:
            raise ParameterError("--stream reads Parquet and CSV files in blocks. Write the rows as Parquet first.")
        return False
    return bool(arguments.stream or _WHOLE * rows.bytes > machine_memory())


def mixture_of(arguments: Namespace, tables: Tables, use: Use, reading: Reading) -> tuple[Mixture, Survey]:
    """The rows with their encoders, and what was found of them.

    Raises:
        DataError: rows that cannot be used, or weights of other rows.
        RunError: the run was made from other rows.
    """
    rows, named = tables.train, tables.called
    if use.weights is not None and len(use.weights.rows) != len(rows):
        raise RunError(
            f"{named}: {len(rows)} rows, and the weights in {use.weights.rows.where(0, len(use.weights.rows))} are of "
            f"{len(use.weights.rows)}. Give the rows that they were learned for."
        )
    _check_same(use, rows, named)
    block = block_rows(len(rows), rows.row_bytes)
    fit, features, kinds = reading.columns(arguments.features, dict(arguments.kind))
    sample = sampled(rows, block, arguments.seed)
    label = tables.label[0] if len(tables.label) == 1 else tables.label
    roles = infer_roles(sample, label=label, id=arguments.id, features=features, kinds=kinds, name=named)
    encoder = fit(sample, roles, name=named)
    labels = labels_of(rows, sample, roles.labels, task=arguments.task or tables.task, block=block, name=named)
    rows = rows.absolute() if isinstance(rows, ParquetRows) else rows
    parts = [Part(rows, use.weights)]
    if use.new_rows is not None:
        for column in (*roles.features, *roles.labels):
            what = "label" if column in roles.labels else "feature"
            check_column(use.new_rows.schema.empty_table(), column, what=what, name=str(use.new_rows.files[0]))
        parts.append(Part(use.new_rows.absolute()))
    mixture = Mixture(tuple(parts), encoder, labels, roles, block)
    return mixture, surveyed(parts, labels, roles, block)


def judge_of(mixture: Mixture, table: pa.Table | None, name: str, metric: Metric) -> Judge | None:
    """Rows to score the predictor on; None of none.

    Raises:
        DataError: they cannot be encoded, or the metric is not defined on them.
    """
    if table is None:
        return None
    examples = encode(mixture, table, name)
    y = torch.from_numpy(examples.y)
    try:
        metric(torch.zeros(1, len(examples), mixture.labels.n_outputs), y)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return Judge(torch.from_numpy(np.ascontiguousarray(examples.x)), y)


def digest_of(rows: Rows | None) -> str | None:
    """What rows are told by: their content, or of files that may be large their sizes and ends."""
    if rows is None:
        return None
    if isinstance(rows, TableRows):
        return fingerprint(rows.table)
    digest = hashlib.blake2b(digest_size=16)
    for file in rows.files if isinstance(rows, ParquetRows) else ():
        size = file.stat().st_size
        with file.open("rb") as opened:
            opened.seek(max(0, size - _TAIL))
            digest.update(f"{size} ".encode() + opened.read())
    return digest.hexdigest()


def _check_same(use: Use, rows: Rows, named: str) -> None:
    """Refuses a run's weights for rows that are in memory and are not the run's."""
    if use.weights is None or use.config is None or not isinstance(rows, TableRows):
        return
    was = use.config.get("fingerprints", {}).get("train")
    if was is not None and was != fingerprint(rows.table):
        raise RunError(
            f"{named}: is not the table that the run was made from, so its weights are of other rows. Give that one; "
            "other rows are valued by `raydm score`, whose file --weights names."
        )


def _opened(files: Sequence[str], stream: bool, scratch: Path | None) -> ParquetRows | TableRows:
    listed = list_files(files)
    if is_csv(listed) and (stream or _WHOLE * sum(file.stat().st_size for file in listed) > machine_memory()):
        if scratch is None:
            raise ParameterError(
                "CSV that is larger than memory is written as Parquet first, beside the checkpoints: name a folder "
                "(--checkpoints, --out), or give Parquet."
            )
        return as_parquet(listed, scratch)
    return open_rows(files)


def _called(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
