"""Time that costs none, and that waits for whoever is outside the loop."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.support import virtual_time
from tests.support.virtual_time import clock

HOUR = 3600.0


def timed(coroutine: Coroutine[Any, Any, object]) -> float:
    """How long it took, in the loop's time."""

    async def between() -> float:
        began = clock()
        await coroutine
        return clock() - began

    return virtual_time.run(between())


def test_hours_pass_at_once() -> None:
    began = time.monotonic()
    assert timed(asyncio.sleep(99 * HOUR)) == 99 * HOUR
    assert time.monotonic() - began < HOUR


def test_who_is_due_first_goes_first_at_its_time() -> None:
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, clock()))

    async def all_of_them() -> None:
        began = clock()
        asyncio.get_running_loop().call_later(2 * HOUR, lambda: seen.append(("called", clock())))
        await asyncio.gather(wait("third", 3 * HOUR), wait("first", HOUR))
        assert [(name, at - began) for name, at in seen] == [("first", HOUR), ("called", 2 * HOUR), ("third", 3 * HOUR)]

    virtual_time.run(all_of_them())


def test_a_timeout_ends_what_takes_longer_and_nothing_else() -> None:
    async def both() -> None:
        async with asyncio.timeout(HOUR):
            await asyncio.sleep(HOUR / 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HOUR):
                await asyncio.Event().wait()

    assert timed(both()) == HOUR * 1.5


def test_work_takes_no_time() -> None:
    async def work() -> None:
        for _ in range(1_000):
            await asyncio.sleep(0)

    assert timed(work()) == 0


def test_a_thread_at_work_is_waited_for() -> None:
    released = threading.Event()

    async def work() -> None:
        waiting = asyncio.create_task(asyncio.sleep(HOUR))
        asyncio.get_running_loop().call_later(0.01, released.set)
        assert await asyncio.to_thread(released.wait, 60)
        assert not waiting.done()
        await waiting

    assert timed(work()) == pytest.approx(HOUR, abs=1e-6)


def test_a_deadline_holds_for_a_thread_at_work() -> None:
    released = threading.Event()

    async def work() -> None:
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.to_thread(released.wait, 60)
        finally:
            released.set()

    assert timed(work()) < 60


def test_what_another_thread_has_said_goes_before_any_timer() -> None:
    async def listen() -> float:
        loop, said = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(said.set,))
        thread.start()
        thread.join()
        async with asyncio.timeout(0.001):
            await said.wait()
        return clock()

    virtual_time.run(listen())


def test_an_open_socket_is_waited_for() -> None:
    """Its other end may be another process, which answers in its own time."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        writer.write(await reader.readline())
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            async with asyncio.timeout(60):
                assert await reader.readline() == b"hello\n"
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(HOUR)

    assert HOUR <= timed(ask()) < HOUR + 60
