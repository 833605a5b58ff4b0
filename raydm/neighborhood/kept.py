"""What shards keep of their rows on local disk, for whoever asks for some of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.errors import RunError
from raydm.indexes import Parts
from raydm.neighborhood.rows import Encoded

Ids = npt.NDArray[np.int64]
# Of a block of B rows, as read and as encoded, and what to call it in messages: B records, of one type for all blocks.
Keep = Callable[[pa.Table, Encoded, str], npt.NDArray[Any]]


class KeptRecords:
    """Records in a temporary file that has no name: it is gone with the process, however that ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="raydm-kept-")  # noqa: SIM115  # lives as long as we do
        self._dtype: Any = None
        self._map: Any = None

    def add(self, records: npt.NDArray[Any]) -> None:
        """Appends (B,).

        Raises:
            RunError: the disk is full.
        """
        self._dtype, self._map = records.dtype, None
        try:
            self._file.write(np.ascontiguousarray(records).tobytes())
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"{tempfile.gettempdir()}: rows that are kept there for a while cannot be written ({error.strerror}). "
                "Free some space, or name another folder with the variable TMPDIR."
            ) from error

    def at(self, places: Ids) -> npt.NDArray[Any]:
        """The records (P,) at places (P,)."""
        if self._map is None:
            self._map = np.memmap(self._file, self._dtype, "r")
        return np.array(self._map[places])


def kept_of(parts: Parts, owners: Ids, places: Ids) -> npt.NDArray[Any]:
    """The records (P,) that parts `owners` (P,) keep of their rows at `places` (P,)."""
    where = [np.flatnonzero(owners == part) for part in range(len(parts))]
    answers = parts.ask("kept", (), [(places[mine],) for mine in where])
    records = np.empty(len(places), answers[0].dtype)
    for mine, answer in zip(where, answers, strict=True):
        records[mine] = answer
    return records
