"""Measured from one end to the other, beside a server that knows every crisis and is never busy."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from io import StringIO
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from benchmarks.overload import __main__ as overload
from benchmarks.overload import load
from benchmarks.overload.__main__ import Load, measure, steady
from benchmarks.overload.client import Ended, asking
from benchmarks.overload.conversations import CRISES, MODELS, Draw, again, drawn, one_crisis
from benchmarks.overload.load import after, closed, health, one_after_the_other, opened
from benchmarks.overload.summary import PHASES, summary
from tests.benchmarks.overload.answers import reply, serving
from tests.support import virtual_time
from tests.support.messages import ORDINARY

CALM = tuple(chain(*ORDINARY.values()))


async def knowing(request: web.Request, seconds: float = 0.02) -> web.Response:
    lines = [message["content"] for message in (await request.json())["messages"] if message["role"] == "user"]
    kinds = ["ordinary" if line.startswith(CALM) else "crisis" for line in lines]
    await asyncio.sleep(seconds)  # real time: all are asked over sockets
    if kinds[-1] == "crisis":
        return web.Response(body=reply("crisis"))
    return web.Response(body=reply("held", held=True) if "crisis" in kinds else reply("low_risk"))


async def refusing(request: web.Request) -> web.Response:
    return web.Response(status=429)


@pytest.mark.asyncio
async def test_every_phase_is_measured_and_kept_as_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (overload, "WARM_SECONDS", 0.1),
        (overload, "RAMP_SECONDS", 0.2),
        (load, "MOST_CRISIS_TURNS", 20),
        (load, "FEWEST_CRISIS_TURNS", 20),
        (load, "PATIENCE", 1e9),
    ):
        monkeypatch.setattr(module, name, value)
    kept: dict[str, Any] = {}
    async with serving(knowing) as url:
        result = await measure(url, Load(4, 3, 0.6, 0.6), Console(file=StringIO()), kept.__setitem__)
    assert kept == result
    assert list(kept)[: len(PHASES)] == list(PHASES)
    assert [result[phase]["lost"] for phase in PHASES] == [0] * len(PHASES)
    assert result["idle"]["crisis"]["turns"] == result["busy"]["crisis"]["turns"] == 20
    assert result["busy_ordinary"]["turns"] > 20
    assert result["busy_ordinary"]["crisis"]["turns"] == 0
    assert result["closed"]["held"]["turns"] > 0
    assert {of: set(ratios) for of, ratios in result["goodput_ratio"].items()} == {
        "same_asked": {"turns", "tokens"},
        "same_answers": {"turns", "tokens"},
    }
    low, high = result["crisis_times_idle"]["own_words"]["busy"]["between"]
    assert low <= result["crisis_times_idle"]["own_words"]["busy"]["p50"] <= high
    assert set(result["health_s"]) == {"busy", "closed", "capacity", "overload", "closed_same_answers"}


@pytest.mark.parametrize("chat", [knowing, refusing])
@pytest.mark.asyncio
async def test_the_same_is_asked_for_whatever_is_answered(chat: Any) -> None:
    """As many of each turn of a conversation, and as many crises, where everything is refused."""
    chance = random.Random(3)
    async with serving(chat) as url, asking(url) as client:
        found = summary(await opened(client, 400.0, 2.0, chance, partial(drawn, chance)), 0.0, 100.0)
    asked = Counter(found["by_turn"])
    shares = [asked[str(turn)] / asked.total() for turn in (1, 2, 3, 4)]
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.06)
    assert found["sent_crises"] == pytest.approx(CRISES, abs=0.04)


@pytest.mark.asyncio
async def test_what_was_answered_under_load_is_what_is_asked_for_again() -> None:
    """Here a server that refuses all that is no crisis."""

    async def chat(request: web.Request) -> web.Response:
        said = (await request.json())["messages"][-1]["content"]
        return web.Response(status=429) if said.startswith(CALM) else web.Response(body=reply("crisis"))

    chance = random.Random(3)
    begun = []

    def draw() -> Any:
        begun.append(drawn(chance))
        return begun[-1]

    async with serving(chat) as url, asking(url) as client:
        await opened(client, 200.0, 1.0, chance, draw)
        found = summary(await closed(client, 2, after(0.3), again(begun, chance)), 0.0, 100.0)
    assert found["sent_crises"] == 1.0
    assert found["statuses"].keys() == {"200"}


class Healthy:
    """A client without a socket, so that time may jump: each `/health` is there at once."""

    @asynccontextmanager
    async def get(self, path: str) -> AsyncIterator[Any]:
        assert path == "/health"
        yield SimpleNamespace(raise_for_status=lambda: None)


def test_the_ramp_is_left_out_and_the_conversations_that_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "RAMP_SECONDS", 0.3)
    drew: list[float] = []

    async def turns(seconds: float, draw: Draw) -> list[Ended]:
        assert seconds == pytest.approx(0.8)
        for _ in range(8):
            draw()
            drew.append(virtual_time.clock())
            await asyncio.sleep(0.1)
        return []

    client: Any = Healthy()
    phase = virtual_time.run(steady(client, turns, 0.5, partial(drawn, random.Random(1)), virtual_time.clock))
    assert phase.end - phase.begin == pytest.approx(0.5)
    assert len(phase.conversations) == sum(at >= phase.begin for at in drew) > 2
    assert len(phase.conversations) < 8


@pytest.mark.asyncio
async def test_a_turn_under_way_at_the_end_is_waited_for_and_told() -> None:
    begun = []

    async def chat(request: web.Request) -> web.Response:
        begun.append(request)
        return await knowing(request, 0.2)

    async with serving(chat) as url, asking(url) as client:
        ended = await closed(client, 2, after(0.05), partial(drawn, random.Random(0)))
    assert len(ended) == len(begun) == 2


@pytest.mark.asyncio
async def test_crisis_turns_follow_each_other_until_enough_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()

    async def chat(request: web.Request) -> web.Response:
        asked[(await request.json())["model"]] += 1
        return web.Response(status=429) if asked.total() <= 3 else web.Response(body=reply("crisis"))

    async with serving(chat) as url, asking(url) as client:
        assert len(await one_after_the_other(client, 60.0, one_crisis(random.Random(0)))) == 63
        assert len(await one_after_the_other(client, 0.0, one_crisis(random.Random(0)))) == 0
        monkeypatch.setattr(load, "PATIENCE", 1e9)
        assert len(await one_after_the_other(client, 1e-6, one_crisis(random.Random(0)))) == 15
    assert set(asked) == {MODELS[0]}


@pytest.mark.asyncio
async def test_health_is_asked_often_enough_for_its_p99() -> None:
    async with serving(knowing) as url, asking(url) as client:
        assert len(await health(client, after(1.0))) >= 5
