"""An append-only file of records, each with its length and checksum: what was written whole can be read, whatever died.

A record is a prefix (mark, checksum of the rest of the prefix, length, BLAKE2b of the content) and the content. The
first record says whose file it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from raydm.errors import RaydmWarning, RunError

_MARK = b"rdm1"
_PREFIX = struct.Struct("<4sIQ16s")
_CHUNK = 2**20
_SYNC_S = 1.0  # between writes through to the disk: a process that dies loses nothing, a machine at most this


class Records:
    """A file of records, of one process at a time, that its owner alone can read.

    Args:
        file: its place. It is made with the first record that is added, and its folder with it.

    Attributes:
        spans: where the content of each record that was found lies: offset and length in bytes.

    Raises:
        RunError: it is damaged, cannot be read, or another process has it open. A last record that is torn is cut off,
            with a warning.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.spans: list[tuple[int, int]] = []
        self._handle: int | None = None
        self._end, self._synced = 0, time.monotonic()
        if file.exists():
            try:
                self._open(os.O_RDWR)
                self._find()
            except BaseException as error:
                self.close()
                if isinstance(error, OSError):
                    raise RunError(f"{file}: cannot be read ({error.strerror or error}).") from error
                raise

    def read(self, number: int) -> bytes:
        """The content of a record that was found.

        Raises:
            RunError: it cannot be read any more.
        """
        offset, length = self.spans[number]
        try:
            return self._read(offset, length)
        except OSError as error:
            raise RunError(f"{self.file}: cannot be read ({error.strerror or error}).") from error

    def add(self, content: bytes) -> None:
        """Writes another record at the end.

        Raises:
            RunError: it cannot be written, as when the disk is full; the records before it stay as they are.
        """
        check = hashlib.blake2b(content, digest_size=16).digest()
        rest = _PREFIX.pack(b"", 0, len(content), check)[8:]
        try:
            if self._handle is None:
                self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
            self._write(_MARK + struct.pack("<I", zlib.crc32(rest)) + rest + content)
        except FileExistsError as error:
            raise RunError(f"{self.file}: another process has begun the same. Let one of them end.") from error
        except OSError as error:
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, self._end)
            raise RunError(
                f"{self.file}: cannot be written ({error.strerror or error}). What it holds is whole: make room, and "
                "go on with --resume."
            ) from error
        self._end += _PREFIX.size + len(content)

    def close(self) -> None:
        """Lets others have the file."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._handle)
            os.close(self._handle)
        self._handle = None

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, flags: int) -> None:
        self._handle = os.open(self.file, flags, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise RunError(f"{self.file}: another process writes it. Wait until that ends, or end it.") from error

    def _write(self, data: bytes) -> None:
        assert self._handle is not None  # noqa: S101
        written = 0
        while written < len(data):
            written += os.pwrite(self._handle, data[written:], self._end + written)
        if time.monotonic() - self._synced > _SYNC_S:
            os.fsync(self._handle)
            self._synced = time.monotonic()

    def _read(self, offset: int, length: int) -> bytes:
        assert self._handle is not None  # noqa: S101
        parts, end = [], offset + length
        while offset < end:
            part = os.pread(self._handle, end - offset, offset)
            if not part:
                raise OSError("it has become shorter")
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def _find(self) -> None:
        """Finds all records, checks each, and cuts off one at the end that is torn."""
        assert self._handle is not None  # noqa: S101
        size = os.fstat(self._handle).st_size
        for start, torn in self._each(size):
            if torn:
                warnings.warn(
                    f"{self.file}: its last record was torn, as when a machine dies or a disk is full. It was cut off "
                    f"({size - start} bytes), and what it held is done again.",
                    RaydmWarning,
                    stacklevel=4,
                )
                os.ftruncate(self._handle, start)

    def _each(self, size: int) -> Iterator[tuple[int, bool]]:
        """The start of each record, and whether it is torn, which the last may be: nothing but zeros is behind it.

        Blocks of zeros are what the disk never got before the machine died.
        """
        while self._end < size:
            start = self._end
            first = start + _PREFIX.size
            prefix = self._read(start, min(_PREFIX.size, size - start)).ljust(_PREFIX.size, b"\0")
            mark, crc, length, check = _PREFIX.unpack(prefix)
            known = mark == _MARK and crc == zlib.crc32(prefix[8:])
            end = first + length if known else first
            if not known or end > size or not self._is_whole(first, length, check):
                if self._is_empty(end, size):
                    yield start, True
                    return
                raise self._damaged(start)
            self.spans.append((first, length))
            self._end = end
            yield start, False

    def _is_whole(self, offset: int, length: int, check: bytes) -> bool:
        return hashlib.blake2b(self._read(offset, length), digest_size=16).digest() == check

    def _is_empty(self, start: int, end: int) -> bool:
        """Whether there are only zeros from start to end."""
        return not any(any(self._read(a, min(_CHUNK, end - a))) for a in range(start, end, _CHUNK))

    def _damaged(self, offset: int) -> RunError:
        return RunError(
            f"{self.file}: is damaged at byte {offset}, with more behind it, which no sudden end does. Restore it from "
            "a copy; or remove its folder, and begin again without --resume."
        )
