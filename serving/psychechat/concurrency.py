"""Time and tasks: the type of a clock, and coroutines side by side in one scope."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

Clock = Callable[[], float]
"""Seconds, from wherever its owner counts them."""

A = TypeVar("A")
B = TypeVar("B")


@overload
async def together(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B], /) -> tuple[A, B]: ...
@overload
async def together(*coroutines: Coroutine[Any, Any, A]) -> tuple[A, ...]: ...
async def together(*coroutines: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """The results, in order. The first failure cancels the rest and is raised as itself, not in a group.

    No `asyncio.TaskGroup`: in Python 3.11 one whose task fails while it waits leaves its parent marked as cancelled,
    and a timeout around the parent then ends in CancelledError.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
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
    return tuple(task.result() for task in tasks)
