"""What the verbs are given: a named set, or files."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from raydm.data import SETS, load_set, read_table
from raydm.data.labels import TaskKind
from raydm.data.roles import Label
from raydm.errors import DataError, ParameterError, one_of
from raydm.neighborhood import USUAL_LABELS


@dataclass(frozen=True)
class Inputs:
    """Raw tables.

    Attributes:
        name: for titles and the default run directory.
        train: the training set.
        valid: the trusted validation set.
        test: a test set, or None.
        label: the label column, or several.
        names: what to call the three tables in messages.
        task: of a named set; None: the labels tell.
    """

    name: str
    train: pa.Table
    valid: pa.Table
    test: pa.Table | None
    label: Label
    names: tuple[str, str, str]
    task: TaskKind | None = None


def read_inputs(arguments: Namespace) -> Inputs:
    """Reads what the command line names.

    Raises:
        ParameterError: flags that do not fit together.
        DataError: files that cannot be read or lack the label.
    """
    first: str = arguments.train[0]
    if len(arguments.train) == 1 and first in SETS:
        return _named(first, arguments)
    if arguments.sizes:
        raise ParameterError("--sizes splits a named set; files are taken whole. Leave it out.")
    if not arguments.valid:
        known = f" If a named set was meant: {one_of(SETS)}." if not any(c in first for c in "./*") else ""
        raise ParameterError(
            "Files need a small trusted validation set: add --valid FILE with rows whose labels you checked." + known
        )
    train = read_table(arguments.train)
    label = tuple(arguments.label) if arguments.label else _usual_label(train, first)
    return Inputs(
        _stem(arguments.train),
        train,
        read_table(arguments.valid),
        read_table(arguments.test) if arguments.test else None,
        label,
        (_called(arguments.train), _called(arguments.valid), _called(arguments.test or ["test"])),
    )


def _named(name: str, arguments: Namespace) -> Inputs:
    for flag in ("valid", "test", "label"):
        if getattr(arguments, flag):
            raise ParameterError(f"--{flag} is for files; the named set {name!r} splits itself. Leave it out.")
    loaded = load_set(name, seed=arguments.seed, sizes=tuple(arguments.sizes) if arguments.sizes else None)
    parts = (f"{name} (train)", f"{name} (valid)", f"{name} (test)")
    return Inputs(name, loaded.train, loaded.valid, loaded.test, loaded.label, parts, loaded.task)


def _usual_label(table: pa.Table, name: str) -> str:
    for column in USUAL_LABELS:
        if column in table.column_names:
            return column
    raise DataError(f"{name}: which column is the label? Name it with --label. The columns are {table.column_names}.")


def _stem(files: Sequence[str]) -> str:
    stem = files[0].rstrip("/").rsplit("/", 1)[-1].split(".")[0]
    return stem.replace("*", "") or "data"


def _called(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
