"""A closed loop that ends by the clock, with a clock that the answers move."""

import time

import pytest

from benchmarks.speed import driver
from benchmarks.speed.conversations import Session, Turn
from benchmarks.speed.wire import Answer
from psychechat.conversation import Conversation, Utterance


@pytest.mark.asyncio
@pytest.mark.parametrize(("seconds", "asked"), [(2.5, 3), (100.0, 6), (float("inf"), 6)])
async def test_nobody_asks_once_its_time_is_over(monkeypatch: pytest.MonkeyPatch, seconds: float, asked: int) -> None:
    now = 10.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    turn = Turn(Conversation((Utterance("seeker", "hello"),)))
    sessions = [Session(f"session {number}", (turn, turn)) for number in range(3)]

    async def ask(_: Session, __: Turn) -> Answer:
        nonlocal now
        now += 1
        return Answer()

    load = await driver.closed(sessions, 1, ask, seconds=seconds)
    assert len(load.answers) == asked
    assert load.seconds == asked
