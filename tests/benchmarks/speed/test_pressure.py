"""Who comes in turn when memory is short, and in which order."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.speed.conversations import Session, Turn, session
from benchmarks.speed.parts import pressure
from benchmarks.speed.parts.base import Bench
from benchmarks.speed.wire import Answer

BENCH = cast(Bench, SimpleNamespace(fleet=SimpleNamespace(alone=lambda *_: nullcontext())))


def people(count: int, turns: int) -> list[Session]:
    said: list[dict[str, Any]] = [{"role": r, "text": f"{n}"} for n in range(turns) for r in ("seeker", "counselor")]
    return [session({"id": str(number), "turns": said}) for number in range(count)]


def test_each_long_enough_conversation_comes_once_with_its_last_two_turns() -> None:
    found = pressure.candidates([*people(3, 7), *people(9, 5)[3:]])
    assert sorted(one.name for one in found) == ["0", "1", "2"]
    assert [turn.newest for turn in found[0].turns] == ["4", "5"]


@pytest.mark.asyncio
async def test_all_have_had_one_turn_before_any_has_the_next() -> None:
    asked = []

    async def ask(session: Session, turn: Turn) -> Answer:
        asked.append((session.name, turn.newest))
        return Answer(text=turn.newest)

    answers = await pressure.in_turn(BENCH, "any", [one.part(5, 6) for one in people(2, 6)], ask)
    assert asked == [("0", "4"), ("1", "4"), ("0", "5"), ("1", "5")]
    assert [answer.text for answer in answers] == ["5", "5"]


@pytest.mark.asyncio
async def test_as_many_come_as_four_times_the_memory_holds() -> None:
    async def ask(session: Session, turn: Turn) -> Answer:
        return Answer(prompt_tokens=2000, cached_tokens=900, completion_tokens=100)

    chosen = await pressure.crowd(BENCH, people(20, 2), ask)
    assert [one.name for one in chosen] == [str(number) for number in range(11)]  # 10.24 times 1,200 tokens
    with pytest.raises(RuntimeError, match="too few"):
        await pressure.crowd(BENCH, people(10, 2), ask)


def test_turns_that_failed_are_no_misses() -> None:
    answers = [
        Answer(prompt_tokens=900, cached_tokens=600),
        Answer("cut", prompt_tokens=500),
        Answer(prompt_tokens=100),
    ]
    assert pressure.hits(answers) == {"rate": 0.6, "computed_a_turn": 200, "of": 2}
