"""Who asks when: closed loop, where each turn follows the one before, and open loop, where people come as they come."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks.speed.conversations import Session, Turn
from benchmarks.speed.wire import Answer

Ask = Callable[[Session, Turn], Awaitable[Answer]]


@dataclass(frozen=True)
class Load:
    """What a load did. `seconds` is its wall time."""

    answers: tuple[Answer, ...]
    seconds: float


async def closed(
    sessions: Sequence[Session], at_once: int, ask: Ask, *, think: float = 0.0, seconds: float = math.inf
) -> Load:
    """So many people at once, each through one conversation after the other. `think`: seconds before each next turn.

    `seconds`: after which nobody asks any more; who waits for an answer then still gets it.
    """
    waiting = list(reversed(sessions))
    answers: list[Answer] = []

    async def person() -> None:
        while waiting:
            session = waiting.pop()
            for number, turn in enumerate(session.turns):
                if time.perf_counter() > started + seconds:
                    return
                if number and think:
                    await asyncio.sleep(think)
                answers.append(await ask(session, turn))

    started = time.perf_counter()
    await asyncio.gather(*(person() for _ in range(at_once)))
    return Load(tuple(answers), time.perf_counter() - started)


async def opened(sessions: Sequence[Session], rate: float, ask: Ask, *, seed: str, think: float = 0.0) -> Load:
    """People who come at this rate, a second, at random moments, whatever becomes of those before them."""
    chance = random.Random(seed)
    started = time.perf_counter()

    async def person(session: Session) -> list[Answer]:
        answers = []
        for number, turn in enumerate(session.turns):
            if number and think:
                await asyncio.sleep(think)
            answers.append(await ask(session, turn))
        return answers

    tasks = []
    for session in sessions:
        tasks.append(asyncio.create_task(person(session)))
        await asyncio.sleep(chance.expovariate(rate))
    answers = [answer for one in await asyncio.gather(*tasks) for answer in one]
    return Load(tuple(answers), time.perf_counter() - started)
