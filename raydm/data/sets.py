"""Named sets: public data with splits that a seed draws."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import readers, thin_film
from raydm.data.downloads import find_file, locate
from raydm.data.labels import TaskKind
from raydm.data.roles import Label
from raydm.errors import ParameterError, one_of


@dataclass(frozen=True)
class NamedSet:
    """A public data set.

    Attributes:
        description: what the rows are.
        licence: the data's licence as generally known.
        rows: how many rows there are in all.
        features: what the features are.
        classes: C, or None for regression.
        sizes: the default numbers of training and validation rows.
        read: the reader, from a finder of files to pools of rows.
        files: the keys of its files in ``FILES``; none for sets that scikit-learn brings along.
        most_test: the most rows of the test set, drawn by the seed; None for all.
        labels: the label columns, where they are several.
    """

    description: str
    licence: str
    rows: int
    features: str
    classes: int | None
    sizes: tuple[int, int]
    read: Callable[[readers.Find], readers.Pools]
    files: tuple[str, ...] = ()
    most_test: int | None = None
    labels: tuple[str, ...] = ()

    @property
    def task(self) -> TaskKind:
        """What is predicted."""
        return "regression" if self.classes is None else "classification"

    @property
    def label(self) -> Label:
        """The label column: ``target`` for regression, else ``label``; a tuple of several."""
        if self.labels:
            return self.labels
        return "target" if self.classes is None else "label"


@dataclass(frozen=True)
class LoadedSet:
    """A named set's splits.

    Attributes:
        name: the set's name.
        train: the training set.
        valid: the validation set.
        test: the test set; the official one where there is one.
        label: the label column, or a tuple of several.
        task: what is predicted.
        description: what the rows are.
        licence: the data's licence as generally known.
    """

    name: str
    train: pa.Table
    valid: pa.Table
    test: pa.Table
    label: Label
    task: TaskKind
    description: str
    licence: str


def _sentence_files(stem: str, *parts: str) -> tuple[str, ...]:
    return tuple(f"sst_trec_harvard/{stem.format(part)}" for part in parts)


_CC_BY = "CC BY 4.0 (UCI)"
_SST, _TREC = ("train", "dev", "test"), ("train", "test")

SETS: dict[str, NamedSet] = {
    "adult": NamedSet(
        "census rows: does a person earn more than 50,000 dollars a year",
        _CC_BY, 48_842, "6 numbers, 8 categories", 2, (1000, 400), readers.adult,
        ("adult/adult.data", "adult/adult.test"),
    ),
    "breast_cancer": NamedSet(
        "measurements of cell nuclei: benign or malignant",
        _CC_BY, 569, "30 numbers", 2, (300, 60), readers.bundled("breast_cancer"),
    ),
    "cifar10": NamedSet(
        "photographs of ten kinds of things; re-encoded as JPEG (lossy), 2,000 training images per class",
        "none stated (Krizhevsky 2009, for research)", 30_000, "image 32 x 32 x 3, 0..255", 10, (1000, 400),
        readers.cifar10, ("cifar10_jpg/train_first2000_per_class.zip", "cifar10_jpg/test.zip"), 2000,
    ),
    "diabetes": NamedSet(
        "patients: progression of diabetes after a year",
        "none stated (Efron et al. 2004)", 442, "10 numbers", None, (250, 60), readers.bundled("diabetes"),
    ),
    "digits": NamedSet(
        "handwritten digits", _CC_BY, 1797, "image 8 x 8 x 1, 0..16", 10, (1000, 100), readers.bundled("digits")
    ),
    "enron1": NamedSet(
        "e-mails: ham or spam", "public (Metsis et al. 2006)", 5172, "text", 2, (1000, 200), readers.enron1,
        ("enron1/enron1.tsv.gz",), 2000,
    ),
    "fashion_mnist": NamedSet(
        "pictures of ten kinds of clothes", "MIT", 70_000, "image 28 x 28 x 1, 0..255", 10, (1000, 400),
        readers.fashion_mnist,
        ("fashion_mnist/train_0.npz", "fashion_mnist/train_1.npz", "fashion_mnist/test.npz"), 2000,
    ),
    "imdb": NamedSet(
        "film reviews: negative or positive", "none stated (Maas et al. 2011, for research)", 50_000, "text", 2,
        (1000, 200), readers.imdb, ("imdb/train.tsv.gz", "imdb/test.tsv.gz"), 2000,
    ),
    "mnist": NamedSet(
        "handwritten digits: the 10,000 official test images, split", "CC BY-SA 3.0", 10_000,
        "image 28 x 28 x 1, 0..255", 10, (1000, 400), readers.mnist,
        ("mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz"), 2000,
    ),
    "no2": NamedSet(
        "hours at a road in Oslo: logarithm of the NO2 concentration",
        "none stated (StatLib; packed by PMLB, MIT)", 500, "7 numbers", None, (200, 100), readers.no2,
        ("no2/547_no2.tsv.gz",), 200,
    ),
    "sms_spam": NamedSet(
        "text messages: ham or spam", _CC_BY, 5574, "text", 2, (1000, 200), readers.sms_spam,
        ("sms_spam/SMSSpamCollection",), 2000,
    ),
    "sst2": NamedSet(
        "sentences of film reviews: negative or positive", "for research (Socher et al. 2013)", 9613, "text", 2,
        (1000, 200), readers.sentences("stsa.binary.{}", _SST, readers.SST2_CLASSES),
        _sentence_files("stsa.binary.{}", *_SST),
    ),
    "sst5": NamedSet(
        "sentences of film reviews, from very negative to very positive", "for research (Socher et al. 2013)", 11_855,
        "text", 5, (1000, 200), readers.sentences("stsa.fine.{}", _SST, readers.SST5_CLASSES),
        _sentence_files("stsa.fine.{}", *_SST),
    ),
    "synthetic": NamedSet(
        "two overlapping Gaussian clusters, made on the spot; every label is right", "none needed (made by raydm)",
        5000, "20 numbers", 2, (1000, 100), readers.synthetic, most_test=2000,
    ),
    "thin_film": NamedSet(
        "simulated reflectance of four thin films on silicon: their thicknesses in nm",
        "none needed (made by raydm, of optical constants under CC0 1.0)", thin_film.ROWS,
        "spectrum of 226 wavelengths", None, (500, 300), readers.thin_films, tuple(thin_film.FILES.values()), 300,
        thin_film.LABELS,
    ),
    "trec": NamedSet(
        "questions by what they ask for", "for research (Li, Roth 2002)", 5952, "text", 6, (1000, 200),
        readers.sentences("TREC.{}.all", _TREC, readers.TREC_CLASSES), _sentence_files("TREC.{}.all", *_TREC),
    ),
    "usps": NamedSet(
        "handwritten digits from envelopes", "none stated (Hull 1994, for research)", 9298, "image 16 x 16 x 1, 0..1",
        10, (1000, 400), readers.usps, ("usps/usps.h5",), 2000,
    ),
    "wine": NamedSet(
        "chemical analyses of wines of three growers", _CC_BY, 178, "13 numbers", 3, (90, 30), readers.bundled("wine")
    ),
}  # fmt: skip


def load_set(name: str, *, seed: int, sizes: tuple[int, int] | None = None, folder: Path | None = None) -> LoadedSet:
    """Loads a named set and draws its splits.

    Training rows are drawn from the set's training rows, validation rows from its official validation rows or else
    from the training rows; the test set is the official one or else the rest. The three are disjoint, and each holds
    a column ``id``: the row's number in the source, counted on through its training, validation and test rows.

    Args:
        name: a key of ``SETS``.
        seed: the splits' seed, >= 0.
        sizes: the numbers of training and validation rows, each at least 1; by default the set's own.
        folder: the data folder; by default the one that ``RAYDM_DATA`` names, see ``find_file``.

    Returns:
        The splits.

    Raises:
        ParameterError: the name is unknown, or the sizes leave no row for the test set.
        DataError: a file is absent and cannot be downloaded, or has another hash.
        MissingPackageError: the set needs a package of the extra ``raydm[data]``.
    """
    if name not in SETS:
        raise ParameterError.of("name", "load_set", one_of(SETS), name)
    if seed < 0:
        raise ParameterError.of("seed", "load_set", "at least 0", seed)
    chosen = SETS[name]
    n_train, n_valid = sizes or chosen.sizes
    pools = chosen.read(functools.partial(find_file, folder=folder))
    draws = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(3)]
    order = draws[0].permutation(pools.train.size)
    official = pools.valid
    from_train = n_train + (0 if official else n_valid)
    room = pools.train.size - (0 if pools.test else 1)
    if min(n_train, n_valid) < 1 or from_train > room or (official and n_valid > official.size):
        most = f"at least 1 each, at most {room} rows " + ("for training" if official else "together")
        most += f" and {official.size} for validation" if official else ""
        raise ParameterError.of("sizes", f"load_set for {name!r}", most, (n_train, n_valid))

    train = _rows(pools.train, order[:n_train], 0)
    if official:
        valid = _rows(official, draws[1].permutation(official.size)[:n_valid], pools.train.size)
    else:
        valid = _rows(pools.train, order[n_train:from_train], 0)
    rest, offset = np.sort(order[from_train:]), 0
    if pools.test:
        rest = np.arange(pools.test.size)
        offset = pools.train.size + (official.size if official else 0)
    if chosen.most_test is not None and len(rest) > chosen.most_test:
        rest = np.sort(draws[2].choice(rest, chosen.most_test, replace=False))
    test = _rows(pools.test or pools.train, rest, offset)
    return LoadedSet(name, train, valid, test, chosen.label, chosen.task, chosen.description, chosen.licence)


def describe_sets(folder: Path | None = None) -> list[dict[str, Any]]:
    """One line per named set, by name.

    Args:
        folder: the data folder; by default the one that ``RAYDM_DATA`` names.

    Returns:
        Dicts of ``name``, ``task``, ``rows``, ``features``, ``classes`` (None for regression), ``licence``,
        ``description`` and ``source``: ``embedded``, ``RAYDM_DATA``, ``downloaded`` or ``absent``.
    """
    return [
        {
            "name": name,
            "task": chosen.task,
            "rows": chosen.rows,
            "features": chosen.features,
            "classes": chosen.classes,
            "source": _source(chosen, folder),
            "licence": chosen.licence,
            "description": chosen.description,
        }
        for name, chosen in sorted(SETS.items())
    ]


def _source(chosen: NamedSet, folder: Path | None) -> str:
    """Where the set's files are; absent where one of them is."""
    places = {locate(file, folder) for file in chosen.files}
    if not places:
        return "embedded"
    return "absent" if "absent" in places else min(places)


def _rows(pool: readers.Pool, rows: npt.NDArray[np.int64], offset: int) -> pa.Table:
    """The pool's rows with their numbers before them."""
    return pool.take(rows).add_column(0, "id", pa.array(rows + offset))
