"""Storage: where results go, and runs are read: a folder, which all machines may see, or an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from urllib.parse import unquote, urlsplit

from raydm.errors import ParameterError
from raydm.object_store import SCHEMES, Remote, is_below

Place = Path | Remote


def place_of(text: str) -> Place:
    """A path, or an address.

    Raises:
        ParameterError: an address of no storage that is known.
    """
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    return Remote(text) if "://" in text else Path(text)


def output(storage: str | None, out: Path | None, default: Path) -> Place:
    """Where a verb's output goes: --out, or else ``default``; with --storage, the same name below that.

    Raises:
        ParameterError: --storage is none, or --out would not be below it.
    """
    if storage is None:
        if out is not None and out.as_posix().startswith(tuple(f"{scheme}:/" for scheme in SCHEMES)):
            raise ParameterError(f"--out {out}: an address is given by --storage, and --out is a name below it.")
        return default if out is None else out
    if out is not None and not is_below(out.as_posix()):
        raise ParameterError(f"--out {out}: with --storage, it is a name below that. Give a relative one without `..`.")
    return place_of(storage) / (Path(default.name) if out is None else out)


@contextmanager
def local_copy(run: Place | str | PathLike[str]) -> Iterator[Path]:
    """A run's folder on this machine: itself, or a copy of what storage holds, as long as the block lasts.

    Raises:
        RunError: storage holds none, or it is torn.
    """
    place = run if isinstance(run, Remote) else place_of(str(run)) if isinstance(run, str) else Path(run)
    if isinstance(place, Path):
        yield place
        return
    with place.read() as folder:
        yield folder
