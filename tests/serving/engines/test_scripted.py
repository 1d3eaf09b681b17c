"""The scripted engine keeps an engine's pace: what is due together leaves together, and nothing is lost."""

import asyncio
from dataclasses import replace

import pytest

from psychechat.engines.base import Call, Delta, Load, Message, Sampling, Stage, StageName
from psychechat.engines.scripted import ScriptedGenerator
from tests.support import virtual_time

pytestmark = virtual_time.mark

ASK, STAGE = [Message("user", "hello")], Stage(StageName.REPLY, thinks=True)
WORDS = [f"w{number}" for number in range(20)]
TEXT = f"<think>a plan</think>{' '.join(WORDS)}"


def scripted(**timing: float) -> ScriptedGenerator:
    return ScriptedGenerator({StageName.REPLY: [TEXT]}, clock=virtual_time.clock, **timing)  # type: ignore[arg-type]


async def test_a_slow_reader_gets_what_is_due_in_one_piece() -> None:
    deltas: list[Delta] = []
    async for delta in scripted(seconds_per_word=0.01).generate(ASK, STAGE, Sampling(100), Call("r", "s")):
        deltas.append(delta)
        await asyncio.sleep(0.08)
    assert "".join(delta.content for delta in deltas) == " ".join(WORDS)
    assert "".join(delta.reasoning for delta in deltas) == "a plan"
    assert len(deltas) < len(WORDS) / 2
    assert all(delta.content or delta.reasoning or delta.finish_reason for delta in deltas)


async def test_more_than_it_takes_at_once_wait_and_its_load_says_so() -> None:
    engine = scripted(seconds_per_word=0.005, max_num_seqs=2, cache_words=100)

    async def one() -> float:
        stream = engine.generate(ASK, STAGE, Sampling(100), Call("r", "s"))
        await anext(stream)
        started = virtual_time.clock()
        assert [delta async for delta in stream]
        return started

    assert engine.load() == Load()
    tasks = [asyncio.create_task(one()) for _ in range(4)]
    await asyncio.sleep(0)
    assert engine.load() == Load(2, 2, 2 * (1 + 22) / 100)
    tasks[3].cancel()  # it leaves the queue
    await asyncio.sleep(0)
    assert engine.load().num_requests_waiting == 1
    first, second, third = await asyncio.gather(*tasks[:3])
    assert third - max(first, second) > 0.05  # half the time that a text takes
    assert engine.load() == Load()


async def test_the_first_word_takes_longer() -> None:
    started = virtual_time.clock()
    stream = scripted(seconds_per_word=0.001, first_seconds=0.2).generate(ASK, STAGE, Sampling(100), Call("r", "s"))
    await anext(stream)
    assert virtual_time.clock() - started >= 0.2
    await stream.aclose()


@pytest.mark.parametrize("seconds", [0.0, 0.001])
async def test_thinking_that_nobody_is_shown_does_not_travel(seconds: float) -> None:
    stage = replace(STAGE, tells_thinking=False)
    stream = scripted(seconds_per_word=seconds).generate(ASK, stage, Sampling(100), Call("r", "s"))
    deltas = [delta async for delta in stream]
    assert not any(delta.reasoning for delta in deltas)
    assert "".join(delta.content for delta in deltas) == " ".join(WORDS)
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.reasoning_tokens == 2


async def test_where_texts_are_given_the_answer_is_one_of_them() -> None:
    stage = Stage(StageName.REPLY, thinks=True, choices=("Go on.", "w0 w1"))
    deltas = [delta async for delta in scripted().generate(ASK, stage, Sampling(100), Call("r", "s"))]
    assert "".join(delta.content for delta in deltas) == "Go on."
    assert "".join(delta.reasoning for delta in deltas) == "a plan"
