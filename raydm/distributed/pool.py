"""Rollout actors that several trainings share: each sends its shards, and an actor takes them as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ray

from raydm.distributed.actors import RayWorkers
from raydm.distributed.cluster import Connection
from raydm.distributed.rollouts import RayRollouts, RayUtility, RolloutActor
from raydm.distributed.workers import Died, Event, Limits
from raydm.utility import Problem

_NEVER = 1e9  # how long a shard takes says nothing of its actor, which may have others' before it


class SharedWorkers(RayWorkers):
    """Actors that others use, too: Ray begins them again where they die, and whoever made them ends them.

    Args:
        handles: of the actors.
        each: what one reserves.
    """

    def __init__(self, handles: Sequence[Any], each: Mapping[str, float]) -> None:
        self._shared, self._gone = [*handles], set[int]()
        super().__init__(lambda: None, len(handles), each, "shared rollout actors")

    def wait(self, timeout: float | None) -> list[Event]:
        """As of `RayWorkers`."""
        events = super().wait(timeout)
        self._gone.update(event.worker for event in events if isinstance(event, Died))
        return events

    def replace(self, worker: int) -> None:
        """Lets Ray begin an actor again; one that died is being begun already."""
        self._in_flight = {reference: whose for reference, whose in self._in_flight.items() if whose != worker}
        if worker not in self._gone:
            with suppress(Exception):
                ray.kill(self._shared[worker], no_restart=False)
        self._gone.discard(worker)
        self._begin(worker)

    def close(self) -> None:
        """Says that nobody wants what is still in flight; the actors stay."""
        for reference in self._in_flight:
            self.cancel(reference)

    def _begin(self, worker: int) -> None:
        self.handles[worker] = self._shared[worker]
        reference = self._shared[worker].process.options(max_task_retries=-1).remote()  # once it is there again
        self._starting[worker] = reference, self.now()
        self._in_flight[reference] = worker


@dataclass(frozen=True)
class SharedRollouts:
    """Makes a problem's utility run on a pool of actors; may be sent to another process.

    Attributes:
        handles: of the actors.
        on: what `make_pool` was given.
    """

    handles: tuple[Any, ...]
    on: RayRollouts

    def __call__(self, problem: Problem) -> RayUtility:
        """A utility that does not own the actors."""
        each = {"CPU": self.on.cpus_per_actor, "GPU": self.on.gpus_per_actor}
        limits = Limits(timeout=self.on.timeout, tries=self.on.tries, slow=_NEVER)
        return RayUtility(problem, self.on, Connection(False, None), SharedWorkers(self.handles, each), limits)


def make_pool(on: RayRollouts) -> SharedRollouts:
    """Begins the actors of a pool, which end with `end_pool` or with this process."""
    actor: Any = ray.remote(RolloutActor).options(
        num_cpus=on.cpus_per_actor, num_gpus=on.gpus_per_actor, max_restarts=-1, max_task_retries=0
    )
    return SharedRollouts(tuple(actor.remote() for _ in range(on.actors)), replace(on, address=None))


def end_pool(pool: SharedRollouts) -> None:
    """Ends the actors."""
    for handle in pool.handles:
        with suppress(Exception):
            ray.kill(handle)
