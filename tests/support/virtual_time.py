"""An event loop whose time jumps to its next timer, so that tests wait for hours at no cost, and always equally long.

    pytestmark = virtual_time.mark  # instead of pytest.mark.asyncio: for a module, a class or one test

    async def test_a_place_is_waited_for_a_minute() -> None:
        lane = Lane("generation", "counselor", bounds, Metrics(), virtual_time.clock)
        began = virtual_time.clock()
        ...
        assert virtual_time.clock() - began == 60

    def test_whatever_comes(arrivals: list[int]) -> None:
        virtual_time.run(one_after_the_other(arrivals))  # as asyncio.run, where a test is no coroutine

Everything that asks the loop for the time is bound to it: `asyncio.sleep`, `asyncio.timeout`, `asyncio.wait_for`,
`loop.call_later`. What reads a clock of its own must be given `clock`. The marks need the hook of this module in a
`conftest.py` at or above the tests: `from tests.support.virtual_time import pytest_asyncio_loop_factories`.

Time jumps only while nothing outside the loop can have a word: while an executor works (`asyncio.to_thread`, name
look-ups) or a socket or pipe is open in the loop, it passes as it does everywhere. Only a thread of a test's own is not
seen coming: time may jump ahead of what that has yet to say. What it has said already goes first.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_START = 1_000.0
"""No time of day, and not 0, which is false."""

mark = pytest.mark.asyncio(loop_factories=["virtual"])


def clock() -> float:
    """The running loop's time, in seconds. For whatever takes a clock, of the day or of none."""
    return asyncio.get_running_loop().time()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """To its end, in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """pytest-asyncio's hook. Real time for all that do not name their loop."""
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = _START
        self._at_work = 0
        self._jumping = _JumpingSelector(self._may_jump, self._pass)
        super().__init__(self._jumping)
        self._own = len(self._jumping.get_map())

    def time(self) -> float:
        return self._now

    def run_in_executor(  # type: ignore[override]  # typeshed's has the arguments' types too
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._at_work += 1
        future.add_done_callback(self._done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._at_work += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._at_work -= 1

    def _done(self, _: object) -> None:
        self._at_work -= 1

    def _may_jump(self) -> bool:
        return not self._at_work and len(self._jumping.get_map()) == self._own

    def _pass(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, may_jump: Callable[[], bool], passed: Callable[[float], None]) -> None:
        super().__init__()
        self._may_jump, self._passed = may_jump, passed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is not None and self._may_jump():
            self._passed(timeout)
            return []
        began = time.monotonic()
        ready = super().select(timeout)
        self._passed(time.monotonic() - began)
        return ready
