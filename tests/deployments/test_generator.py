"""What a replica sends is bounded, however many streams it has, and one stream alone does not wait."""

import asyncio
from contextlib import aclosing

import pytest

from psychechat.engines.base import Call, Delta, Message, Sampling, Stage, StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat_ray.generator import Generator, pause
from psychechat_ray.sent_call import SentCall
from tests.support import virtual_time

CALL = SentCall.of(Call("r", "s"))
WORDS = [f"w{number}" for number in range(100)]


class Replica(Generator):
    async def __init__(self) -> None:  # type: ignore[misc]
        answers = {StageName.REPLY: [" ".join(WORDS)]}
        self._engine = ScriptedGenerator(answers, seconds_per_word=0.005, clock=virtual_time.clock)
        self._gather_seconds = 0.05

    @property
    def streams(self) -> int:
        return self._streams


async def replica() -> Replica:
    made = Replica.__new__(Replica)
    await made.__init__()  # type: ignore[misc]
    return made


async def read(generator: Generator) -> list[Delta]:
    asked = generator.generate([Message("user", "Hello.")], Stage(StageName.REPLY), Sampling(200), CALL)
    return [delta async for delta in asked if delta is not None]


async def streams(count: int) -> tuple[Replica, list[list[Delta]]]:
    """A replica, and what so many who ask at once have read of it."""
    generator = await replica()
    return generator, await asyncio.gather(*(read(generator) for _ in range(count)))


@pytest.mark.parametrize("under_way", [1, 16, 64])
def test_a_replica_sends_a_thousand_messages_a_second(under_way: int) -> None:
    assert under_way / pause(under_way, 1.0) == pytest.approx(1000)


def test_text_flows_however_many_streams_there_are() -> None:
    assert pause(5000, 0.05) == 0.05


def test_the_words_of_many_streams_leave_together_and_whole() -> None:
    generator, found = virtual_time.run(streams(60))
    for deltas in found:
        assert "".join(delta.content for delta in deltas).split() == WORDS
        assert deltas[-1].finish_reason == "stop"
        assert len(deltas) < len(WORDS) / 4
    assert generator.streams == 0


def test_one_stream_alone_hardly_waits() -> None:
    _, [deltas] = virtual_time.run(streams(1))
    assert len(deltas) > len(WORDS) / 2


@pytest.mark.asyncio
async def test_a_scripted_engine_has_no_limits() -> None:
    assert await (await replica()).check_health() == ()


@pytest.mark.asyncio
async def test_a_stream_that_is_closed_early_counts_no_more() -> None:
    generator = await replica()
    asked = generator.generate([Message("user", "Hello.")], Stage(StageName.REPLY), Sampling(200), CALL)
    async with aclosing(asked) as deltas:
        await anext(deltas)
        await anext(deltas)
        assert generator.streams == 1
    assert generator.streams == 0
