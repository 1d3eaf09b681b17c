"""What a replica sends is bounded, however many streams it has, and one stream alone does not wait."""

import asyncio
from contextlib import aclosing

import pytest

from psychechat.engines.base import Call, Delta, Message, Sampling, Stage, StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat_ray.departures import Departures, pause
from psychechat_ray.generator import Generator
from psychechat_ray.sent_call import SentCall
from tests.support import virtual_time

CALL = SentCall.of(Call("r", "s"))
WORDS = [f"w{number}" for number in range(100)]


class Replica(Generator):
    async def __init__(self) -> None:  # type: ignore[misc]
        answers = {StageName.REPLY: [" ".join(WORDS)]}
        self._engine = ScriptedGenerator(answers, seconds_per_word=0.005, clock=virtual_time.clock)
        self._departures = Departures(0.05)

    @property
    def streams(self) -> int:
        return self._departures.streams


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


async def leaving(departures: Departures, after: float, number: int) -> list[float]:
    """When so many messages of a stream left that begins `after` so many seconds."""
    await asyncio.sleep(after)
    with departures.stream():
        times = []
        for _ in range(number):
            await departures.next()
            times.append(virtual_time.clock())
    return times


def test_streams_leave_at_the_same_moments() -> None:
    async def many() -> list[list[float]]:
        departures = Departures(0.05)
        return await asyncio.gather(*(leaving(departures, 0.001 * number, 10) for number in range(100)))

    found = virtual_time.run(many())
    # Each by itself would make a thousand; the first leave while they are few, and so more often.
    assert 10 <= len({time for times in found for time in times}) < 20


def test_who_is_gone_holds_up_nobody() -> None:
    async def many() -> tuple[list[int], int]:
        departures = Departures(0.05)
        first, *others = [asyncio.create_task(leaving(departures, 0.0, 3)) for _ in range(9)]
        await asyncio.sleep(0)
        first.cancel()
        return [len(await other) for other in others], departures.streams

    assert virtual_time.run(many()) == ([3] * 8, 0)
