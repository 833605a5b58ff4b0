"""Small and imbalanced subsets of the named sets: so many rows of each class, drawn by a seed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.checks import check_integer
from raydm.data import readers
from raydm.data.downloads import find_file
from raydm.data.sets import SETS, LoadedSet
from raydm.errors import ParameterError, one_of

Count = int | Mapping[Any, int]


def load_subset(
    name: str, *, seed: int, train: Count, valid: Count, most_test: int | None = None, folder: Path | None = None
) -> LoadedSet:
    """Draws so many rows of each class: the few-label and imbalanced settings of Hu et al. (2019, section 5).

    Theirs are, for training and validation: SST-5 40 and 2 a class, TREC and IMDB 40 and 5; imbalanced SST-2
    ``{"negative": 20, "positive": 1000}`` (or 50, or 100) and 10 a class; CIFAR-10 low-data 40 and 2, imbalanced
    between two of its classes. Validation rows come from the official validation rows or else from the training rows
    that are left; the test set is the official one or else the rest. The three are disjoint, and each holds a column
    ``id`` as `load_set`'s do. A class's draw does not depend on how many are drawn of others, and more of it hold the
    fewer.

    Args:
        name: a key of ``SETS`` with one label column of classes.
        seed: the draw's seed, >= 0.
        train: training rows of each class, >= 1; a mapping from classes also chooses the classes, and all rows of
            others are left out everywhere.
        valid: validation rows of each of these classes, >= 1.
        most_test: the most rows of the test set, drawn by the seed; None for all, also where `load_set` draws some.
        folder: the data folder; by default the one that ``RAYDM_DATA`` names, see `find_file`.

    Returns:
        The splits, each class's rows shuffled among the others'.

    Raises:
        ParameterError: the name is unknown or its task is regression, a class is unknown, or it has too few rows.
        DataError: a file is absent and cannot be downloaded, or has another hash.
        MissingPackageError: the set needs a package of the extra ``raydm[data]``.
    """
    fit = [key for key, named in SETS.items() if named.task == "classification"]
    if name not in fit:
        raise ParameterError.of("name", "load_subset", one_of(fit), name)
    check_integer("load_subset", "seed", seed, 0)
    chosen = SETS[name]
    label = str(chosen.label)
    pools = chosen.read(functools.partial(find_file, folder=folder))
    labels = _labels(pools.train, label)
    classes = sorted(set(labels.tolist()))
    n_train = _counts("train", train, classes)
    n_valid = _counts("valid", valid, list(n_train))
    if len(n_valid) < len(n_train):
        raise ParameterError.of("valid", f"load_subset for {name!r}", f"of the classes {list(n_train)}", valid)
    official = pools.valid
    others = _labels(official, label) if official else labels
    drawn_train, drawn_valid = [], []
    for place, which in enumerate(classes):
        if which not in n_train:
            continue
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, place]).spawn(2)]
        rows = streams[0].permutation(np.flatnonzero(labels == which))
        n = n_train[which]
        left = streams[1].permutation(np.flatnonzero(others == which)) if official else rows[n:]
        spare = 0 if official or pools.test else 1  # something must remain to test on
        if n > len(rows) or n_valid[which] > len(left) - spare:
            expected = f"of {which!r} at most {len(rows)} for training" + (
                f" and {len(left)} for validation" if official else f", with validation {len(rows) - spare} in all"
            )
            raise ParameterError.of("train, valid", f"load_subset for {name!r}", expected, (n, n_valid[which]))
        drawn_train.append(rows[:n])
        drawn_valid.append(left[: n_valid[which]])

    shuffles = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, len(classes)]).spawn(3)]
    train_rows, valid_rows = (
        shuffle.permutation(np.concatenate(d)) for shuffle, d in zip(shuffles, (drawn_train, drawn_valid), strict=False)
    )
    if pools.test:
        rest, offset = np.arange(pools.test.size), pools.train.size + (official.size if official else 0)
        test_labels = _labels(pools.test, label)
    else:
        used = train_rows if official else np.concatenate([train_rows, valid_rows])
        rest, offset, test_labels = np.setdiff1d(np.arange(len(labels)), used), 0, labels
    rest = rest[np.isin(test_labels[rest], list(n_train))]
    if most_test is not None and len(rest) > most_test:
        rest = np.sort(shuffles[2].choice(rest, most_test, replace=False))
    return LoadedSet(
        name,
        _rows(pools.train, train_rows, 0),
        _rows(official, valid_rows, pools.train.size) if official else _rows(pools.train, valid_rows, 0),
        _rows(pools.test or pools.train, rest, offset),
        chosen.label,
        chosen.task,
        chosen.description,
        chosen.licence,
    )


def _counts(parameter: str, count: Count, classes: list[Any]) -> dict[Any, int]:
    counts = dict(count) if isinstance(count, Mapping) else dict.fromkeys(classes, count)
    unknown = [which for which in counts if which not in classes]
    if unknown or not counts:
        raise ParameterError.of(parameter, "load_subset", f"of the classes {classes}", count)
    for n in counts.values():
        check_integer("load_subset", parameter, n, 1)
    return counts


def _labels(pool: readers.Pool, label: str) -> npt.NDArray[Any]:
    """The pool's labels (size,); images are decoded on the way, which takes seconds for the largest sets."""
    column: npt.NDArray[Any] = np.asarray(pool.take(np.arange(pool.size)).column(label).to_pylist())
    return column


def _rows(pool: readers.Pool, rows: npt.NDArray[np.int64], offset: int) -> pa.Table:
    """The pool's rows with their numbers before them."""
    return pool.take(rows).add_column(0, "id", pa.array(rows + offset))
