import asyncio
import gc
import sys

import pytest

from psychechat.concurrency import FairPlaces, Kept, Silence, in_time, together
from psychechat.errors import EngineUnavailable
from tests.support import virtual_time

pytestmark = pytest.mark.asyncio


async def _after(turns: int, value: int | BaseException, ended: list[object] | None = None) -> int:
    try:
        for _ in range(turns):
            await asyncio.sleep(0)
        if isinstance(value, BaseException):
            raise value
        return value
    finally:
        if ended is not None:
            ended.append(value)


async def test_results_are_in_order() -> None:
    assert await together(_after(3, 1), _after(0, 2), _after(1, 3)) == (1, 2, 3)
    assert await together() == ()


async def test_the_first_failure_is_raised_as_itself_and_nothing_goes_on() -> None:
    ended: list[object] = []
    error = KeyError("first")
    with pytest.raises(KeyError) as raised:
        await together(_after(9_999, 1, ended), _after(2, error, ended), _after(9_999, 3, ended))
    assert raised.value is error
    assert sorted(map(str, ended)) == sorted(["1", str(error), "3"])


async def test_a_timeout_around_what_failed_before_is_a_timeout() -> None:
    async def fails_then_waits() -> None:
        with pytest.raises(KeyError):
            await together(_after(1, KeyError()), _after(9_999, 1))
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await fails_then_waits()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_cancelled_cancels_all() -> None:
    ended: list[object] = []
    task = asyncio.create_task(together(_after(9_999, 1, ended), _after(9_999, 2, ended)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1, 2]


async def test_one_that_was_cancelled_by_nobody_here_fails_as_itself_and_nothing_goes_on() -> None:
    ended: list[object] = []
    with pytest.raises(EngineUnavailable):
        await together(_after(9_999, 1, ended), _after(2, asyncio.CancelledError(), ended))
    assert len(ended) == 2


async def test_a_part_that_was_cancelled_below_has_failed() -> None:
    with pytest.raises(EngineUnavailable):
        async with in_time(9):
            raise asyncio.CancelledError


async def test_a_part_whose_time_is_up_and_one_whose_task_is_cancelled_end_as_they_do() -> None:
    with pytest.raises(TimeoutError):
        async with in_time(0.01):
            await asyncio.Event().wait()

    async def waits() -> None:
        async with in_time(9):
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class _Deliveries:
    """Through fair places, with the order in which they began."""

    def __init__(self, places: int) -> None:
        self.places, self.order = FairPlaces(places), list[str]()
        self.most = self._now = 0

    async def deliver(self, owner: str, name: str, behind: int = 0) -> None:
        async with self.places.place(owner, behind=behind):
            self.order.append(name)
            self._now += 1
            self.most = max(self.most, self._now)
            await asyncio.sleep(0)
            self._now -= 1


async def test_places_go_round_the_owners_and_within_one_by_what_is_behind_then_first_come() -> None:
    fair = _Deliveries(2)
    again = [fair.deliver("flood", f"again {n}", behind=2) for n in range(2)]
    first = [fair.deliver("flood", f"first {n}", behind=1) for n in range(4)]
    others = [fair.deliver(owner, f"{owner} {n}") for owner in ("ward", "school") for n in range(2)]
    await together(fair.deliver("flood", "a"), fair.deliver("flood", "b"), *again, *first, *others)
    flood = ["first 0", "first 1", "first 2", "first 3", "again 0", "again 1"]
    assert fair.order == ["a", "b", flood[0], "ward 0", "school 0", flood[1], "ward 1", "school 1", *flood[2:]]
    assert fair.most == 2


async def test_who_stops_waiting_takes_no_place_with_it() -> None:
    """Before its turn, and in the moment in which it comes."""
    fair = _Deliveries(1)
    async with fair.places.place("ward"):
        gone, lucky, last = [asyncio.create_task(fair.deliver("ward", name)) for name in ("gone", "lucky", "last")]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
    lucky.cancel()
    await asyncio.wait_for(last, 1)
    assert fair.order == ["last"]
    await asyncio.gather(gone, lucky, return_exceptions=True)
    await asyncio.wait_for(together(fair.deliver("ward", "a"), fair.deliver("ward", "b")), 1)
    assert fair.most == 1


async def test_who_stops_waiting_is_forgotten_at_once() -> None:
    """Also while no place comes free, alone in its row and before one that stays: else memory grows with each one.

    A row's entries hold `behind`, so that its references tell how many there are.
    """
    fair = _Deliveries(1)
    behind = int("1000000")
    before = sys.getrefcount(behind)
    async with fair.places.place("ward"):
        stays = asyncio.create_task(fair.deliver("flood", "stays", behind=behind + 1))
        for owner in ("flood", "alone"):
            gone = [asyncio.create_task(fair.deliver(owner, "gone", behind)) for _ in range(50)]
            await asyncio.sleep(0)
            for task in gone:
                task.cancel()
            await asyncio.wait(gone)
        del gone, task
        gc.collect()
        assert sys.getrefcount(behind) == before
    await asyncio.wait_for(stays, 1)
    assert fair.order == ["stays"]


async def test_an_owner_keeps_its_turn_where_the_first_in_its_row_stops_waiting() -> None:
    fair = _Deliveries(1)
    async with fair.places.place("school"):
        gone, *others = [
            asyncio.create_task(fair.deliver(owner, name))
            for owner, name in [("ward", "gone"), ("ward", "ward"), ("flood", "flood")]
        ]
        await asyncio.sleep(0)
        gone.cancel()  # and the place comes free before it hears of it
    await asyncio.wait_for(asyncio.gather(*others), 1)
    assert fair.order == ["ward", "flood"]


class Asked:
    """Answers how often it was asked, once it is released."""

    def __init__(self) -> None:
        self.times, self.now = 0, 0.0
        self.released = asyncio.Event()
        self.kept = Kept(self._answer, 1.0, lambda: self.now)

    async def _answer(self) -> int:
        self.times += 1
        await self.released.wait()
        if self.times == 2:
            raise KeyError
        return self.times


async def test_who_asks_meanwhile_or_soon_after_hears_the_same() -> None:
    asked = Asked()
    many = [asyncio.create_task(asked.kept()) for _ in range(9)]
    await asyncio.sleep(0)
    asked.now = 5.0  # it is kept from when it was told, not from when it was asked
    asked.released.set()
    assert set(await asyncio.gather(*many)) == {1}
    asked.now = 5.9
    assert await asked.kept() == 1


async def test_what_is_old_or_failed_is_not_kept() -> None:
    asked = Asked()
    asked.released.set()
    assert await asked.kept() == 1
    asked.now = 1.0
    with pytest.raises(KeyError):
        await asked.kept()
    assert await asked.kept() == 3


async def test_who_leaves_takes_no_answer_from_the_others() -> None:
    asked = Asked()
    leaving, staying = (asyncio.create_task(asked.kept()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    asked.times = 9
    asked.released.set()
    assert await staying == 10
    assert leaving.cancelled()


@virtual_time.mark
async def test_silence_is_noticed_whenever_it_has_lasted() -> None:
    began, found = virtual_time.clock(), list[float]()
    silence = Silence(5.0, lambda: found.append(virtual_time.clock() - began))
    for seconds in (3.0, 4.0, 4.5, 12.0):  # between one thing that comes and the next
        await asyncio.sleep(seconds)
        silence.broken()
    silence.close()
    await asyncio.sleep(60)
    assert found == [16.5, 21.5]
