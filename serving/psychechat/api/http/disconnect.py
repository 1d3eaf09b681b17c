"""Disconnects of clients before their response is complete."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from psychechat.concurrency import unshown

T = TypeVar("T")

CLIENT_LEFT = 499
"""Status that nginx logs for a client that closed its connection; it reaches no client."""


async def before_leaving(request: Request, awaited: Coroutine[Any, Any, object], seconds: float | None = None) -> bool:
    """Wait for `awaited`, at most `seconds`; False if the client disconnected first."""
    leaving = asyncio.create_task(_left(request))
    waiting = asyncio.create_task(awaited)
    try:
        await asyncio.wait({leaving, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return waiting.done() or not leaving.done()
    finally:
        leaving.cancel()
        waiting.cancel()


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Result of `work`; None, and `work` is cancelled, if the client disconnected first."""
    task = asyncio.create_task(unshown(work))
    try:
        return task.result().value if await before_leaving(request, asyncio.wait({task})) else None
    finally:
        await end(task)


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel the task, if it still runs, and wait until its cleanup is done."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not log it


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
