"""What shards keep of their rows comes back by owner and place."""

from __future__ import annotations

import numpy as np

from raydm.indexes import Here
from raydm.neighborhood import kept_of
from raydm.neighborhood.kept import KeptRecords

TYPE = np.dtype([("a", np.float64), ("x", np.float32, (2,))])


class Holder:
    def __init__(self, begin: int) -> None:
        self._kept = KeptRecords()
        for start in (begin, begin + 3):  # two blocks
            records = np.zeros(3, TYPE)
            records["a"] = np.arange(start, start + 3)
            records["x"] = records["a"][:, None] + [0.25, 0.5]
            self._kept.add(records)

    def kept(self, places: np.ndarray) -> np.ndarray:
        return self._kept.at(places)


def test_records_of_several_parts_in_the_order_that_was_asked_for() -> None:
    parts = Here([Holder(0), Holder(100)])
    owners, places = np.array([1, 0, 1, 0, 1]), np.array([5, 4, 0, 4, 5])
    records = kept_of(parts, owners, places)
    assert records.dtype == TYPE
    assert records["a"].tolist() == [105, 4, 100, 4, 105]
    assert records["x"][1].tolist() == [4.25, 4.5]
    assert len(kept_of(parts, owners[:0], places[:0])) == 0


def test_more_may_be_added_after_some_was_read() -> None:
    kept = KeptRecords()
    kept.add(np.arange(3.0))
    assert kept.at(np.array([2])).tolist() == [2]
    kept.add(np.arange(3.0, 5.0))
    assert kept.at(np.array([4, 0])).tolist() == [4, 0]
