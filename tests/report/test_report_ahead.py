"""Work ahead: in order, a few at a time, and what fails is told."""

from __future__ import annotations

import threading
import time

import pytest

from raydm.report.ahead import ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_though_later_ones_are_sooner_done(threads: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.02 * (item % 3 == 0))
        return item * item

    assert list(ahead(work, range(20), threads=threads)) == [i * i for i in range(20)]
    assert list(ahead(work, [], threads=threads)) == []


def test_it_takes_no_more_than_it_may_hold_and_begins_each_thread() -> None:
    taken, begun = [], []
    results = ahead(
        lambda item: threading.current_thread().name,
        (taken.append(i) or i for i in range(100)),
        threads=2,
        begin=lambda: begun.append(threading.get_ident()),
        name="mine",
    )
    assert next(results).startswith("mine")
    assert len(taken) == 5
    assert len(list(results)) == 99
    assert 1 <= len(set(begun)) == len(begun) <= 2


def test_an_error_comes_where_its_item_stands_and_ends_the_rest() -> None:
    done = []

    def work(item: int) -> int:
        if item == 3:
            raise ValueError("the third")
        done.append(item)
        return item

    results = ahead(work, range(1000), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert len(done) < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("raydm-ahead")]
