"""Places below s3:// and gs://, where results stand whole or do not stand, and from where runs are read.

An object store renames nothing: so files are sent under a temporary name, and put in their places when all have
arrived. Of a run, the file complete.json is the last; it lists the others with their sizes and checksums, and a run
without it, or that differs from it, is not read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import pyarrow as pa
from pyarrow import fs

from raydm.errors import ParameterError, RunError

MARKER = "complete.json"
FORMAT = 1
SCHEMES = ("s3", "gs")
_COPIED = 5 * 2**30  # bytes of a file that S3 copies in one go
_CHUNK = 2**23
_LONGEST = 2**24  # bytes of a marker: far more than the files of any run need
_ASK = "Check the address, the region and your rights."


@dataclass(frozen=True)
class Remote:
    """A place in an object store.

    Attributes:
        uri: such as s3://bucket/runs/first. Settings of the store may stand behind a question mark, as pyarrow.fs reads
            them: s3://bucket/runs?endpoint_override=127.0.0.1:9000&scheme=http
    """

    uri: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.uri)
        if parts.username or parts.password:
            raise ParameterError(
                "An address of storage holds a key or a password, and would be kept in runs and logs. Give them as "
                "the store's own tools have them: in their credential files, variables or roles."
            )
        if parts.scheme not in SCHEMES or not parts.netloc or parts.fragment:
            raise ParameterError(f"{self.uri}: is no storage. Name a folder, s3://BUCKET/... or gs://BUCKET/...")

    @property
    def name(self) -> str:
        """The last part of its path; "" of a bucket."""
        return PurePosixPath(unquote(urlsplit(self.uri).path)).name

    def __truediv__(self, name: str | PathLike[str]) -> Remote:
        parts = urlsplit(self.uri)
        below = PurePosixPath("/", parts.path.lstrip("/"), quote(PurePosixPath(name).as_posix()))
        return Remote(urlunsplit(parts._replace(path=str(below))))

    def __str__(self) -> str:
        return self.uri

    def check_free(self) -> None:
        """Raises RunError if something stands there, or nothing can be put there."""
        store, path = self._open()
        self._check_empty(store, path)
        probe = f"{_above(path)}/.raydm-{uuid.uuid4().hex}"
        with self._told("cannot be written", _ASK):
            with store.open_output_stream(probe) as file:
                file.write(b"raydm asks whether it may write here")
            store.delete_file(probe)

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Gives a local folder whose files are sent if the block ends well."""
        with self._local() as here:
            here.mkdir()
            yield here
            self._send({f.relative_to(here).as_posix(): f for f in here.rglob("*") if f.is_file()})

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """Gives a local name whose file is sent if the block ends well."""
        with self._local() as here:
            yield here
            self._send({"": here})

    @contextmanager
    def read(self) -> Iterator[Path]:
        """A local copy of a run, as long as the block lasts.

        Raises:
            RunError: there is none, or it is not whole.
        """
        store, path = self._open()
        with tempfile.TemporaryDirectory(prefix="raydm-") as above:
            here = Path(above) / (self.name or "run")
            for name, expected in self._listed(store, path).items():
                place = here / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with self._told("cannot be read"):
                    if store.get_file_info(f"{path}/{name}").type != fs.FileType.File:
                        raise self._torn(f"it lacks {name}")
                    with store.open_input_stream(f"{path}/{name}") as sent, place.open("wb") as file:
                        found = _copied(sent, file)
                if found != expected:
                    raise self._torn(f"{name} is not what was written")
            yield here

    def _open(self) -> tuple[fs.FileSystem, str]:
        """The store, and the path in it."""
        with self._told("cannot be reached", _ASK):
            store, path = fs.FileSystem.from_uri(self.uri)
            return store, path.rstrip("/")

    def _check_empty(self, store: fs.FileSystem, path: str) -> None:
        if "/" not in path:
            raise RunError(f"{self}: is a whole bucket. Name a folder in it.")
        with self._told("cannot be reached", _ASK):
            if store.get_file_info(path).type != fs.FileType.NotFound:
                raise RunError(f"{self}: exists already, and results are never overwritten. Name another --out.")

    @contextmanager
    def _local(self) -> Iterator[Path]:
        """A local place for what is to be sent. What cannot be sent is kept, and the error says where."""
        above = Path(tempfile.mkdtemp(prefix="raydm-"))  # mode 0700
        try:
            yield above / self.name
        except _NotSentError as error:
            raise RunError(f"{error} What was computed is kept in {_kept(above / self.name)}.") from error
        except OSError as error:
            raise RunError(f"{above}: cannot be written ({error.strerror or error}). Make room there.") from error
        finally:
            shutil.rmtree(above, ignore_errors=True)

    def _send(self, files: dict[str, Path]) -> None:
        """Puts files in their places, all or none that anybody takes for whole; the name "" is the place itself."""
        try:
            store, path = self._open()
            temporary = f"{_above(path)}/.{self.name[:40]}-{uuid.uuid4().hex[:12]}"
            at = {name: f"{temporary}/{name or self.name}" for name in sorted(files)}
            final = {name: f"{path}/{name}".rstrip("/") for name in at}
            for name, file in files.items():
                if file.stat().st_size > _COPIED:  # which appears whole too, unless it is cut short here
                    at[name] = final[name]
            try:
                with self._told("cannot be written", _ASK):
                    early = {name: _transmit(files[name], store, to) for name, to in at.items() if to != final[name]}
                self._check_empty(store, path)
                self._publish(store, path, files, at, final, early)
            finally:
                with suppress(OSError, pa.ArrowException):
                    store.delete_dir(temporary)
        except RunError as error:
            raise _NotSentError(str(error)) from error

    def _publish(
        self,
        store: fs.FileSystem,
        path: str,
        files: dict[str, Path],
        at: dict[str, str],
        final: dict[str, str],
        sent: dict[str, Any],
    ) -> None:
        """Puts what was sent in its places, and the marker last; takes all away again where that fails."""
        try:
            with self._told("cannot be written", _ASK):
                for name, place in final.items():
                    if name in sent:
                        store.copy_file(at[name], place)
                    else:
                        sent[name] = _transmit(files[name], store, place)
                if "" not in files:
                    with store.open_output_stream(f"{path}/{MARKER}") as stream:
                        stream.write(json.dumps({"format": FORMAT, "files": sent}, indent=1).encode())
        except BaseException:
            with suppress(OSError, pa.ArrowException):
                store.delete_file(path) if "" in files else store.delete_dir(path)
            raise

    def _listed(self, store: fs.FileSystem, path: str) -> dict[str, dict[str, Any]]:
        """The files of a run, by its marker, which others may have written."""
        with self._told("cannot be read", _ASK):
            marker, place = store.get_file_info([f"{path}/{MARKER}", path])
            if place.type == fs.FileType.NotFound:
                raise RunError(f"{self}: there is nothing. Name a run that --storage holds.")
            if marker.type != fs.FileType.File:
                raise self._torn(f"it has no {MARKER}, which is written last")
            with store.open_input_stream(marker.path) as stream:
                text = stream.read(_LONGEST)
        try:
            found = json.loads(text)
            files = {
                str(name): {"bytes": int(f["bytes"]), "sha256": str(f["sha256"])} for name, f in found["files"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._torn(f"its {MARKER} cannot be read: {error!r}") from error
        if found.get("format") != FORMAT:
            raise RunError(f"{self}: is not of format {FORMAT}, which this raydm reads.")
        stray = next((name for name in files if not is_below(name)), None)
        if stray is not None:
            raise self._torn(f"its {MARKER} names {stray!r}, which is not in it")
        return files

    def _torn(self, how: str) -> RunError:
        return RunError(f"{self}: is torn: {how}. Copy or make the run again.")

    @contextmanager
    def _told(self, what: str, remedy: str = "") -> Iterator[None]:
        """What a store raises, as a RunError."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{self}: {what} ({error}). {remedy}".rstrip()) from error


class _NotSentError(RunError):
    """What was computed could not be sent."""


def _transmit(file: Path, store: fs.FileSystem, path: str) -> dict[str, Any]:
    """Sends a file; its size and checksum."""
    with file.open("rb") as opened, store.open_output_stream(path) as stream:
        sent = _copied(opened, stream)
    arrived = store.get_file_info(path).size
    if arrived != sent["bytes"]:
        raise OSError(f"{arrived} of {sent['bytes']} bytes of {file.name} arrived")
    return sent


def _copied(source: Any, target: Any) -> dict[str, Any]:
    """Copies what is left of a stream; its size and checksum."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _kept(made: Path) -> Path:
    """Moves it into the current folder, or to where a folder can be made."""
    try:
        place = Path(tempfile.mkdtemp(prefix=f"{made.name}-", dir=Path.cwd()))
    except OSError:
        place = Path(tempfile.mkdtemp(prefix=f"{made.name}-"))
    return Path(shutil.move(made, place)).absolute()


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def is_below(name: str) -> bool:
    """Whether a relative path leads to a place below."""
    path = PurePosixPath(name)
    return bool(name) and "\0" not in name and not path.is_absolute() and path.parts != () and ".." not in path.parts
