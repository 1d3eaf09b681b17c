"""Time and tasks: the type of a clock, who may cancel a task, coroutines side by side in one scope, places that owners
take in turn, silence that is noticed, and answers that are kept for a while.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar, overload

from psychechat.errors import EngineUnavailable

Clock = Callable[[], float]
"""Seconds, from wherever its owner counts them."""

A = TypeVar("A")
B = TypeVar("B")


def is_cancelled() -> bool:
    """Whether somebody has cancelled the task that runs, be it a timeout."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def foreign_cancellation_fails() -> Iterator[None]:
    """EngineUnavailable in the place of a CancelledError while nobody has cancelled the task: something below it was,
    which is a failure of that part. As CancelledError it would pass for a client that has left.
    """
    try:
        yield
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        raise EngineUnavailable("A part of the server is not available.") from None


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """For what another part does: raises TimeoutError once `seconds` are over, EngineUnavailable if it was cancelled
    there.
    """
    async with asyncio.timeout(seconds):
        with foreign_cancellation_fails():
            yield


@overload
async def together(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B], /) -> tuple[A, B]: ...
@overload
async def together(*coroutines: Coroutine[Any, Any, A]) -> tuple[A, ...]: ...
async def together(*coroutines: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """The results, in order. The first failure cancels the rest and is raised as itself, not in a group; so is a
    CancelledError of one that nobody cancelled, as EngineUnavailable.

    No `asyncio.TaskGroup`: in Python 3.11 one whose task fails while it waits leaves its parent marked as cancelled,
    and a timeout around the parent then ends in CancelledError.
    """
    tasks = [asyncio.create_task(_by_itself(coroutine)) for coroutine in coroutines]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failures = [error for task in tasks if task.done() and (error := task.exception()) is not None]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[0]
    return tuple(task.result().value for task in tasks)


async def _by_itself(coroutine: Coroutine[Any, Any, A]) -> "Unshown[A]":
    with foreign_cancellation_fails():
        return Unshown(await coroutine)


class Unshown(Generic[A]):
    """Result of a task that may hold somebody's words: asyncio's debug log shows results as they show themselves."""

    __slots__ = ("value",)

    def __init__(self, value: A) -> None:
        self.value = value


async def unshown(coroutine: Coroutine[Any, Any, A]) -> Unshown[A]:
    return Unshown(await coroutine)


_Entry = tuple[int, int, asyncio.Future[None]]
"""One who waits: how far behind, when it came, and what tells it that it has a place."""


class FairPlaces:
    """A semaphore whose waiters stand in a row for each owner. A free place goes to the next owner, round robin."""

    def __init__(self, number: int) -> None:
        self._free, self._came = number, 0
        self._rows: dict[str, list[_Entry]] = {}
        """By owner, whose turn comes first before the others; none is empty."""

    @asynccontextmanager
    async def place(self, owner: str, *, behind: int = 0) -> AsyncIterator[None]:
        """Held until the end of `async with`. In the owner's own row lower `behind` goes first, then who came first."""
        if self._free:
            self._free -= 1
        else:
            granted = asyncio.get_running_loop().create_future()
            self._came += 1
            entry = behind, self._came, granted
            heappush(self._rows.setdefault(owner, []), entry)
            try:
                await granted
            except asyncio.CancelledError:
                if granted.cancelled():
                    self._leave(owner, entry)
                else:  # granted at the same moment
                    self._pass_on()
                raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._rows:
            owner, row = next(iter(self._rows.items()))
            _, _, granted = heappop(row)
            if granted.cancelled():  # and has not left yet: the turn stays its owner's
                if not row:
                    del self._rows[owner]
                continue
            del self._rows[owner]
            if row:
                self._rows[owner] = row  # behind all others
            granted.set_result(None)
            return
        self._free += 1

    def _leave(self, owner: str, entry: _Entry) -> None:
        """So that rows hold only who waits, also while no place comes free."""
        row = self._rows.get(owner, [])
        if entry in row:  # else its turn came before it could leave
            row.remove(entry)
            heapify(row)
            if not row:
                del self._rows[owner]


class Silence:
    """Calls back whenever nothing has come for so many seconds. It takes a timer for each such time, not for each thing
    that comes. Close it, or it calls for ever.
    """

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._loop, self._seconds, self._call = asyncio.get_running_loop(), seconds, call
        self._since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._look)

    def broken(self) -> None:
        """Something has come."""
        self._since = self._loop.time()

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._loop.time() >= self._since + self._seconds:
            self.broken()
            self._call()
        self._timer = self._loop.call_at(self._since + self._seconds, self._look)


class Kept(Generic[A]):
    """What `ask` answered, for so many seconds. However many want to know meanwhile, it is asked once at a time."""

    def __init__(self, ask: Callable[[], Awaitable[A]], seconds: float, clock: Clock = time.monotonic) -> None:
        self._ask, self._seconds, self._clock = ask, seconds, clock
        self._asking = asyncio.Lock()
        self._answer: tuple[A, float] | None = None
        """And until when it is kept."""

    async def __call__(self) -> A:
        async with self._asking:
            if self._answer is None or self._clock() >= self._answer[1]:
                self._answer = None
                answer = await self._ask()
                self._answer = answer, self._clock() + self._seconds
            return self._answer[0]
