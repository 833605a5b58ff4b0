"""Which rows make which batch, and who works on which of them: told by counts and a seed alone, before a row is read.

Rows lie in blocks. An epoch takes the blocks in an order of its own, some at a time (a window, which fits into memory),
and each batch takes its share of every block of a window: rows that lie together in the files are spread over the
epoch's batches, and of a batch every worker has about as many rows. So the batches do not depend on the workers, and no
block is read by two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from raydm.errors import ParameterError
from raydm.seeding import stream

Ints = npt.NDArray[np.int64]

ROWS = 8192  # of a block, at most
_BLOCKS = 256  # that few rows are cut into
_LEAST = 8  # rows of a block, unless they are very large
_BLOCK_BYTES = 2**22
_WINDOW_BYTES = 2**28
_WINDOW_ROWS = 2**20
_LEAST_WINDOW = 64  # blocks


@dataclass(frozen=True)
class Piece:
    """A worker's rows of one window.

    Attributes:
        blocks: their numbers, in the order in which their rows are laid one after another.
        cuts: of each batch that the window has rows of, in order: the worker's rows in it, places among those rows.
        ends: whether the batch is whole with these.
    """

    blocks: Ints
    cuts: list[Ints]
    ends: list[bool]


@dataclass(frozen=True, eq=False)
class Plan:
    """Every epoch's batches.

    Attributes:
        counts: how many rows each block has; a block may have none.
        batch_size: rows of a batch; batches are as equal in size as can be, and none is larger.
        window: blocks that are mixed with each other.
        seed: of the orders.
    """

    counts: Ints
    batch_size: int
    window: int
    seed: int

    @cached_property
    def rows(self) -> int:
        """N, of all blocks."""
        return int(self.counts.sum())

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.rows // self.batch_size)

    def check(self, world: int) -> None:
        """Refuses more workers than there is work for.

        Raises:
            ParameterError: some would have no row in any batch.
        """
        if self.batch_size < world:
            expected = f"at least 1 a worker, and there are {world} (--workers)"
            raise ParameterError.of("batch_size", "raydm fit", expected, self.batch_size)
        most = min(int((self.counts > 0).sum()), self.window)
        if most < world:
            raise ParameterError.of("workers", "raydm fit", f"at most {most} for {self.rows} rows", world)

    def own(self, epoch: int, rank: int, world: int) -> Iterator[int]:
        """The blocks that a worker reads in an epoch, in the order in which it needs them."""
        for window in self._windows(epoch):
            yield from (int(block) for block in window[rank::world])

    def pieces(self, epoch: int, rank: int, world: int) -> Iterator[Piece]:
        """What a worker does in an epoch, window by window.

        Args:
            epoch: its number, from 0.
            rank: of the worker, from 0.
            world: how many workers there are.
        """
        sizes = np.full(self.steps, self.rows // self.steps)
        sizes[: self.rows % self.steps] += 1
        ends = np.cumsum(sizes)
        done = 0
        for number, window in enumerate(self._windows(epoch)):
            counts = self.counts[window]
            block, order = self._mixed(epoch, number, counts)
            mine = np.arange(len(window)) % world == rank
            place = np.cumsum(mine[block]) - 1  # of each of my rows, among my blocks' rows
            first, last = (int(np.searchsorted(ends, at, "right")) for at in (done, done + len(order) - 1))
            edges = [0, *(int(end) - done for end in ends[first : last + 1])]
            spans = [order[a:b] for a, b in pairwise(edges)]
            cuts = [place[span[mine[block[span]]]] for span in spans]
            done += len(order)
            yield Piece(window[mine], cuts, [int(end) <= done for end in ends[first : last + 1]])

    def _windows(self, epoch: int) -> list[Ints]:
        blocks = np.flatnonzero(self.counts)
        order = blocks[stream(self.seed, "blocks", epoch).permutation(len(blocks))]
        return [order[a : a + self.window] for a in range(0, len(order), self.window)]

    def _mixed(self, epoch: int, number: int, counts: Ints) -> tuple[Ints, Ints]:
        """The block of each of a window's rows, block after block; and the order in which batches take the rows.

        The r-th of a block's n rows, in random order, has a random time in [r / n, (r + 1) / n): so every stretch of
        the order has its share of each block, up to a row or two.
        """
        rng = stream(self.seed, "window", epoch, number)
        block = np.repeat(np.arange(len(counts)), counts)
        rank = np.empty(len(block), np.int64)
        starts = np.cumsum(counts) - counts
        rank[np.lexsort((rng.random(len(block)), block))] = np.arange(len(block)) - starts[block]
        return block, np.argsort((rank + rng.random(len(block))) / counts[block], kind="stable")


def block_rows(rows: int, row_bytes: float) -> int:
    """Rows of a block, by how many rows there are and how large one is."""
    return max(1, min(max(_LEAST, -(-rows // _BLOCKS)), ROWS, int(_BLOCK_BYTES / max(row_bytes, 1))))


def window_blocks(block: int, row_bytes: float) -> int:
    """Blocks of a window: as many as memory allows, so that rows that fit into it are mixed as a whole."""
    return max(_LEAST_WINDOW, min(_WINDOW_ROWS // block, int(_WINDOW_BYTES / (block * max(row_bytes, 1)))))
