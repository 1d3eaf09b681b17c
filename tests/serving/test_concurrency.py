import asyncio

import pytest

from psychechat.concurrency import together

pytestmark = pytest.mark.asyncio


async def _after(turns: int, value: int | Exception, ended: list[object] | None = None) -> int:
    try:
        for _ in range(turns):
            await asyncio.sleep(0)
        if isinstance(value, Exception):
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
