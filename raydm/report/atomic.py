"""Outputs that appear whole or not at all: written under a temporary name beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raydm.errors import RunError
from raydm.object_store import Remote
from raydm.storage import Place

_CHANGE = "Name another --out."


def check_free(place: Place) -> None:
    """Raises RunError if something stands at ``place``, or nothing can be made there: results never overwrite.

    An empty folder counts as free. Ask before long work; `new_folder` and `new_file` ask again when it is done.
    """
    if isinstance(place, Remote):
        place.check_free()
        return
    try:
        if place.is_symlink() or place.exists():
            if not place.is_dir() or any(place.iterdir()):
                raise RunError(f"{place}: exists already, and results are never overwritten. {_CHANGE}")
            if place.is_symlink() or place.is_mount() or place.samefile(Path.cwd()):  # a rename cannot take its place
                raise RunError(f"{place}: is a link, a mount or the current folder. Name a new folder inside it.")
        above = next(folder for folder in place.absolute().parents if folder.exists())
        Path(tempfile.mkdtemp(prefix=".raydm-", dir=above)).rmdir()  # the surest question
    except OSError as error:
        raise RunError(f"{place}: cannot be made ({error.strerror}). {_CHANGE}") from error


@contextmanager
def new_folder(folder: Place) -> Iterator[Path]:
    """Gives a temporary folder that becomes ``folder`` if the block ends well, and is removed if it raises.

    Raises:
        RunError: the place is taken or cannot be written, or the block met an OSError, such as a full disk.
    """
    if isinstance(folder, Remote):
        with folder.new_folder() as here:
            yield here
        return
    check_free(folder)
    with _parents(folder):
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", dir=folder.parent))  # mode 0700
        try:
            yield temporary
            check_free(folder)
            temporary.replace(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextmanager
def new_file(file: Place) -> Iterator[Path]:
    """Gives a temporary name that becomes ``file`` if the block ends well, and is removed if it raises.

    Raises:
        RunError: as `new_folder`.
    """
    if isinstance(file, Remote):
        with file.new_file() as here:
            yield here
        return
    _check_no_folder(file)
    with _parents(file):
        handle, name = tempfile.mkstemp(prefix=f".{file.name[:40]}-", dir=file.parent)
        os.close(handle)
        try:
            yield Path(name)
            _check_no_folder(file)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _check_no_folder(file: Path) -> None:
    check_free(file)
    if file.is_dir():
        raise RunError(f"{file}: is a folder, and a file is written. {_CHANGE}")


@contextmanager
def _parents(place: Path) -> Iterator[None]:
    """Makes the folders above; takes away those it made if the block raises, and tells an OSError as a RunError."""
    made: list[Path] = []
    try:
        for folder in reversed(place.absolute().parents):
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                made.append(folder)
        yield
    except BaseException as error:
        with suppress(OSError):  # one that another run uses by now is not empty, and stays
            for folder in reversed(made):
                folder.rmdir()
        if isinstance(error, OSError):
            raise RunError(f"{place}: cannot be written ({error.strerror or error}). {_CHANGE}") from error
        raise
