"""Who trains which shard, and when again: scheduling alone, of any workers. Nothing here knows Ray."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile
from typing import Any

from raydm.distributed.room import Room
from raydm.distributed.workers import Died, Done, Dropped, Limits, Raised, Shards, Ticket, Up, Workers
from raydm.errors import ClusterError, RolloutError


@dataclass(eq=False)
class _Shard:
    number: int
    copies: list[_Copy] = field(default_factory=list)  # in flight
    lost: list[str] = field(default_factory=list)  # why each try was
    failed_on: set[int] = field(default_factory=set)
    refused: bool = False


@dataclass(eq=False)
class _Copy:
    """A shard on a worker; once nobody wants it, it is without a shard, but keeps its worker busy."""

    worker: int
    ticket: Ticket
    shard: _Shard | None
    started: float = math.nan


class Controller:
    """Gives shards to workers as these get free, and the results in the order of the shards.

    A result never depends on who worked it out, nor on when: so all of this changes the time alone.

    * A worker that died is replaced, and what it had is done by others.
    * A shard that takes longer than the timeout is taken from its worker, which is replaced.
    * Once no shard waits, a free worker takes those that wait behind others, then a second copy of those that take
      unusually long; the first result counts. A worker busy with the other goes on, and gets new work last.

    Args:
        workers: do the work.
        limits: what is put up with.
    """

    def __init__(self, workers: Workers, limits: Limits | None = None) -> None:
        self.workers, self.limits = workers, limits or Limits()
        count = len(workers)
        self._in_flight: list[list[_Copy]] = [[] for _ in range(count)]  # of each worker, as it takes them
        self._up, self._given_up = [False] * count, [False] * count
        self._deaths = [0] * count
        self._room = Room(self.limits.ahead)
        self._copies: dict[Ticket, _Copy] = {}
        self._first: dict[_Copy, None] = {}  # what is worked on, in the order of its start
        self._latest: dict[_Copy, None] = {}  # of these, the last begun of each shard that is wanted
        self._behind: dict[_Copy, None] = {}  # wanted, and waits behind another
        self._unwanted: dict[_Copy, float] = {}  # is worked on, but wanted no more since then
        self._waiting: deque[_Shard] = deque()
        self._usual = math.inf  # median seconds of a shard in the last step
        self._failure: Exception | None = None
        self._hopeless: Exception | None = None  # why nobody can work any more

    def run(self, shards: Shards) -> list[Any]:
        """The results, in the order of the shards.

        Raises:
            RolloutError: a shard lost its worker, or its time, too often; naming step, rollouts and seeds.
            ClusterError: every worker died again and again.
            Exception: what `Shards.failed` makes of what work raised.
        """
        self._shards, self._results = shards, [None] * len(shards)
        self._left, self._failure = len(shards), self._hopeless
        self._waiting = deque(_Shard(number) for number in range(len(shards)))
        self._seconds: list[float] = []  # that shards took, sorted
        try:
            self._hear(0.0)  # what happened since the last step
            while self._left:
                self._end_overdue()
                self._hand_out()
                self._second()
                self._hear(self._patience())
            return self._results
        finally:
            self._usual = self._median
            for copy in list(self._copies.values()):
                self._disown(copy)

    def _hear(self, timeout: float | None) -> None:
        """Takes in what happened; all of it, before an error that is among it is raised."""
        for event in self.workers.wait(timeout):
            match event:
                case Done(ticket, result):
                    self._done(ticket, result)
                case Raised(ticket, error):
                    copy = self._left_by(ticket)
                    if copy is not None and copy.shard is not None and self._failure is None:
                        self._failure = self._shards.failed(copy.shard.number, error)
                case Dropped(ticket, why):
                    copy = self._left_by(ticket)
                    if copy is not None and copy.shard is not None:
                        self._lost(copy, why)
                case Died(worker, why):
                    self._replace(worker, f"lost its worker ({why})")
                case Up(worker):
                    self._up[worker] = True
                    self._place(worker)
        if self._failure is not None:
            raise self._failure

    def _done(self, ticket: Ticket, result: Any) -> None:
        copy = self._left_by(ticket)
        if copy is None:
            return
        self._deaths[copy.worker] = 0
        shard = copy.shard
        if shard is None:
            return
        if not math.isnan(copy.started):
            seconds = self.workers.now() - copy.started
            self._mark(copy.worker, seconds > self._unusual)
            insort(self._seconds, seconds)
        shard.copies.remove(copy)
        if not shard.refused and self.limits.tries > 1 and not self._shards.accepts(result):
            shard.refused = True
            shard.failed_on.add(copy.worker)
            self._again(shard)
            return
        self._results[shard.number] = result
        self._left -= 1
        for other in list(shard.copies):
            self._disown(other)

    def _left_by(self, ticket: Ticket) -> _Copy | None:
        """The copy, out of its worker's hands, who goes on with the next; None where it was taken from them before."""
        copy = self._copies.pop(ticket, None)
        if copy is None:
            return None
        mine = self._in_flight[copy.worker]
        mine.remove(copy)
        self._forget(copy)
        if mine and math.isnan(mine[0].started):
            self._start(mine[0])
        self._place(copy.worker)
        return copy

    def _start(self, copy: _Copy) -> None:
        copy.started = self.workers.now()
        self._behind.pop(copy, None)
        self._first[copy] = None
        if copy.shard is None:
            self._unwanted[copy] = copy.started
        elif len(copy.shard.copies) < self.limits.copies:
            self._latest[copy] = None

    def _forget(self, copy: _Copy) -> None:
        for those in (self._first, self._latest, self._behind, self._unwanted):
            those.pop(copy, None)

    def _disown(self, copy: _Copy) -> None:
        """Nobody wants a copy any more."""
        if copy.shard is not None:
            copy.shard.copies.remove(copy)
            copy.shard = None
            self._latest.pop(copy, None)
            self._behind.pop(copy, None)
            self.workers.cancel(copy.ticket)
            if not math.isnan(copy.started):
                self._unwanted[copy] = self.workers.now()
                self._place(copy.worker)

    def _place(self, worker: int) -> None:
        """Says how a worker stands, after a change."""
        has = self._in_flight[worker]
        wanted = not has or has[0].shard is not None
        self._room.put(worker, len(has), up=self._up[worker], wanted=wanted)

    def _mark(self, worker: int, slow: bool) -> None:
        if slow != (worker in self._room.slow):
            (self._room.slow.add if slow else self._room.slow.discard)(worker)
            self._place(worker)

    def _replace(self, worker: int, why: str, *, blamed: bool = True) -> None:
        copies, self._in_flight[worker] = self._in_flight[worker], []
        self._up[worker] = False
        self._place(worker)
        for copy in copies:
            del self._copies[copy.ticket]
            self._forget(copy)
        self._deaths[worker] += blamed
        if self._deaths[worker] > self.limits.deaths:
            self._given_up[worker] = True
            if all(self._given_up):
                self._hopeless = ClusterError(
                    f"Each of the {len(self.workers)} actors died {self.limits.deaths + 1} times in a row without any "
                    f"result. The last {why}. They may be out of memory, or cannot start: look at Ray's logs, lower "
                    "--shard or --outer-batch, or give each more (--cpus-per-actor, --gpus-per-actor)."
                )
                self._failure = self._failure or self._hopeless
        else:
            self.workers.replace(worker)
        for place, copy in enumerate(copies):
            if copy.shard is not None:
                self._lost(copy, why if place == 0 else None)

    def _lost(self, copy: _Copy, why: str | None) -> None:
        """A copy will give no result: its shard is tried again, unless that was too often; no reason, no blame."""
        shard = copy.shard
        assert shard is not None  # noqa: S101
        shard.copies.remove(copy)
        if why is not None:
            shard.lost.append(why)
            shard.failed_on.add(copy.worker)
        if shard.copies or len(shard.lost) < self.limits.tries:
            self._again(shard)
        elif self._failure is None:
            self._failure = RolloutError(
                f"{self._shards.name(shard.number)}: tried {len(shard.lost)} times, and each time the training "
                f"{_counted(shard.lost)}. If it is slow, allow it more (--rollout-timeout) or lower --shard; if it is "
                "out of memory, lower --shard or --outer-batch; else try the predictor by itself on a few rows."
            )

    def _again(self, shard: _Shard) -> None:
        """A shard needs a result still: of the copy that is left, or of another try."""
        if not shard.copies:
            self._waiting.appendleft(shard)
        elif not math.isnan(shard.copies[-1].started):
            self._latest[shard.copies[-1]] = None
            self._latest = dict.fromkeys(sorted(self._latest, key=lambda copy: copy.started))

    def _hand_out(self) -> None:
        """Gives what waits to whoever has room; to the busy only while there is enough for all, so that none stays."""
        workers = sum(self._up)
        while self._waiting:
            worker = self._room.first(self._waiting[0].failed_on)
            if worker is None or (self._in_flight[worker] and len(self._waiting) < workers):
                return
            self._submit(self._waiting.popleft(), worker)

    def _submit(self, shard: _Shard, worker: int) -> None:
        ticket = self.workers.submit(worker, self._shards.work(shard.number))
        copy = self._copies[ticket] = _Copy(worker, ticket, shard)
        for other in shard.copies:
            self._latest.pop(other, None)
        shard.copies.append(copy)
        self._in_flight[worker].append(copy)
        if self._in_flight[worker][0] is copy:
            self._start(copy)
        else:
            self._behind[copy] = None
        self._place(worker)

    def _second(self) -> None:
        """Lets workers that have nothing take what waits behind others, then a copy of what takes, or will take, long.

        What will take long is what a slow worker has just begun.
        """
        if self._waiting:
            return
        now, unusual = self.workers.now(), self._unusual
        late = list(takewhile(lambda copy: copy.started + unusual <= now, self._latest))
        for copy in late:
            self._mark(copy.worker, True)
        room = self._room
        for copy in list(islice(chain(self._behind, late), len(room.idle) + len(room.slow_idle))):
            self._take_over(copy)
        if room.idle:
            begun = [self._in_flight[worker][0] for worker in room.slow if self._in_flight[worker]]
            for copy in [copy for copy in begun if copy in self._latest][: len(room.idle)]:
                self._take_over(copy)

    def _take_over(self, copy: _Copy) -> None:
        """Gives a copy's shard to a worker that has nothing to do, if there is one; alone, if it was not begun."""
        shard = copy.shard
        if shard is None:
            return
        # A slow one only where no other is at work, who would be free sooner
        slow = not self._room.idle and all(c.worker in self._room.slow for c in self._first if c.shard is not None)
        worker = self._room.spare(shard.failed_on, slow=slow)
        if worker is not None:
            if copy in self._behind:
                self._disown(copy)
            self._submit(shard, worker)

    def _end_overdue(self) -> None:
        """Replaces workers that are at a shard for too long, or that will not leave one that nobody wants."""
        now = self.workers.now()
        while self._first and (copy := next(iter(self._first))).started + self.limits.timeout <= now:
            self._replace(copy.worker, f"took longer than {self.limits.timeout:g} s")
        while self._unwanted and self._unwanted[copy := next(iter(self._unwanted))] + self.limits.grace <= now:
            self._replace(copy.worker, "waited behind another that did not end", blamed=False)
        if self._failure is not None:
            raise self._failure

    def _patience(self) -> float | None:
        """Seconds until something has to be done even if nothing happens."""
        times = []
        if self._first:
            times.append(next(iter(self._first)).started + self.limits.timeout)
        if self._unwanted:
            times.append(next(iter(self._unwanted.values())) + self.limits.grace)
        if self._latest and not self._waiting:
            now, unusual = self.workers.now(), self._unusual
            times += islice((t for c in self._latest if (t := c.started + unusual) > now), 1)
        until = min(times, default=math.inf)
        return None if math.isinf(until) else max(0.0, until - self.workers.now())

    @property
    def _median(self) -> float:
        return self._seconds[len(self._seconds) // 2] if self._seconds else self._usual

    @property
    def _unusual(self) -> float:
        return max(self.limits.slow * self._median, self.limits.least)


def _counted(reasons: list[str]) -> str:
    """The last reason, which may stand for all."""
    return reasons[-1] if len({*reasons}) == 1 else f"failed: {'; '.join(dict.fromkeys(reasons))}"
