"""Work that threads do ahead of who waits for it, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    begin: Callable[[], object] = lambda: None,
    name: str = "raydm-ahead",
) -> Iterator[Result]:
    """What work makes of each item, in their order; at most 2 T + 1 items are held.

    Args:
        work: is called by the threads, several at a time.
        items: are taken here, while the threads work.
        threads: T >= 1.
        begin: is called by each thread first.
        name: of the threads.

    Raises:
        Exception: what work raised; items behind it are left.
    """
    pool = ThreadPoolExecutor(threads, name, initializer=begin)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:  # one is done by each thread, one waits for it
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
