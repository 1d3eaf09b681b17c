"""Turns: so many at once, at a rate, or one after the other; and `/health` meanwhile."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable

import aiohttp

from benchmarks.overload.client import Ended, turn
from benchmarks.overload.conversations import Conversation, Draw
from psychechat.concurrency import Clock

MOST_CRISIS_TURNS, FEWEST_CRISIS_TURNS = 60, 15
"""One after the other: so many, unless that takes too long."""
PATIENCE = 3.0
"""Times that what is too long may be exceeded where there are still too few."""


def after(seconds: float, clock: Clock = time.monotonic) -> Callable[[], bool]:
    """Whether they have passed."""
    end = clock() + seconds
    return lambda: clock() >= end


async def closed(client: aiohttp.ClientSession, at_once: int, over: Callable[[], bool], draw: Draw) -> list[Ended]:
    """So many conversations at once, each followed by the next."""
    ended: list[Ended] = []

    async def one() -> None:
        while not over():
            conversation = draw()
            while not (over() or conversation.is_over):
                ended.append(await turn(client, conversation))

    await asyncio.gather(*(one() for _ in range(at_once)))
    return ended


async def opened(
    client: aiohttp.ClientSession, rate: float, seconds: float, chance: random.Random, draw: Draw
) -> list[Ended]:
    """Turns that come at this rate, a second, at random moments, whatever becomes of those before them.

    Each is the next of the conversation that has waited longest since its last reply, or else begins another one.
    """
    ready: deque[Conversation] = deque()

    async def one(conversation: Conversation) -> Ended:
        ended = await turn(client, conversation)
        if not conversation.is_over:
            ready.append(conversation)
        return ended

    tasks = []
    due = time.monotonic()
    end = due + seconds
    while due < end:
        # One that comes late, because this machine was busy, does not put off those after it.
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(ready.popleft() if ready else draw())))
        due += chance.expovariate(rate)
    return await asyncio.gather(*tasks)


async def one_after_the_other(client: aiohttp.ClientSession, seconds: float, draw: Draw) -> list[Ended]:
    """Conversations of a crisis turn each, until enough are answered or the time is up; longer if there are few yet."""
    ended: list[Ended] = []
    answered, over, long_over = 0, after(seconds), after(PATIENCE * seconds)
    while answered < MOST_CRISIS_TURNS and not (long_over() if len(ended) < FEWEST_CRISIS_TURNS else over()):
        ended.append(await turn(client, draw()))
        answered += ended[-1].whole
    return ended


async def health(client: aiohttp.ClientSession, over: Callable[[], bool]) -> list[float]:
    """Seconds of each `/health`, asked ten times a second."""
    took = []
    while not over():
        started = time.perf_counter()
        async with client.get("/health") as response:
            response.raise_for_status()
        took.append(time.perf_counter() - started)
        await asyncio.sleep(0.1)
    return took
