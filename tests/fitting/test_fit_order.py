"""The plan of batches: the same for any number of workers, and spread over all blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydm.errors import ParameterError
from raydm.fitting import Encoded, InMemory, Plan, block_rows, window_blocks
from raydm.fitting.feed import parts_of


def batches(plan: Plan, epoch: int, world: int) -> list[list[set[int]]]:
    """Of each worker: its row numbers in each batch."""
    n = plan.rows
    rows = Encoded(np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.float32), np.ones(n, np.float32))
    source = InMemory(rows, np.cumsum([0, *plan.counts]))
    each = []
    for rank in range(world):
        parts = list(parts_of(plan, source, epoch, rank, world))
        assert all(len(part.w) > 0 for part in parts)  # a worker without rows has one that weighs nothing
        assert all((part.x[:, 0] == part.y).all() for part in parts)
        each.append([{int(i) for i in part.y[part.w > 0]} for part in parts])
    return each


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(lambda counts: sum(counts) > 0),
    st.integers(1, 50), st.integers(1, 40), st.integers(0, 3), st.integers(1, 4),
)  # fmt: skip
def test_batches_do_not_depend_on_the_workers(
    counts: list[int], size: int, window: int, epoch: int, world: int
) -> None:
    plan = Plan(np.array(counts), size, window, seed=1)
    whole = batches(plan, epoch, 1)[0]
    assert len(whole) == plan.steps
    sizes = [len(rows) for rows in whole]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert set().union(*whole) == set(range(sum(counts)))
    assert sum(sizes) == sum(counts)  # each row once
    if min(sum(count > 0 for count in counts), window) < world or size < world:
        with pytest.raises(ParameterError, match=r"batch_size|workers"):
            plan.check(world)
        return
    plan.check(world)
    shared = batches(plan, epoch, world)
    assert [set().union(*rows) for rows in zip(*shared, strict=True)] == whole
    assert sum(len(rows) for of in shared for rows in of) == sum(counts)  # no row twice
    owners = [set(plan.own(epoch, rank, world)) for rank in range(world)]
    assert sum(map(len, owners)) == len(set().union(*owners))  # and no block is read by two


def test_orders_follow_from_seed_and_epoch() -> None:
    counts = np.full(20, 10)
    first = batches(Plan(counts, 16, 8, seed=1), 0, 1)
    assert first == batches(Plan(counts, 16, 8, seed=1), 0, 1)
    assert first != batches(Plan(counts, 16, 8, seed=1), 1, 1)
    assert first != batches(Plan(counts, 16, 8, seed=2), 0, 1)


def test_every_batch_has_its_share_of_every_block_and_worker() -> None:
    plan = Plan(np.full(32, 500), 800, 32, seed=0)  # 25 rows of each block, on average
    own: list[list[set[int]]] = batches(plan, 0, 4)
    whole = [set().union(*rows) for rows in zip(*own, strict=True)]
    shares = np.array([np.bincount(np.array(sorted(rows)) // 500, minlength=32) for rows in whole])
    assert abs(shares - 25).max() <= 2  # a cell at either end of a stretch may fall on this side or that
    assert max(abs(len(rows) - 200) for of in own for rows in of) <= 16  # 8 blocks of up to 2 more or less
    orders = np.concatenate([sorted(rows) for rows in whole])
    assert abs(np.corrcoef(np.arange(len(orders)), orders)[0, 1]) < 0.05  # rows that lie together are spread


@pytest.mark.parametrize(
    ("rows", "row_bytes", "expected"),
    [(5, 8.0, 8), (1000, 8.0, 8), (100_000, 8.0, 391), (10**9, 8.0, 8192), (10**9, 2**20, 4), (10, 2**30, 1)],
)
def test_blocks_suit_rows_of_any_size(rows: int, row_bytes: float, expected: int) -> None:
    block = block_rows(rows, row_bytes)
    assert block == expected
    assert window_blocks(block, row_bytes) * block * row_bytes <= max(2**28, 64 * block * row_bytes)
