"""Work in pieces: who is urgent goes first, who is short does not wait for who is long, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from psychechat.engines.vllm.urgent_first import Pieces, UrgentFirst

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def thread() -> AsyncIterator[UrgentFirst]:
    running = UrgentFirst("test")
    yield running
    running.close()


class Work:
    """Jobs that note each of their pieces. Nothing begins before `gate` is set."""

    def __init__(self, thread: UrgentFirst) -> None:
        self._thread, self.gate, self.done = thread, threading.Event(), list[str]()
        self._first = asyncio.create_task(thread.run(self._closed(), -9))

    def _closed(self) -> Pieces[None]:
        assert self.gate.wait(10)
        yield

    def _pieces(self, name: str, many: int) -> Pieces[str]:
        for _ in range(many):
            self.done.append(name)
            yield
        return name

    async def begin(self, name: str, many: int, priority: int = 0) -> "asyncio.Task[str]":
        task = asyncio.create_task(self._thread.run(self._pieces(name, many), priority))
        await asyncio.sleep(0)  # it is in the queue
        return task


async def test_the_urgent_goes_before_all_pieces_of_others(thread: UrgentFirst) -> None:
    work = Work(thread)
    tasks = [await work.begin("long", 3), await work.begin("urgent", 2, priority=-1)]
    work.gate.set()
    assert await asyncio.gather(*tasks) == ["long", "urgent"]
    assert work.done == ["urgent"] * 2 + ["long"] * 3


async def test_the_short_does_not_wait_for_the_end_of_the_long(thread: UrgentFirst) -> None:
    work = Work(thread)
    tasks = [await work.begin("long", 4), await work.begin("short", 1)]
    work.gate.set()
    await asyncio.gather(*tasks)
    assert work.done == ["long", "short", "long", "long", "long"]


async def test_nobody_works_for_who_has_left(thread: UrgentFirst) -> None:
    work = Work(thread)
    left, stays = await work.begin("left", 3), await work.begin("stays", 1)
    left.cancel()
    await asyncio.sleep(0)
    work.gate.set()
    assert await stays == "stays"
    assert work.done == ["stays"]


async def test_what_fails_fails_alone(thread: UrgentFirst) -> None:
    def failing() -> Pieces[None]:
        yield
        raise LookupError("this one")

    with pytest.raises(LookupError, match="this one"):
        await thread.run(failing(), 0)
    assert await (await Work(thread).begin("next", 1, priority=-10)) == "next"


async def test_who_waits_when_it_closes_is_cancelled(thread: UrgentFirst) -> None:
    work = Work(thread)
    waits = await work.begin("waits", 1)
    thread.close()
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waits
    with pytest.raises(asyncio.CancelledError):
        await (await work.begin("late", 1))
    assert work.done == []
