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
    """The results, in order. The first failure cancels the rest and is raised as itself, not in a group."""
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failed:
        failure = failed.exceptions[0]
    if failure is not None:
        raise failure
    return tuple(task.result() for task in tasks)
