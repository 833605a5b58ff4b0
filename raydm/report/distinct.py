"""Which of very many pairs make a row that an earlier pair made: told through files, in bounded memory."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from raydm.mixing.pairs import Array, Indices, ordered

_KEY = np.dtype([("low", np.int64), ("high", np.int64), ("share", np.float64), ("place", np.int64)])
_LATER = 2**56  # places of pairs of the next kind: more than there ever are
_BUCKET = 2**21  # pairs that are compared at once, about
_FILES = 256


class FirstPairs:
    """Takes pairs as they come, and says which of them are the first of their row.

    Pairs make one row where they are of the same two examples at the same shares, whichever of the two comes first; see
    `raydm.mixing.pairs.Pairs.distinct`. They are dealt out to files by their examples, and each file is sorted alone.

    Args:
        folder: for the files; it is left with them.
        expected: about how many pairs will come.
    """

    def __init__(self, folder: Path, expected: int) -> None:
        self.count = 0
        self._folder, self._open = folder, ExitStack()
        buckets = min(max(1, -(-expected // _BUCKET)), _FILES)
        self._files: list[IO[bytes]] = [
            self._open.enter_context((folder / f"{bucket}.pairs").open("wb")) for bucket in range(buckets)
        ]

    def add(self, parent: Indices, partner: Indices, lam: Array, kind: Indices) -> None:
        """Takes P pairs.

        Args:
            parent: (P,) row numbers.
            partner: (P,) row numbers.
            lam: (P,) the parents' shares.
            kind: (P,) >= 0; pairs of a lower kind count as earlier, whenever they come.
        """
        low, high, swapped = ordered(parent, partner)
        keys = np.empty(len(parent), _KEY)
        keys["low"], keys["high"], keys["share"] = low, high, np.where(swapped, 1 - lam, lam)
        keys["place"] = kind * _LATER + np.arange(self.count, self.count + len(parent))
        mixed = (low.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ high.astype(np.uint64)
        bucket = (mixed * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(33)) % np.uint64(len(self._files))
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(len(self._files)), side="right")
        for file, mine in zip(self._files, np.split(order, ends[:-1]), strict=True):
            file.write(keys[mine].tobytes())
        self.count += len(parent)

    def first(self) -> npt.NDArray[np.bool_]:
        """Of every pair, in the order in which they came, whether it is the first of its row: (count,), in a file."""
        self._open.close()
        if not self.count:
            return np.empty(0, np.bool_)
        found: Any = np.memmap(self._folder / "first", np.bool_, "w+", shape=(self.count,))
        for file in self._files:
            keys = np.fromfile(file.name, _KEY)
            order = np.lexsort((keys["place"], keys["share"], keys["high"], keys["low"]))
            new = np.ones(len(keys), np.bool_)
            new[1:] = np.any([np.diff(keys[name][order]) != 0 for name in ("low", "high", "share")], axis=0)
            found[keys["place"][order][new] % _LATER] = True
        return np.asarray(found)

    def __enter__(self) -> FirstPairs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()
