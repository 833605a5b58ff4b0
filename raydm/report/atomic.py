"""Outputs that appear whole or not at all: written under a temporary name beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raydm.errors import RunError


def check_free(folder: Path) -> None:
    """Raises RunError if something stands at ``folder``: results are never overwritten."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunError(f"{folder}: exists already, and results are never overwritten. Name another --out.")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder that becomes ``folder`` if the block ends well, and is removed if it raises."""
    check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # mode 0700
    except OSError as error:
        raise RunError(f"{folder}: cannot be made ({error.strerror}). Name another --out.") from error
    try:
        yield temporary
        check_free(folder)
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """Gives a temporary name that becomes ``file`` (replacing it) if the block ends well."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror}). Name another --out.") from error
    os.close(handle)
    try:
        yield Path(name)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
