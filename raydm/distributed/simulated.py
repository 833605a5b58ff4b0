"""Workers in simulated time: they show what the controller does, and how fast it is by itself, without Ray."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from raydm.distributed.workers import Died, Done, Dropped, Event, Raised, Up


@dataclass(frozen=True)
class Act:
    """What becomes of work on a worker.

    Attributes:
        seconds: until it ends; infinite where it hangs.
        result: what it gives.
        error: what it raises instead.
        dies: the worker dies of it instead.
    """

    seconds: float
    result: Any = None
    error: BaseException | None = None
    dies: bool = False


class SimulatedWorkers:
    """Workers that take no time of the processor's; the clock goes on only where the controller waits.

    Args:
        workers: how many, >= 1.
        act: of a worker and its work, what becomes of it.
        starts: seconds until a worker that is begun can work.

    Attributes:
        clock: seconds since the start.
        begun: for each ticket that was worked on: worker and work.
        replaced: the workers that were replaced, in order.
    """

    def __init__(self, workers: int, act: Callable[[int, Any], Act], *, starts: float = 0.0) -> None:
        self.clock, self.act, self.starts = 0.0, act, starts
        self.begun: list[tuple[int, Any]] = []
        self.replaced: list[int] = []
        self._numbers = count()
        self._events: list[tuple[float, int, int, int, Event]] = []  # when, number, worker, which of its lives, what
        self._life = [0] * workers
        self._queues: list[deque[tuple[int, Any]]] = [deque() for _ in range(workers)]
        self._cancelled: set[int] = set()
        for worker in range(workers):
            self._later(starts, worker, Up(worker))

    def __len__(self) -> int:
        return len(self._queues)

    def now(self) -> float:
        """The simulated time in seconds."""
        return self.clock

    def submit(self, worker: int, work: Any) -> int:
        """Queues work; the ticket is its number."""
        ticket = next(self._numbers)
        self._queues[worker].append((ticket, work))
        if len(self._queues[worker]) == 1:
            self._begin(worker)
        return ticket

    def cancel(self, ticket: Any) -> None:
        """Marks work as unwanted: it is worked on all the same, as in Ray's actors, and its result is dropped."""
        self._cancelled.add(ticket)

    def replace(self, worker: int) -> None:
        """Ends a worker's life, with all its events to come, and begins another."""
        self.replaced.append(worker)
        self._life[worker] += 1
        self._queues[worker].clear()
        self._later(self.starts, worker, Up(worker))

    def wait(self, timeout: float | None) -> list[Event]:
        """All that happens at the next moment when anything does.

        Raises:
            RuntimeError: nothing ever will, and there is no timeout.
        """
        until = float("inf") if timeout is None else self.clock + timeout
        while self._events and self._life[self._events[0][2]] != self._events[0][3]:
            heapq.heappop(self._events)
        if not self._events or self._events[0][0] > until:
            if timeout is None:
                raise RuntimeError("Nothing is in flight, and nothing will ever happen.")
            self.clock = until
            return []
        self.clock = max(self.clock, self._events[0][0])
        happened = []
        while self._events and self._events[0][0] <= self.clock:
            _, _, worker, life, event = heapq.heappop(self._events)
            if life == self._life[worker]:
                happened.append(self._happens(worker, event))
        return happened

    def _later(self, seconds: float, worker: int, event: Event) -> None:
        if seconds != float("inf"):
            heapq.heappush(self._events, (self.clock + seconds, next(self._numbers), worker, self._life[worker], event))

    def _begin(self, worker: int) -> None:
        ticket, work = self._queues[worker][0]
        self.begun.append((worker, work))
        act = self.act(worker, work)
        if act.dies:
            self._later(act.seconds, worker, Died(worker, "it was killed"))
        elif act.error is not None:
            self._later(act.seconds, worker, Raised(ticket, act.error))
        else:
            self._later(act.seconds, worker, Done(ticket, act.result))

    def _happens(self, worker: int, event: Event) -> Event:
        """The event as it is told, once it has changed the worker."""
        if isinstance(event, Died):
            self._life[worker] += 1
            self._queues[worker].clear()
        elif isinstance(event, Done | Raised):
            self._queues[worker].popleft()
            if self._queues[worker]:
                self._begin(worker)
            if event.ticket in self._cancelled:
                self._cancelled.remove(event.ticket)
                return Dropped(event.ticket, "was cancelled")
        return event
