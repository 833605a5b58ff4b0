"""Ray actors as the controller's workers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray

from raydm.distributed.cluster import require
from raydm.distributed.workers import Died, Done, Dropped, Event, Raised, Up
from raydm.errors import RaydmWarning

_DEATHS = (  # as Ray tells of an actor's, by its cause
    ray.exceptions.RayActorError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.RuntimeEnvSetupError,
    ray.exceptions.ActorUnschedulableError,
    ray.exceptions.ActorPlacementGroupRemoved,
)
_PATIENCE_S = 60.0
_LONGEST = 300  # characters of what Ray says


class RayWorkers:
    """Long-lived actors, each in a place of its own; whoever dies is begun again as a new actor, on any node.

    Ray's own restarts and retries are off: the controller decides what is done again, so nothing is done twice.

    Args:
        make: begins an actor without waiting; its method `process` answers once it can work.
        count: how many.
        each: what one reserves, such as {"CPU": 1.0}.
        what: names them in messages.

    Attributes:
        handles: of the actors, by worker.
    """

    def __init__(self, make: Callable[[], Any], count: int, each: Mapping[str, float], what: str) -> None:
        self._make, self._each, self._what = make, each, what
        self.handles: list[Any] = [None] * count
        self._in_flight: dict[Any, int] = {}  # references, with their workers
        self._starting: dict[int, tuple[Any, float]] = {}  # the reference that tells that it can work, and since when
        self._warned = False
        for worker in range(count):
            self._begin(worker)

    def __len__(self) -> int:
        return len(self.handles)

    def now(self) -> float:
        """Seconds, from anywhen."""
        return time.monotonic()

    def settle(self) -> None:
        """Waits until all can work, or for a minute."""
        references = [reference for reference, _ in self._starting.values()]
        ray.wait(references, num_returns=len(references), timeout=_PATIENCE_S)

    def submit(self, worker: int, work: tuple[str, Sequence[Any]]) -> Any:
        """Calls a method of the worker's actor, by its name, with arguments; the reference is the ticket."""
        method, arguments = work
        reference = getattr(self.handles[worker], method).remote(*arguments)
        self._in_flight[reference] = worker
        return reference

    def cancel(self, ticket: Any) -> None:
        """Says that nobody wants a result; an actor that has the work already does it all the same."""
        with suppress(Exception):  # of an actor that is gone, or of a client that lost its server: all the same
            ray.cancel(ticket)

    def replace(self, worker: int) -> None:
        """Ends the worker's actor, if it still lives, and begins another."""
        self._in_flight = {reference: whose for reference, whose in self._in_flight.items() if whose != worker}
        with suppress(Exception):
            ray.kill(self.handles[worker])
        self._begin(worker)

    def wait(self, timeout: float | None) -> list[Event]:
        """What happened; results before deaths.

        Raises:
            ClusterError: nobody can work, and nobody ever will.
        """
        if not self._in_flight:
            return []
        references = [*self._in_flight]
        bound = timeout if not self._starting else _PATIENCE_S if timeout is None else min(timeout, _PATIENCE_S)
        ready, _ = ray.wait(references, num_returns=1, timeout=bound)
        if ready and len(references) > 1:  # what else is there already
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        events, dead = [], dict[int, str]()
        for reference in ready:
            worker = self._in_flight[reference]
            event = self._event(reference, worker)
            if isinstance(event, Died):
                dead.setdefault(worker, event.why)
            else:
                del self._in_flight[reference]
                events.append(event)
        for worker in dead:  # whatever else it had is gone with it
            self._in_flight = {reference: whose for reference, whose in self._in_flight.items() if whose != worker}
            self._starting.pop(worker, None)
        self._look_at_who_waits()
        return [*events, *(Died(worker, why) for worker, why in dead.items())]

    def close(self) -> None:
        """Ends the actors."""
        for handle in self.handles:
            with suppress(Exception):
                ray.kill(handle)

    def _begin(self, worker: int) -> None:
        self.handles[worker] = self._make()
        reference = self.handles[worker].process.remote()
        self._starting[worker] = reference, self.now()
        self._in_flight[reference] = worker

    def _event(self, reference: Any, worker: int) -> Event:
        """What a reference that is ready tells."""
        begins = worker in self._starting and self._starting[worker][0] == reference
        try:
            result = ray.get(reference)
        except _DEATHS as error:
            return Died(worker, _short(error))
        except ray.exceptions.TaskCancelledError:
            return Dropped(reference, "was cancelled")
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ray.exceptions.RayError):  # such as an argument that is lost
                return Dropped(reference, f"could not begin ({_short(error.cause)})")
            return Raised(reference, error.cause)
        except ray.exceptions.RayError as error:  # such as a result that died with its node
            return Died(worker, _short(error)) if begins else Dropped(reference, f"lost its result ({_short(error)})")
        if begins:
            del self._starting[worker]
            return Up(worker)
        return Done(reference, result)

    def _look_at_who_waits(self) -> None:
        """Says that some wait for a place, once; and fails where none has one, nor ever will."""
        late = self.now() - _PATIENCE_S
        waiting = sum(since <= late for _, since in self._starting.values())
        if not waiting:
            return
        if waiting == len(self.handles):
            require(1, self._each, self._what)
        if not self._warned:
            self._warned = True
            then = "The others do the work meanwhile" if waiting < len(self) else "Work goes on once one has a place"
            warnings.warn(
                f"{waiting} of {len(self)} {self._what} still wait for a place: others hold the cluster's resources, a "
                f"node is gone, or an autoscaler is adding nodes. {then}.",
                RaydmWarning,
                stacklevel=2,
            )


def _short(error: BaseException) -> str:
    """What Ray says, without its table of names and its advice."""
    lines = str(error).splitlines() or [""]
    telling = next((line for line in lines if "because" in line), lines[0]).strip()
    return telling if len(telling) <= _LONGEST else telling[:_LONGEST] + " ..."
