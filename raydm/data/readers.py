"""Readers of the named sets: from a set's files to pools of rows, from which splits are drawn."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.files import read_table
from raydm.data.thin_film import thin_film
from raydm.data.vectors import vector_column
from raydm.errors import MissingPackageError

Array = npt.NDArray[Any]
Find = Callable[[str], Path]

ADULT_COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "label",
]
CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FASHION_CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
SST2_CLASSES = ("negative", "positive")
SST5_CLASSES = ("very negative", "negative", "neutral", "positive", "very positive")
TREC_CLASSES = ("description", "entity", "abbreviation", "human", "location", "number")


@dataclass(frozen=True)
class Pool:
    """Rows to draw from.

    Attributes:
        size: how many rows there are.
        take: the table of the rows at (n,) indices, in that order.
    """

    size: int
    take: Callable[[Array], pa.Table]


@dataclass(frozen=True)
class Pools:
    """A set's rows, apart where its makers set them apart.

    Attributes:
        train: the rows to draw training sets from, and whatever the makers did not set apart.
        valid: the official validation rows, or None.
        test: the official test rows, or None.
    """

    train: Pool
    valid: Pool | None = None
    test: Pool | None = None


def bundled(name: str) -> Callable[[Find], Pools]:
    """The reader of a set that scikit-learn brings along."""

    def read(find: Find) -> Pools:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{name}")()
        if name == "digits":
            return Pools(_images(bunch.images[..., None].astype(np.float32), bunch.target))
        columns = dict(zip(bunch.feature_names, np.asarray(bunch.data, np.float64).T, strict=True))
        if hasattr(bunch, "target_names"):
            columns["label"] = np.asarray(bunch.target_names)[bunch.target]
        else:
            columns["target"] = bunch.target
        return Pools(_table({name: pa.array(values.tolist()) for name, values in columns.items()}))

    return read


def synthetic(find: Find) -> Pools:
    """Two classes, one Gaussian cluster each, in 20 numbers: 10 tell of the class, 5 are mixtures of those, 5 nothing.

    Made on the spot, always the same 5,000 rows, without wrong labels (``flip_y=0``). With 20 % flips on 1,000 rows,
    out-of-fold self-confidence of a logistic regression finds the flips with an AUC of about .94 to .95, Data-OOB of
    300 trees with about .966.
    """
    from sklearn.datasets import make_classification

    x, y = make_classification(
        5000, 20, n_informative=10, n_redundant=5, n_clusters_per_class=1, class_sep=1.0, flip_y=0, random_state=0
    )
    columns = {f"x{i}": pa.array(column) for i, column in enumerate(x.T.copy())}
    return Pools(_table(columns | {"label": pa.array(y)}))


def adult(find: Find) -> Pools:
    """UCI Adult: spaces stripped, '?' missing, labels '<=50K' and '>50K'; the test file's first line is a comment."""
    train, test = (_adult(find(f"adult/adult.{part}"), skip) for part, skip in (("data", 0), ("test", 1)))
    return Pools(train, test=test)


def thin_films(find: Find) -> Pools:
    """Spectra and thicknesses, see `raydm.data.thin_film`."""
    table = thin_film(find)
    return Pools(Pool(table.num_rows, table.take))


def no2(find: Find) -> Pools:
    """NO2: seven numbers and the logarithm of the concentration."""
    table = read_table(find("no2/547_no2.tsv.gz"))
    return Pools(Pool(table.num_rows, table.take))


def sms_spam(find: Find) -> Pools:
    """SMS Spam: label, tab, message."""
    rows = (line.split("\t", 1) for line in _lines(find("sms_spam/SMSSpamCollection")))
    return Pools(_texts((label, text) for label, text in rows))


def enron1(find: Find) -> Pools:
    r"""Enron1: file, 0 or 1, text with its line breaks written as ``\n``."""
    rows = _packed(find("enron1/enron1.tsv.gz"))
    return Pools(_texts((("ham", "spam")[int(label)], text.replace(r"\n", "\n")) for _, label, text in rows))


def imdb(find: Find) -> Pools:
    """Large Movie Reviews: id, rating, 0 or 1, text."""
    train, test = (
        _texts((SST2_CLASSES[int(label)], text) for _, _, label, text in _packed(find(f"imdb/{part}.tsv.gz")))
        for part in ("train", "test")
    )
    return Pools(train, test=test)


def sentences(stem: str, parts: Sequence[str], classes: Sequence[str]) -> Callable[[Find], Pools]:
    """The reader of one of Harvard's sentence sets, a class index and a sentence per line.

    Args:
        stem: the files' name up to the part, such as ``stsa.fine.{}``.
        parts: what fills it: training, (validation,) test.
        classes: the C classes' names by index.
    """

    def read(find: Find) -> Pools:
        pools = []
        for part in parts:
            lines = (line.split(" ", 1) for line in _lines(find(f"sst_trec_harvard/{stem.format(part)}")))
            pools.append(_texts((classes[int(label)], text) for label, text in lines))
        return Pools(pools[0], pools[1] if len(pools) == 3 else None, pools[-1])

    return read


def usps(find: Find) -> Pools:
    """USPS digits, 16 x 16 x 1, 0..1."""
    try:
        import h5py
    except ImportError as error:
        raise MissingPackageError.of("h5py", "The set 'usps'", "pip install 'raydm[data]'") from error
    with h5py.File(find("usps/usps.h5")) as file:
        train, test = (
            _images(file[part]["data"][:].reshape(-1, 16, 16, 1), file[part]["target"][:]) for part in ("train", "test")
        )
    return Pools(train, test=test)


def mnist(find: Find) -> Pools:
    """MNIST's 10,000 test images, 28 x 28 x 1, 0..255; the files are a header of 16 or 8 bytes, then bytes."""
    pixels, labels = (
        np.frombuffer(gzip.decompress(find(f"mnist/t10k-{what}-ubyte.gz").read_bytes()), np.uint8, offset=header)
        for what, header in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return Pools(_images(pixels.reshape(-1, 28, 28, 1), labels.astype(np.int64)))


def fashion_mnist(find: Find) -> Pools:
    """Fashion-MNIST, 28 x 28 x 1, 0..255; the training images lie in two files."""
    parts = {}
    for part in ("train_0", "train_1", "test"):
        with np.load(find(f"fashion_mnist/{part}.npz"), allow_pickle=False) as file:
            parts[part] = file["x"][..., None], np.asarray(FASHION_CLASSES)[file["y"]]
    train = [np.concatenate(pair) for pair in zip(parts["train_0"], parts["train_1"], strict=True)]
    return Pools(_images(*train), test=_images(*parts["test"]))


def cifar10(find: Find) -> Pools:
    """CIFAR-10 re-encoded as JPEG, 32 x 32 x 3, 0..255; 2,000 training images per class."""
    try:
        import PIL.Image  # noqa: F401  # said before the files are sought
    except ImportError as error:
        raise MissingPackageError.of("pillow", "The set 'cifar10'", "pip install 'raydm[data]'") from error
    train, test = (_zipped(find(f"cifar10_jpg/{part}.zip")) for part in ("train_first2000_per_class", "test"))
    return Pools(train, test=test)


def _zipped(file: Path) -> Pool:
    """JPEG images in folders by class; only the rows that are taken are decoded."""
    with zipfile.ZipFile(file) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))

    def take(rows: Array) -> pa.Table:
        from PIL import Image

        with zipfile.ZipFile(file) as archive:
            images = [np.asarray(Image.open(io.BytesIO(archive.read(names[row]))).convert("RGB")) for row in rows]
        labels = pa.array([names[row].split("/")[1] for row in rows], pa.string())
        return pa.table({"x": vector_column(np.stack(images)), "label": labels})

    return Pool(len(names), take)


def _images(x: Array, labels: Array) -> Pool:
    """Images (N, H, W, C) in memory with (N,) labels."""

    def take(rows: Array) -> pa.Table:
        return pa.table({"x": vector_column(x[rows]), "label": pa.array(labels[rows].tolist())})

    return Pool(len(x), take)


def _table(columns: dict[str, pa.Array]) -> Pool:
    table = pa.table(columns)
    return Pool(table.num_rows, table.take)


def _texts(rows: Iterator[tuple[str, str]]) -> Pool:
    labels, texts = zip(*rows, strict=True)
    return _table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())})


def _adult(file: Path, skip: int) -> Pool:
    import pandas as pd

    frame = pd.read_csv(file, names=ADULT_COLUMNS, skiprows=skip, skipinitialspace=True, na_values="?")
    frame["label"] = frame["label"].str.rstrip(".")
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    return Pool(table.num_rows, table.take)


def _lines(file: Path) -> list[str]:
    """The file's lines; the older question sets are Latin-1, which any bytes can be read as."""
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return [line for line in text.split("\n") if line]


def _packed(file: Path) -> Iterator[list[str]]:
    """The rows of a gzipped TSV without quoting, after its header."""
    with gzip.open(file, "rt", encoding="utf-8", newline="\n") as opened:
        rows = csv.reader(opened, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        yield from rows
