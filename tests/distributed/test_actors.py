"""What `RayWorkers` makes of what Ray says, without Ray: handles and references are plain objects here."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from raydm.distributed import actors
from raydm.distributed.actors import RayWorkers
from raydm.distributed.workers import Died, Done, Dropped, Event, Raised, Up
from raydm.errors import ClusterError, RaydmWarning

EXCEPTIONS = ray.exceptions


class Method:
    def __init__(self, said: dict[Any, Any]) -> None:
        self.said = said

    def remote(self, *arguments: Any) -> object:
        reference = object()
        if arguments:
            self.said[reference] = arguments[0]
        return reference


class FakeRay:
    """Says of each reference what is given; of one of which nothing is said, it is not ready."""

    exceptions = EXCEPTIONS

    def __init__(self) -> None:
        self.said: dict[Any, Any] = {}
        self.killed = 0

    def begin(self) -> Any:
        handle: Any = type("Handle", (), {})()
        handle.process, handle.score = Method(self.said), Method(self.said)
        return handle

    def wait(self, references: list[Any], *, num_returns: int, timeout: float | None) -> tuple[list[Any], list[Any]]:
        return [reference for reference in references if reference in self.said], []

    def get(self, reference: Any) -> Any:
        said = self.said[reference]
        if isinstance(said, Exception):
            raise said
        return said

    def kill(self, handle: Any) -> None:
        self.killed += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(actors, "ray", made)
    return made


def up(fake: FakeRay, count: int = 1) -> RayWorkers:
    """Workers that can work."""
    workers = RayWorkers(fake.begin, count, {"CPU": 1.0}, "workers")
    fake.said |= dict.fromkeys(workers._in_flight, 7)
    assert workers.wait(0) == [Up(worker) for worker in range(count)]
    return workers


DEATHS = [
    EXCEPTIONS.RayActorError(error_msg="it was killed"),
    EXCEPTIONS.ActorUnavailableError("the network is gone", b"0" * 16),
    EXCEPTIONS.OutOfMemoryError("the node was out of memory"),
    EXCEPTIONS.NodeDiedError("the node is gone"),
    EXCEPTIONS.RuntimeEnvSetupError("no such package"),
    EXCEPTIONS.ActorUnschedulableError("no such node"),
]


@pytest.mark.parametrize("error", DEATHS, ids=lambda error: type(error).__name__)
def test_an_actor_that_is_gone_is_told_once_and_begun_again(fake: FakeRay, error: Exception) -> None:
    workers = up(fake, 2)
    for _ in range(3):
        workers.submit(0, ("score", (error,)))
    ticket = workers.submit(1, ("score", ("u",)))
    done, died = workers.wait(None)
    assert done == Done(ticket, "u")
    assert isinstance(died, Died)
    assert died.worker == 0
    assert workers.wait(0) == []  # nothing more of its tickets
    before = workers.handles[0]
    workers.replace(0)
    assert (fake.killed, workers.handles[0] is before) == (1, False)


@pytest.mark.parametrize(
    "error", [EXCEPTIONS.ObjectStoreFullError("full"), *DEATHS], ids=lambda error: type(error).__name__
)
def test_an_actor_that_cannot_begin_is_dead(fake: FakeRay, error: Exception) -> None:
    workers = RayWorkers(fake.begin, 1, {"CPU": 1.0}, "workers")
    fake.said |= dict.fromkeys(workers._in_flight, error)
    (event,) = workers.wait(None)
    assert isinstance(event, Died)
    assert not workers._in_flight


def test_results_are_told_apart(fake: FakeRay) -> None:
    workers = up(fake)
    lost_argument = EXCEPTIONS.ObjectLostError("00", "owner", "here")
    given: list[tuple[Any, type[Event], str]] = [
        ("u", Done, "u"),
        (EXCEPTIONS.RayTaskError("score", "trace", ZeroDivisionError("no rows")), Raised, "no rows"),
        (EXCEPTIONS.RayTaskError("score", "trace", lost_argument), Dropped, "could not begin"),
        (EXCEPTIONS.TaskCancelledError(), Dropped, "was cancelled"),
        (EXCEPTIONS.ObjectLostError("00", "owner", "here"), Dropped, "lost its result"),
    ]
    for said, kind, words in given:
        ticket = workers.submit(0, ("score", (said,)))
        (event,) = workers.wait(None)
        assert type(event) is kind
        assert event.ticket == ticket  # type: ignore[union-attr]
        assert words in repr(event)


def test_who_has_no_place_is_told_and_none_at_all_is_an_error(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    time = [0.0]
    monkeypatch.setattr(RayWorkers, "now", lambda self: time[0])
    asked: list[Any] = []

    def require(*what: Any) -> None:
        asked.append(what)
        raise ClusterError("never")

    monkeypatch.setattr(actors, "require", require)
    workers = RayWorkers(fake.begin, 2, {"CPU": 1.0}, "workers")
    first = next(iter(workers._in_flight))
    assert workers.wait(0) == []
    fake.said[first] = 7
    assert workers.wait(0) == [Up(0)]
    time[0] = 61.0
    with pytest.warns(RaydmWarning, match="1 of 2 workers still wait for a place: .*The others do the work meanwhile"):
        workers.wait(0)
    assert workers.wait(0) == []  # once
    assert not asked
    workers.replace(0)
    time[0] = 200.0
    with pytest.raises(ClusterError, match="never"):
        workers.wait(0)
    assert asked == [(1, {"CPU": 1.0}, "workers")]
