"""What the controller asks of workers, and what it hears from them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

Ticket = Hashable  # of one shard on one worker


@dataclass(frozen=True)
class Done:
    """A shard's result came."""

    ticket: Ticket
    result: Any


@dataclass(frozen=True)
class Raised:
    """A shard's work raised something."""

    ticket: Ticket
    error: BaseException


@dataclass(frozen=True)
class Dropped:
    """A ticket that nothing more will come of: it was cancelled, or its result was lost."""

    ticket: Ticket
    why: str


@dataclass(frozen=True)
class Died:
    """A worker is gone, and with it all that it had in flight."""

    worker: int
    why: str


@dataclass(frozen=True)
class Up:
    """A worker can work from now on."""

    worker: int


Event = Done | Raised | Dropped | Died | Up


class Workers(Protocol):
    """Workers 0, 1, ..., each of which takes its shards one after the other. All are told `Up` before they are used."""

    def __len__(self) -> int: ...

    def now(self) -> float:
        """The time in seconds."""
        ...

    def submit(self, worker: int, work: Any) -> Ticket:
        """Hands work to a worker, which takes it after what it was given before."""
        ...

    def wait(self, timeout: float | None) -> list[Event]:
        """What happened: some events, or none after so many seconds (None: no limit)."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Says that nobody wants a result any more. What becomes of the ticket is told by an event all the same."""
        ...

    def replace(self, worker: int) -> None:
        """Ends what there is of a worker, without any event of its tickets, and begins another in its place."""
        ...


class Shards(Protocol):
    """The shards of one step."""

    def __len__(self) -> int: ...

    def work(self, shard: int) -> Any:
        """What a worker is given; asked for when it is handed over, and again when it is tried again."""
        ...

    def accepts(self, result: Any) -> bool:
        """Whether a result is sound; another worker is asked once where it is not."""
        ...

    def name(self, shard: int) -> str:
        """Step, rollouts and seeds, to begin a message with."""
        ...

    def failed(self, shard: int, error: BaseException) -> Exception:
        """The error for work that raised this."""
        ...


@dataclass(frozen=True)
class Limits:
    """What is put up with.

    Attributes:
        timeout: seconds that a shard may take on a worker, > 0.
        tries: how often a shard may lose its worker, or its time, before it is given up, >= 1.
        ahead: shards that each worker holds while there are many, the one it works on among them: the next is there
            when it is done, its arguments sent meanwhile.
        slow: a shard that takes so many times the median of its step is begun by a free worker too.
        least: seconds before that is done.
        copies: of a shard at once.
        grace: seconds that a worker may go on with what nobody wants any more, before it is replaced: what that costs.
        deaths: how often in a row, without a result in between, a worker is replaced.
    """

    timeout: float = 3600.0
    tries: int = 4
    ahead: int = 2
    slow: float = 2.0
    least: float = 0.1
    copies: int = 3
    grace: float = 5.0
    deaths: int = 10
