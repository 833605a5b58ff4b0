"""Which workers have room for another shard, and in which order they are asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice


class Room:
    """Workers by how soon they would come to another shard; among equals who has waited longest comes first.

    First those with nothing in flight, then those with one shard, and so on; then the slow with nothing; last those
    who are busy with what nobody wants any more, for nobody knows for how long.

    Args:
        ahead: shards that a worker may have in flight.

    Attributes:
        slow: the workers that took unusually long for their last shard.
    """

    def __init__(self, ahead: int) -> None:
        self.slow: set[int] = set()
        self._ahead = ahead
        self._ranks: list[dict[int, None]] = [{} for _ in range(ahead + 2)]

    def put(self, worker: int, has: int, *, up: bool, wanted: bool) -> None:
        """Says how a worker stands: shards in flight, whether it can work, and whether its first shard is wanted."""
        for those in self._ranks:
            those.pop(worker, None)
        if not up:
            return
        if has and not wanted:
            rank = self._ahead + 1 if has == 1 else None
        elif worker in self.slow:
            rank = None if has else self._ahead
        else:
            rank = has if has < self._ahead else None
        if rank is not None:
            self._ranks[rank][worker] = None

    @property
    def idle(self) -> Collection[int]:
        """Who has nothing to do, and is not slow."""
        return self._ranks[0].keys()

    @property
    def slow_idle(self) -> Collection[int]:
        """Who has nothing to do, and is slow."""
        return self._ranks[self._ahead].keys()

    def first(self, avoid: Collection[int]) -> int | None:
        """Who is asked next, rather one that is not to be avoided; None: nobody has room."""
        return _rather((worker for those in self._ranks for worker in islice(those, len(avoid) + 1)), avoid)

    def spare(self, avoid: Collection[int], *, slow: bool) -> int | None:
        """Who has nothing to do, as in `first`; slow ones only where nobody else has, and if they may."""
        idle = self.idle or (self.slow_idle if slow else ())
        return _rather(islice(idle, len(avoid) + 1), avoid)


def _rather(workers: Iterable[int], avoid: Collection[int]) -> int | None:
    return min(workers, key=lambda worker: worker in avoid, default=None)
