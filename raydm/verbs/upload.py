"""What a job is sent: this raydm, and the files here that its verb reads."""

from __future__ import annotations

import glob
import os
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import raydm
from raydm.errors import DataError, ParameterError

MOST_BYTES = 100 * 2**20  # Ray keeps what is sent in the memory of the head, and takes no more than 512 MiB
_FILES = ("train", "valid", "test", "data", "weights")  # of several words each
_FOLDERS = ("run", "apply", "model", "language_model", "wordnet")
_NOT_SENT = {".git", "__pycache__", ".venv", "node_modules"}
_SUFFIXES_NOT_SENT = (".pyc", ".pyo")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OWN = ".raydm-job"  # Ray unpacks equal packages once, for all: what one job writes would be in the next one's way


def files_of(arguments: Namespace) -> tuple[list[Path], list[str]]:
    """The files here that a verb reads, by relative paths; and absolute paths, which are the cluster's.

    Raises:
        DataError: one is not there.
        ParameterError: one is above the current folder, or they are too many bytes.
    """
    found: dict[Path, None] = {}
    theirs = []
    for name in (*_FILES, *_FOLDERS):
        value = getattr(arguments, name, None)
        words = value if isinstance(value, list) else [value] if isinstance(value, str | Path) else []
        for word in map(str, words):
            if "://" in word or Path(word).is_absolute() or word.startswith("~"):
                theirs.append(word)
            else:
                found |= dict.fromkeys(_expanded(word, name))
    sizes = {file: file.stat().st_size for file in found}
    if sum(sizes.values()) > MOST_BYTES:
        largest = max(sizes, key=lambda file: sizes[file])
        raise ParameterError(
            f"{len(sizes)} files of {_mib(sum(sizes.values()))} would be sent with the job ({largest}: "
            f"{_mib(sizes[largest])}), and {_mib(MOST_BYTES)} may. Put them where the cluster's machines see them, and "
            "name data by absolute paths of a shared folder, and runs so or by the --storage that they are in."
        )
    return list(found), theirs


def pack(files: list[Path], package: Path, *, job: str) -> None:
    """Writes a .zip with this raydm and the files, by their relative paths; of no other job."""
    home = Path(raydm.__file__).parent
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened:
        for file in _below(home):
            _add(opened, file, Path("raydm") / file.relative_to(home))
        for file in files:
            _add(opened, file, Path(os.path.normpath(file)))
        opened.writestr(_told(Path(_OWN)), job)


def _expanded(word: str, name: str) -> Iterator[Path]:
    """The files that a word stands for."""
    place = Path(os.path.normpath(word))
    if ".." in place.parts:
        raise ParameterError(
            f"{word}: is above the current folder, from which files are sent. Submit from a folder above both, or give "
            "the absolute path that it has on the cluster."
        )
    if place.exists():
        yield from _below(place)
    elif matches := [Path(match) for match in sorted(glob.glob(word, recursive=True))]:
        for match in matches:
            yield from _below(match)
    elif name in ("run", "apply") or (name in _FILES and any(c in word for c in "./*")):  # else a name, such as digits
        raise DataError(
            f"{word}: no such file or directory (looked from {Path.cwd()}). What the cluster has is named by its "
            "absolute path."
        )


def _below(place: Path) -> Iterator[Path]:
    """A file, or all files of a folder, but for those of tools."""
    if place.is_file():
        yield place
        return
    for above, folders, files in os.walk(place):
        folders[:] = sorted(set(folders) - _NOT_SENT)
        yield from (Path(above) / file for file in sorted(files) if not file.endswith(_SUFFIXES_NOT_SENT))


def _told(name: Path) -> zipfile.ZipInfo:
    told = zipfile.ZipInfo(name.as_posix(), _EPOCH)
    told.external_attr = 0o100600 << 16
    told.compress_type = zipfile.ZIP_DEFLATED
    return told


def _add(opened: zipfile.ZipFile, file: Path, name: Path) -> None:
    with file.open("rb") as source, opened.open(_told(name), "w", force_zip64=True) as target:
        while chunk := source.read(2**20):
            target.write(chunk)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
