"""The controller, with workers in simulated time: no Ray, no threads, no sleeping."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from raydm.distributed.controller import Controller
from raydm.distributed.simulated import Act, SimulatedWorkers
from raydm.distributed.workers import Done, Dropped, Limits
from raydm.errors import ClusterError, RolloutError


class Numbers:
    """Shards whose work is their number; a result is its square. None is refused."""

    def __init__(self, count: int, step: int = 3) -> None:
        self.count, self.step = count, step

    def __len__(self) -> int:
        return self.count

    def work(self, shard: int) -> int:
        return shard

    def accepts(self, result: Any) -> bool:
        return result is not None

    def name(self, shard: int) -> str:
        return f"Step {self.step}, rollouts {2 * shard} to {2 * shard + 1} (seeds {shard}, {shard + 7})"

    def failed(self, shard: int, error: BaseException) -> Exception:
        return RolloutError(f"shard {shard}: {error!r}")


def workers(
    count: int, seconds: Callable[[int, int, int], float | Act], **more: float
) -> tuple[SimulatedWorkers, Counter[int]]:
    """Workers that take so many seconds: a function of worker, shard, and how often that shard was begun before."""
    begun: Counter[int] = Counter()

    def act(worker: int, shard: int) -> Act:
        found = seconds(worker, shard, begun[shard])
        begun[shard] += 1
        return found if isinstance(found, Act) else Act(found, shard**2)

    return SimulatedWorkers(count, act, **more), begun


def squares(count: int) -> list[int]:
    return [n**2 for n in range(count)]


def test_results_come_in_the_order_of_the_shards_and_none_is_done_twice() -> None:
    crew, begun = workers(3, lambda worker, shard, again: 1.0 + (shard * 7 % 5) / 10)
    assert Controller(crew).run(Numbers(20)) == squares(20)
    assert begun == Counter(range(20))


def test_a_fast_worker_gets_more_shards_than_a_slow_one() -> None:
    crew, _ = workers(2, lambda worker, shard, again: (1.0, 1.8)[worker])
    Controller(crew).run(Numbers(28))
    share = Counter(worker for worker, _ in crew.begun)
    assert share == {0: 18, 1: 10}
    assert crew.clock == pytest.approx(18.0)  # turns would have taken 14 x 1.8 = 25.2


def test_no_worker_waits_for_its_next_shard() -> None:
    given: list[float] = []

    class Watched(SimulatedWorkers):
        def submit(self, worker: int, work: Any) -> int:
            given.append(self.clock)
            return super().submit(worker, work)

    crew = Watched(2, lambda worker, work: Act(1.0, work**2))
    assert Controller(crew).run(Numbers(8)) == squares(8)
    assert given == [0, 0, 0, 0, 1, 1, 2, 3]  # each has the next in hand before it is done with the last
    one_by_one = Watched(2, lambda worker, work: Act(1.0, work**2))
    given.clear()
    Controller(one_by_one, Limits(ahead=1)).run(Numbers(8))
    assert given == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_waits_behind_a_straggler_is_taken_by_a_free_worker() -> None:
    crew, _ = workers(2, lambda worker, shard, again: 50.0 if (worker, shard) == (0, 0) else 1.0)
    controller = Controller(crew, Limits(slow=1000.0))  # no second copies
    assert controller.run(Numbers(6)) == squares(6)
    assert crew.clock == 50.0
    assert {(1, shard) for shard in range(1, 6)} <= {*crew.begun}


def test_a_worker_that_stays_at_what_nobody_wants_is_replaced_without_blame() -> None:
    crew, _ = workers(3, lambda worker, shard, again: float("inf") if shard == 2 and not again else 1.0)
    controller = Controller(crew, Limits(grace=5.0, deaths=0))
    assert controller.run(Numbers(6)) == squares(6)
    assert crew.clock == pytest.approx(3.0)  # by a second copy
    assert crew.replaced == []
    for _ in range(4):
        assert controller.run(Numbers(6)) == squares(6)
    assert len(crew.replaced) == 1
    assert crew.replaced[0] == crew.begun[2][0]


def test_what_a_slow_worker_begins_is_begun_by_a_free_one_at_once() -> None:
    crew, _ = workers(3, lambda worker, shard, again: 10.0 if worker == 0 else 1.0)
    controller = Controller(crew, Limits(grace=100.0))
    assert controller.run(Numbers(9)) == squares(9)
    for _ in range(4):
        before = crew.clock
        assert controller.run(Numbers(9)) == squares(9)
        assert crew.clock - before <= 5.0  # two workers need 4.5


@pytest.mark.parametrize("slow", [2.0, 3.0])
def test_a_straggler_does_not_hold_the_step(slow: float) -> None:
    crew, begun = workers(4, lambda worker, shard, again: 100.0 if shard == 11 and not again else 1.0)
    assert Controller(crew, Limits(slow=slow)).run(Numbers(12)) == squares(12)
    assert crew.clock == pytest.approx(2.0 + slow + 1.0)  # begun at 2, found slow, and done again
    assert begun[11] == 2
    assert sum(begun.values()) == 13


def test_the_first_result_counts_and_the_other_is_dropped() -> None:
    """The second copy is begun at 2 and would take until 12; the straggler itself is done at 5."""
    crew, begun = workers(2, lambda worker, shard, again: Act((1, 5, 10)[shard + again], (shard, again)))
    controller = Controller(crew)
    assert controller.run(Numbers(2)) == [(0, 0), (1, 0)]
    assert crew.clock == 5.0
    assert begun[1] == 2
    # The next step's one shard goes to the worker that is free, not to the one that is still busy with the copy
    assert controller.run(Numbers(1)) == [(0, 1)]
    assert crew.begun[-1] == (1, 0)


def test_a_step_of_its_own_speed_has_its_own_stragglers() -> None:
    crew, begun = workers(2, lambda worker, shard, again: 10.0)
    controller = Controller(crew)
    controller.run(Numbers(4))
    crew.act = lambda worker, shard: Act(30.0, shard**2)
    begun.clear()
    assert controller.run(Numbers(6)) == squares(6)
    assert len(crew.begun) == 4 + 6


@pytest.mark.parametrize("dead", [0, 1, 5, 9])
def test_a_dead_worker_s_shards_are_done_by_others(dead: int) -> None:
    crew, begun = workers(
        3, lambda worker, shard, again: Act(0.5, dies=True) if shard == dead and not again else 1.0, starts=2.0
    )
    assert Controller(crew).run(Numbers(10)) == squares(10)
    assert len(crew.replaced) == 1
    assert begun[dead] == 2
    assert sum(begun.values()) == 11  # what was queued behind it was not begun


def test_all_workers_die_at_once() -> None:
    crew, begun = workers(8, lambda worker, shard, again: Act(0.5, dies=True) if not again and shard < 8 else 1.0)
    assert Controller(crew).run(Numbers(16)) == squares(16)
    assert sorted(crew.replaced) == list(range(8))
    assert sum(begun.values()) == 24


def test_the_others_go_on_while_one_cannot_be_replaced() -> None:
    def dies_for_good(worker: int, shard: int, again: int) -> float | Act:
        crew.starts = 1e9  # there is no place for another
        return Act(0.5, dies=True) if worker == 1 else 1.0

    crew, _ = workers(2, dies_for_good)
    assert Controller(crew).run(Numbers(5)) == squares(5)
    assert crew.clock < 10


def test_a_shard_that_kills_every_worker_is_given_up_by_name() -> None:
    crew, begun = workers(3, lambda worker, shard, again: Act(1.0, dies=True) if shard == 4 else 1.0)
    with pytest.raises(
        RolloutError,
        match=r"Step 3, rollouts 8 to 9 \(seeds 4, 11\): tried 4 times, and each time the training lost its worker "
        r"\(it was killed\)\..*--shard",
    ):
        Controller(crew).run(Numbers(6))
    assert begun[4] == 4


def test_a_shard_that_hangs_is_tried_elsewhere_and_then_given_up_by_name() -> None:
    crew, _ = workers(3, lambda worker, shard, again: float("inf") if shard == 2 else 1.0)
    controller = Controller(crew, Limits(timeout=30.0, tries=3, slow=1e6))
    with pytest.raises(
        RolloutError,
        match=r"Step 3, rollouts 4 to 5 \(seeds 2, 9\): tried 3 times, .*took longer than 30 s\..*--rollout-timeout",
    ):
        controller.run(Numbers(6))
    assert crew.clock == pytest.approx(90.0)
    assert len({*crew.replaced}) == 3  # each time by another worker
    assert controller.run(Numbers(2)) == squares(2)  # and all can be used again


def test_a_hanging_worker_is_taken_from_its_shard() -> None:
    crew, _ = workers(3, lambda worker, shard, again: float("inf") if shard == 2 and not again else 1.0)
    assert Controller(crew, Limits(timeout=30.0, slow=1e6)).run(Numbers(6)) == squares(6)
    assert crew.replaced == [crew.begun[2][0]]
    assert crew.clock == pytest.approx(31.0)


def test_a_hang_costs_no_timeout_where_another_worker_is_free() -> None:
    crew, _ = workers(3, lambda worker, shard, again: float("inf") if shard == 2 and not again else 1.0)
    controller = Controller(crew, Limits(timeout=30.0))
    assert controller.run(Numbers(6)) == squares(6)
    assert crew.clock == pytest.approx(3.0)
    crew.clock = 40.0  # the worker that still hangs is replaced in a later step
    assert controller.run(Numbers(6)) == squares(6)
    assert len(crew.replaced) == 1


def test_a_worker_that_always_dies_is_given_up_and_then_all_are() -> None:
    crew, _ = workers(2, lambda worker, shard, again: Act(1.0, dies=True) if worker == 0 else 1.0)
    assert Controller(crew, Limits(deaths=3, tries=100)).run(Numbers(40)) == squares(40)
    assert crew.replaced == [0, 0, 0]
    crew, _ = workers(2, lambda worker, shard, again: Act(1.0, dies=True))
    controller = Controller(crew, Limits(deaths=3, tries=100))
    for _ in range(2):  # it does not wait for workers that are no more
        with pytest.raises(ClusterError, match=r"Each of the 2 actors died 4 times in a row.*it was killed"):
            controller.run(Numbers(4))


def test_what_work_raises_is_told_and_the_rest_is_taken_back() -> None:
    crew, _ = workers(2, lambda worker, shard, again: Act(1.0, error=ValueError("no")) if shard == 1 else 1.0)
    controller = Controller(crew)
    with pytest.raises(RolloutError, match=r"shard 1: ValueError\('no'\)"):
        controller.run(Numbers(10))
    crew.act = lambda worker, shard: Act(1.0, shard**2)
    assert controller.run(Numbers(3)) == squares(3)
    assert [shard for _, shard in crew.begun[-3:]] == [0, 1, 2]  # nothing of the first step is left in the queues


@pytest.mark.parametrize("tries", [1, 4])
def test_a_refused_result_is_asked_of_another_worker_once(tries: int) -> None:
    bad, begun = workers(2, lambda worker, shard, again: Act(1.0, None))
    assert Controller(bad, Limits(tries=tries)).run(Numbers(1)) == [None]  # who called says what is wrong with it
    assert begun[0] == min(tries, 2)
    once, _ = workers(2, lambda worker, shard, again: Act(1.0, shard if again else None))
    assert Controller(once).run(Numbers(3)) == [0, 1, 2]
    assert len({worker for worker, shard in once.begun if shard == 1}) == 2


def test_a_lost_result_is_worked_out_again() -> None:
    class Forgetful(SimulatedWorkers):
        lost = 0

        def wait(self, timeout: float | None) -> Any:
            events = super().wait(timeout)
            for k, event in enumerate(events):
                if isinstance(event, Done) and self.lost < 2:
                    self.lost += 1
                    events[k] = Dropped(event.ticket, "the node that held its result is gone")
            return events

    crew = Forgetful(2, lambda worker, work: Act(1.0, work**2))
    assert Controller(crew).run(Numbers(5)) == squares(5)
    assert len(crew.begun) == 7
    always = Forgetful(2, lambda worker, work: Act(1.0, work**2))
    always.lost = -100
    with pytest.raises(RolloutError, match="the node that held its result is gone"):
        Controller(always, Limits(tries=2)).run(Numbers(1))


def test_stragglers_cost_a_step_little() -> None:
    """5 % of 200 workers are 10 times slower; and their next steps, once it is known who they are."""
    means = []
    for share in (0.0, 0.05):
        rng = random.Random(0)
        slow = {worker for worker in range(200) if rng.random() < share}
        crew, _ = workers(200, lambda worker, *_: rng.uniform(0.8, 1.25) * (10 if worker in slow else 1))  # noqa: B023
        controller, times = Controller(crew), [0.0]
        for _ in range(6):
            assert controller.run(Numbers(800)) == squares(800)
            times.append(crew.clock)
        means.append(times[-1] / 6)
        assert max(b - a for a, b in pairwise(times)) <= 1.25 * means[0]
    assert means[1] <= 1.15 * means[0]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_results_are_the_same(seed: int) -> None:
    """Deaths, hangs, stragglers and bad results at random: every result comes, once, in its place."""
    rng = random.Random(seed)

    def seconds(worker: int, shard: int, again: int) -> float | Act:
        what = rng.random()
        if what < 0.05:
            return Act(rng.random(), dies=True)
        if what < 0.08:
            return float("inf")
        if what < 0.12 and not again:
            return Act(rng.random(), None)
        return rng.uniform(0.5, 1.5) * (10 if what < 0.2 else 1)

    crew, _ = workers(7, seconds, starts=3.0)
    controller = Controller(crew, Limits(timeout=40.0, tries=12, deaths=1000))
    for step in range(6):
        assert controller.run(Numbers(rng.randrange(1, 40), step)) is not None
        assert controller.run(Numbers(25, step)) == squares(25)
    in_flight = [copy for copies in controller._in_flight for copy in copies]
    assert {copy.ticket for copy in in_flight} == {*controller._copies}
    assert all(copy.shard is None for copy in in_flight)
