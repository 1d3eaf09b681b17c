"""What the overload counts as answered, cut, refused and missed, by its own client against answers that are fixed."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from itertools import chain
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from rich.console import Console

from benchmarks import overload
from benchmarks.overload import (
    MODELS,
    PHASES,
    Ended,
    after,
    asking,
    closed,
    health,
    interval,
    measure,
    missed,
    one_crisis_after_the_other,
    ratio,
    same_mix,
    steady,
    summary,
    turn,
)
from tests.support.messages import ORDINARY, VEILED
from tests.support.servers import free_port

GOOD = Ended(
    status=200,
    alarming=False,
    veiled=False,
    taken=False,
    whole=True,
    told=False,
    safe_template=False,
    tokens=50,
    at=10.0,
    first_words=1.0,
    seconds=2.0,
)
CRISIS = replace(GOOD, alarming=True, taken=True)
REFUSED = replace(GOOD, status=429, whole=False, tokens=0)
FAILED = replace(REFUSED, status=500)
TOLD = replace(REFUSED, status=200, told=True)
CUT = replace(REFUSED, status=200)


def event(**found: Any) -> bytes:
    return b"data: " + json.dumps(found, separators=(",", ":")).encode() + b"\n\n"


def reply(reason: str) -> bytes:
    found = {"reason": reason, "review": {"fallback": False}}
    return (
        event(choices=[{"delta": {"content": "I am here."}}])
        + event(choices=[{"delta": {}}], psychechat=found)
        + event(choices=[], usage={"completion_tokens": 7})
        + b"data: [DONE]\n\n"
    )


@asynccontextmanager
async def serving(chat: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """The URL of a server whose turns are answered so."""

    async def empty(request: web.Request) -> web.Response:
        return web.Response()

    app, port = web.Application(), free_port()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/health", empty)
    app.router.add_get("/metrics", empty)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def answering(status: int, veiled: bytes, other: bytes = b"") -> AsyncIterator[aiohttp.ClientSession]:
    """What only the classifier can tell is given this answer, and all else another."""

    async def chat(request: web.Request) -> web.Response:
        text = (await request.json())["messages"][0]["content"]
        return web.Response(status=status, body=veiled if text.startswith(VEILED) else other)

    async with serving(chat) as url, asking(url) as client:
        yield client


@pytest.mark.parametrize(
    ("status", "body", "lost", "unseen"),
    [
        (200, reply("crisis"), 0, 0),
        (200, reply("emotion"), 0, 1),
        (200, event(choices=[]) + event(error={"code": "stage_failed"}), 1, 0),
        (200, event(choices=[]), 1, 0),
        (429, b"{}", 1, 0),
        (500, b"{}", 1, 0),
        (503, b"{}", 1, 0),
        (504, b"{}", 1, 0),
    ],
    ids=["answered", "missed", "told", "cut", "refused", "500", "503", "504"],
)
@pytest.mark.asyncio
async def test_a_veiled_crisis_counts_by_what_was_sent(status: int, body: bytes, lost: int, unseen: int) -> None:
    chance = random.Random(0)
    async with answering(status, body, reply("crisis")) as client:
        while not (ended := await turn(client, chance, crises=1.0)).veiled:
            assert ended.alarming
    found = summary([ended], 0.0, 100.0)
    assert (found["crisis"]["turns"], found["crisis"]["not_answered"], found["lost"]) == (1, lost, lost)
    assert found["veiled"] == {
        "turns": 1,
        "taken_for_crises": int(body == reply("crisis")),
        "missed": unseen,
        "refused": int(status == 429),
    }


@pytest.mark.asyncio
async def test_an_ordinary_turn_that_is_taken_for_a_crisis_is_one() -> None:
    async with answering(200, b"", reply("crisis")) as client:
        ended = await turn(client, random.Random(0), crises=0.0)
    assert (ended.alarming, ended.veiled, ended.crisis, ended.tokens) == (False, False, True, 7)


def test_of_ordinary_turns_only_a_cut_one_is_lost_and_each_turn_once() -> None:
    assert summary([GOOD, REFUSED, FAILED, TOLD, CUT, replace(CUT, status=-1)], 0.0, 100.0)["lost"] == 2
    alarming = [replace(one, alarming=True) for one in (GOOD, REFUSED, FAILED, TOLD, CUT)]
    found = summary(alarming, 0.0, 100.0)
    assert (found["lost"], found["cut"], found["crisis"]["not_answered"]) == (4, 1, 4)


def test_first_words_of_a_veiled_crisis_that_was_missed_stand_beside_no_crisis() -> None:
    seen = [replace(GOOD, veiled=True, taken=True, first_words=words) for words in (1.0, 2.0)]
    unseen = replace(GOOD, veiled=True, first_words=30.0)
    found = summary([*seen, unseen, GOOD, GOOD], 0.0, 100.0)
    assert found["crisis"]["first_words_s"]["p50"] == 1.5
    assert found["ordinary_first_words_s"]["p99"] == 1.0


def test_a_ramp_counts_for_nothing_but_what_became_of_its_turns() -> None:
    crisis = replace(CRISIS, first_words=3.0)
    ramp = [replace(crisis, at=at, first_words=9.0, tokens=1000) for at in (9.0, 31.0)]
    within = [GOOD, GOOD, replace(GOOD, at=30.0), replace(GOOD, safe_template=True), crisis]
    found = summary([*within, *ramp, replace(CUT, at=5.0)], begin=10.0, end=30.0)
    assert (found["turns_a_second"], found["goodput_turns_a_second"]) == (0.25, 0.2)
    assert (found["goodput_tokens_a_second"], found["goodput_crises"]) == (10.0, 0.25)
    assert (found["turns"], found["crisis"]["turns"], found["cut"], found["lost"]) == (8, 3, 1, 1)
    assert summary([crisis, crisis, *ramp], 10.0, 30.0)["crisis"]["first_words_s"]["p99"] == 3.0


@pytest.mark.asyncio
async def test_under_a_steady_load_both_ramps_are_left_out() -> None:
    async def turns() -> list[Ended]:
        now, late = time.monotonic(), overload.RAMP_SECONDS
        return [replace(GOOD, at=now + at) for at in (late - 1, late + 1, late + 9, late + 11)]

    assert (await steady(turns(), 10.0))["goodput_turns_a_second"] == 0.2


@pytest.mark.asyncio
async def test_a_turn_under_way_at_the_end_is_waited_for_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    async def one(*_: Any) -> Ended:
        begun.append(time.monotonic())
        await asyncio.sleep(0.1)
        return GOOD

    monkeypatch.setattr(overload, "turn", one)
    async with asking("http://127.0.0.1:1") as client:
        assert len(await closed(client, 2, after(0.05), random.Random(0))) == len(begun) > 0


def served(turns: int, crises: float, alarms: float, refused: float = 0.0) -> dict[str, Any]:
    """What a server does that answers all crises, takes a share of ordinary turns for some, and refuses of the rest."""
    sent, taken = round(turns * crises), round(turns * (1 - crises) * alarms)
    left = turns - sent - taken
    gone = round(left * refused)
    kinds = [CRISIS] * sent + [replace(GOOD, taken=True)] * taken
    return summary([*kinds, *[REFUSED] * gone, *[GOOD] * (left - gone)], 0.0, 100.0)


@pytest.mark.parametrize(("alarms", "refused"), [(0.0, 0.0), (0.06, 0.5), (0.2, 0.9), (0.06, 1.0), (1.0, 0.0)])
def test_the_same_mix_is_answered_when_nobody_is_refused(alarms: float, refused: float) -> None:
    found = served(10_000, 0.1, alarms, refused)
    again = served(10_000, same_mix(found), alarms)
    assert again["goodput_crises"] == pytest.approx(found["goodput_crises"], abs=0.002)


def test_goodput_is_compared_in_turns_and_in_tokens() -> None:
    half = {"goodput_turns_a_second": 3.0, "goodput_tokens_a_second": 200.0}
    whole = {"goodput_turns_a_second": 4.0, "goodput_tokens_a_second": 160.0}
    assert (ratio("turns", half, whole), ratio("tokens", half, whole)) == (0.75, 1.25)


@pytest.mark.asyncio
async def test_crisis_turns_follow_each_other_until_enough_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [CUT, replace(GOOD, veiled=True), REFUSED, *[CRISIS] * 100]
    monkeypatch.setattr(overload, "turn", AsyncMock(side_effect=ends))
    async with asking("http://127.0.0.1:1") as client:
        assert await one_crisis_after_the_other(client, random.Random(0)) == ends[:63]
        monkeypatch.setattr(overload, "LONGEST_SECONDS", 0.0)
        assert await one_crisis_after_the_other(client, random.Random(0)) == []


def test_the_interval_holds_the_ratio_and_is_wider_for_fewer_turns() -> None:
    chance = np.random.default_rng(1)
    many, beside = chance.lognormal(1.0, 0.3, 600), chance.lognormal(0.3, 0.3, 600)
    found, few = interval(many.tolist(), beside.tolist()), interval(many[:20].tolist(), beside[:20].tolist())
    assert found[0] < np.exp(0.7) < found[1]
    assert few[1] - few[0] > 2 * (found[1] - found[0])
    assert interval(many.tolist(), beside.tolist()) == found
    assert interval([4.0] * 3, [2.0] * 5) == [2.0, 2.0]


@pytest.mark.asyncio
async def test_health_is_asked_often_enough_for_its_p99() -> None:
    async with answering(200, b"") as client:
        assert len(await health(client, after(1.0))) >= 5


@pytest.mark.asyncio
async def test_measured_from_one_end_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a server that knows every crisis and is never busy."""
    for name, value in (("WARM_SECONDS", 0.1), ("RAMP_SECONDS", 0.2), ("CRISIS_TURNS", 20)):
        monkeypatch.setattr(overload, name, value)
    sent: dict[str, list[str]] = {"emotion": [], "crisis": []}

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        reason = "emotion" if body["messages"][0]["content"].startswith(tuple(chain(*ORDINARY.values()))) else "crisis"
        sent[reason].append(body["model"])
        await asyncio.sleep(0.02)
        return web.Response(body=reply(reason))

    async with serving(chat) as url:
        result = await measure(url, 4, 0.6, 0.6, Console(file=StringIO()))
    assert [result[phase]["lost"] for phase in PHASES] == [0] * len(PHASES)
    assert result["idle"]["crisis"]["turns"] == result["busy"]["crisis"]["turns"] == 20
    assert result["busy_ordinary"]["turns"] > 20
    assert result["busy_ordinary"]["crisis"]["turns"] == 0
    assert 0 < result["capacity_same_mix"]["goodput_crises"] < 0.5
    assert set(result["goodput_ratio"]) == {"turns", "same_mix_turns", "same_mix_tokens"}
    low, high = result["crisis_first_words_ratio_95"]["busy"]
    assert low - 0.1 < result["crisis_first_words_ratio"]["busy"] < high + 0.1
    assert result["health_s"]["busy"]["count"] > 2
    assert set(sent["crisis"]) == set(sent["emotion"]) == set(MODELS)


def fine() -> dict[str, Any]:
    """A result in which nothing is wrong."""
    return {
        **{phase: summary([CRISIS] * 60, 0.0, 100.0) for phase in PHASES},
        "goodput_ratio": {"turns": 0.5, "same_mix_turns": 0.9, "same_mix_tokens": 0.5},
        "crisis_first_words_ratio": {"busy": 2.0},
        "health_s": {"busy": {"p99": 0.05}},
    }


def test_a_good_run_misses_nothing() -> None:
    assert missed(fine()) == []


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("wrong", [CUT, replace(REFUSED, veiled=True), replace(TOLD, alarming=True)])
def test_what_is_lost_in_any_phase_is_missed(phase: str, wrong: Ended) -> None:
    assert missed(fine() | {phase: summary([*[CRISIS] * 60, wrong], 0.0, 100.0)}) == [
        f"1 turns cut or crisis turns not answered: {phase}"
    ]


@pytest.mark.parametrize(
    "worse",
    [
        {"goodput_ratio": {"turns": 1.0, "same_mix_turns": 0.89, "same_mix_tokens": 1.0}},
        {"crisis_first_words_ratio": {"busy": 2.01}},
        {"health_s": {"busy": {"p99": 0.06}}},
        {"idle": summary([CRISIS] * 59, 0.0, 100.0)},
        {"busy": summary([CRISIS] * 59, 0.0, 100.0)},
        {"busy": summary([], 0.0, 100.0)},
    ],
)
def test_each_bound_is_kept(worse: dict[str, Any]) -> None:
    assert len(missed(fine() | worse)) == 1
