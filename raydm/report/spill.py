"""Sorting more keys than memory should hold: they lie on disk, and a part of them at a time is sorted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raydm.report.ahead import ahead

PART = 2**18  # keys that are in memory at a time
_SAMPLED = 64  # of each part, to find keys that divide all into parts as large

_THREADS = 2  # NumPy lets them sort and search side by side

Keys = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
Buckets = npt.NDArray[np.int64]


class Spill:
    """Keys on disk, in the order in which they were added; its file goes with it.

    Args:
        folder: where there is room: 8 bytes a key, and 24 more while they are ranked.
        dtype: of the keys: float64, none of them NaN, or uint64.

    Attributes:
        ascending: whether each key so far was greater than the one before.
    """

    def __init__(self, folder: Path, dtype: npt.DTypeLike) -> None:
        self.folder, self.dtype, self.count, self.ascending = folder, np.dtype(dtype), 0, True
        self._file = tempfile.TemporaryFile(prefix=".raydm-", dir=folder, buffering=0)  # noqa: SIM115 - see close
        self._last: Keys = np.empty(0, self.dtype)

    def add(self, keys: Keys) -> None:
        """Adds some.

        Raises:
            OSError: the disk is full.
        """
        if len(keys):
            self.ascending &= bool((keys[1:] > keys[:-1]).all() and (self._last < keys[:1]).all())
            self._last = keys[-1:].copy()
            self.count += len(keys)
            _write(self._file.fileno(), keys.astype(self.dtype, copy=False), None)

    def sorted(self) -> Iterator[tuple[Keys, Places]]:
        """All keys in ascending order, with the places at which they were added; equal ones in that order."""
        dividers = self._dividers()
        sizes = np.zeros(2 * len(dividers) + 1, np.int64)
        for which, _, _ in self._dealt(dividers):
            sizes += np.bincount(which, minlength=len(sizes))
        record = np.dtype([("key", self.dtype), ("place", np.int64)])
        with _Buckets(self.folder, sizes, record) as buckets:
            for which, first, keys in self._dealt(dividers):
                pairs = np.empty(len(keys), record)
                pairs["key"], pairs["place"] = keys, np.arange(first, first + len(keys))
                buckets.add(which, pairs)

            def ordered(bucket: int) -> Iterator[tuple[Keys, Places]]:
                if bucket % 2:  # a divider itself, as often as it is there
                    return ((pairs["key"], pairs["place"]) for pairs in buckets.read(bucket, PART))
                (pairs,) = buckets.read(bucket, int(sizes[bucket]))
                order = _order(pairs["key"])
                return iter([(pairs["key"][order], pairs["place"][order])])

            for some in ahead(ordered, np.flatnonzero(sizes).tolist(), threads=_THREADS):
                yield from some

    def ranks(self) -> Iterator[Places]:
        """The rank of each key among all, from 1; of PART keys at a time, in the order in which they were added."""
        record = np.dtype([("place", np.int64), ("rank", np.int64)])
        sizes = np.full(-(-self.count // PART), PART)
        with _Buckets(self.folder, sizes, record) as buckets:
            done = 0
            for _, places in self.sorted():
                pairs = np.empty(len(places), record)
                pairs["place"], pairs["rank"] = places, np.arange(done + 1, done + 1 + len(places))
                buckets.add(places // PART, pairs)
                done += len(places)
            for bucket in range(len(sizes)):
                pairs = np.concatenate([*buckets.read(bucket, PART)])
                ranks = np.empty(len(pairs), np.int64)
                ranks[pairs["place"] - bucket * PART] = pairs["rank"]
                yield ranks

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Pairs of places whose keys are equal, the earlier place first."""
        if self.ascending:
            return
        keys, places = np.empty(0, self.dtype), np.empty(0, np.int64)
        for more, at in self.sorted():
            keys, places = np.concatenate([keys[-1:], more]), np.concatenate([places[-1:], at])
            for i in np.flatnonzero(keys[1:] == keys[:-1]).tolist():
                yield int(places[i]), int(places[i + 1])

    def close(self) -> None:
        """Takes the file away."""
        self._file.close()

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _parts(self) -> Iterator[tuple[int, Keys]]:
        for first in range(0, self.count, PART):
            yield first, _read(self._file.fileno(), first, min(PART, self.count - first), self.dtype)

    def _dealt(self, dividers: Keys) -> Iterator[tuple[Buckets, int, Keys]]:
        """All keys, some at a time: the bucket of each (see `_which`), the place of the first, and they themselves."""
        return ahead(lambda part: (_which(part[1], dividers), *part), self._parts(), threads=_THREADS)

    def _dividers(self) -> Keys:
        """Keys between which there are about PART others, by a sample."""
        wanted = -(-self.count // PART)
        if wanted < 2:
            return np.empty(0, self.dtype)
        rng = np.random.default_rng(0)
        drawn = np.sort(np.concatenate([rng.choice(keys, _SAMPLED) for _, keys in self._parts()]))
        return np.unique(drawn[_SAMPLED::_SAMPLED])


class _Buckets:
    """Records that are dealt into buckets of known sizes, one after the other in a file."""

    def __init__(self, folder: Path, sizes: npt.NDArray[np.int64], record: np.dtype[Any]) -> None:
        self._file = tempfile.TemporaryFile(prefix=".raydm-", dir=folder, buffering=0)  # noqa: SIM115 - see __exit__
        self._begins = np.concatenate([[0], np.cumsum(sizes)])
        self._filled, self._record = self._begins[:-1].copy(), record

    def add(self, which: npt.NDArray[np.int64], records: npt.NDArray[Any]) -> None:
        """Puts each record into its bucket, behind those that are there."""
        quick = np.uint16 if len(self._begins) <= 2**16 else np.int64  # NumPy sorts 16 bits by radix
        order = np.argsort(which.astype(quick), kind="stable")
        records, counts = records[order], np.bincount(which)
        at = 0
        for bucket in np.flatnonzero(counts).tolist():
            some = records[at : at + counts[bucket]]
            _write(self._file.fileno(), some, int(self._filled[bucket]))
            self._filled[bucket] += len(some)
            at += len(some)

    def read(self, bucket: int, most: int) -> Iterator[npt.NDArray[Any]]:
        """The records of a bucket, at most so many at a time."""
        for at in range(int(self._begins[bucket]), int(self._filled[bucket]), most):
            yield _read(self._file.fileno(), at, min(most, int(self._filled[bucket]) - at), self._record)

    def __enter__(self) -> _Buckets:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _order(keys: Keys) -> Places:
    """Places (n,) of keys in ascending order, equal ones in theirs: radix sort, half the time of `np.argsort`."""
    if keys.dtype.kind == "f":
        bits = (keys + 0.0).view(np.uint64)  # + 0 makes -0 and 0 one
        bits ^= np.where(bits >> np.uint64(63), np.uint64(2**64 - 1), np.uint64(2**63))  # now ordered as the numbers
    else:
        bits = np.ascontiguousarray(keys)
    digits = bits.astype("<u8", copy=False).view("<u2").reshape(-1, 4)
    order: Places = np.argsort(digits[:, 0], kind="stable")
    for i in (1, 2, 3):
        order = order[np.argsort(digits[:, i][order], kind="stable")]
    return order


def _which(keys: Keys, dividers: Keys) -> npt.NDArray[np.int64]:
    """Buckets (n,): 2 k + 1 of the k-th divider itself, 2 k of what is below it and above the one before."""
    if not len(dividers):
        return np.zeros(len(keys), np.int64)
    at = np.searchsorted(dividers, keys)
    same = dividers[np.minimum(at, len(dividers) - 1)] == keys
    which: npt.NDArray[np.int64] = 2 * at + same
    return which


def _write(file: int, array: npt.NDArray[Any], at: int | None) -> None:
    """Writes it whole, from the at-th record on, or behind what was written last."""
    left, offset = np.ascontiguousarray(array).view(np.uint8).data, 0
    while offset < len(left):
        if at is None:
            offset += os.write(file, left[offset:])
        else:
            offset += os.pwrite(file, left[offset:], at * array.itemsize + offset)


def _read(file: int, at: int, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    found = np.empty(count, dtype)
    view, offset = found.view(np.uint8).data, 0
    while offset < len(view):
        got = os.preadv(file, [view[offset:]], at * dtype.itemsize + offset)
        if not got:
            raise OSError("A temporary file is shorter than what was written to it")
        offset += got
    return found
