"""What one turn is told of, by the benchmark's own client against answers that are fixed."""

import json
import random
from typing import Any

import pytest
from aiohttp import web

from benchmarks.overload.client import Ended, asking, turn
from benchmarks.overload.conversations import Conversation, Kind, Line
from benchmarks.overload.summary import summary
from tests.benchmarks.overload.answers import HELP, OWN, event, reply, serving


async def ended(kind: Kind, status: int, body: bytes, *, times: int = 1) -> list[Ended]:
    """A conversation of lines of this kind, each answered so."""

    async def chat(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    conversation = Conversation([Line(kind, "a line")] * times, "psychechat", 7)
    async with serving(chat) as url, asking(url) as client:
        found = []
        while not conversation.is_over:
            found.append(await turn(client, conversation))
        return found


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
    found = summary(await ended("veiled", status, body), 0.0, 100.0)
    assert (found["crisis"]["turns"], found["crisis"]["not_answered"], found["lost"]) == (1, lost, lost)
    assert found["veiled"] == {
        "turns": 1,
        "taken_for_crises": int(body == reply("crisis")),
        "missed": unseen,
        "refused": int(status == 429),
    }


@pytest.mark.asyncio
async def test_an_ordinary_turn_that_is_taken_for_a_crisis_is_one() -> None:
    [one] = await ended("ordinary", 200, reply("crisis"))
    assert (one.kind, one.crisis, one.tokens, one.held) == ("ordinary", True, 7, False)


@pytest.mark.asyncio
async def test_of_a_crisis_two_times_are_told() -> None:
    """The fixed words leave first, and the model's come behind them."""

    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in reply("crisis").splitlines(keepends=True):
            await response.write(piece)
        return response

    async with serving(chat) as url, asking(url) as client:
        one = await turn(client, Conversation([Line("phrase", "a line")], "psychechat", 7))
    assert one.helped
    assert 0 < one.first_words <= one.own_words <= one.seconds


@pytest.mark.parametrize(
    ("kind", "good", "meant"), [("thoughts", False, False), ("under_way", True, True)], ids=["failed", "under way"]
)
@pytest.mark.asyncio
async def test_fixed_words_alone_are_a_good_answer_where_an_act_is_under_way(
    kind: str, good: bool, meant: bool
) -> None:
    [one] = await ended("phrase", 200, reply("crisis", fallback=True, kind=kind))
    assert (one.good, one.meant, one.safe_template) == (good, meant, True)
    assert one.first_words > 0
    assert one.own_words == 0


@pytest.mark.parametrize(("tokens", "again"), [(7, 1), (0, 0)], ids=["unfit", "no engine"])
@pytest.mark.asyncio
async def test_what_engines_wrote_in_vain_is_asked_again_and_what_they_did_not_is_not(tokens: int, again: int) -> None:
    """Else the work of the replies that a check refuses would be missing where the same is answered."""
    body = reply("crisis", fallback=True).replace(b'"completion_tokens":7', b'"completion_tokens":%d' % tokens)

    async def chat(request: web.Request) -> web.Response:
        return web.Response(body=body)

    conversation = Conversation([Line("phrase", "a line")], "psychechat", 7)
    async with serving(chat) as url, asking(url) as client:
        assert not (await turn(client, conversation)).good
    assert len(conversation.answered) == again


@pytest.mark.asyncio
async def test_first_words_without_anybody_to_turn_to_are_told() -> None:
    silent = reply("crisis").replace(HELP.encode(), b"nobody", 1)
    found = await ended("phrase", 200, silent)
    assert summary(found, 0.0, 100.0)["crisis"]["first_words_without_resources"] == 1
    assert (
        summary(await ended("phrase", 200, reply("crisis")), 0.0, 100.0)["crisis"]["first_words_without_resources"] == 0
    )


@pytest.mark.asyncio
async def test_a_turn_that_an_earlier_crisis_holds_is_no_crisis() -> None:
    [one] = await ended("ordinary", 200, reply("held", held=True))
    assert (one.held, one.crisis) == (True, False)


@pytest.mark.asyncio
async def test_a_conversation_goes_on_with_the_reply_and_without_what_got_none() -> None:
    asked: list[list[dict[str, Any]]] = []

    async def chat(request: web.Request) -> web.Response:
        asked.append((await request.json())["messages"])
        return web.Response(status=429) if len(asked) == 2 else web.Response(body=reply("emotion"))

    lines = [Line("ordinary", text) for text in ("one", "two", "three")]
    conversation = Conversation(lines, "psychechat", 7)
    async with serving(chat) as url, asking(url) as client:
        numbers = [(await turn(client, conversation)).number for _ in lines]
    assert numbers == [1, 2, 3]
    assert conversation.is_over
    assert conversation.answered == [lines[0], lines[2]]
    first = [{"role": "user", "content": "one (7)"}, {"role": "assistant", "content": HELP + OWN}]
    assert asked == [
        first[:1],
        [*first, {"role": "user", "content": "two"}],
        [*first, {"role": "user", "content": "three"}],
    ]
    assert json.dumps(asked).count("(7)") == 3


@pytest.mark.asyncio
async def test_a_connection_that_breaks_is_a_turn_that_was_cut() -> None:
    async with asking("http://127.0.0.1:1") as client:
        one = await turn(client, Conversation([Line("ordinary", "a line")], "psychechat", random.randrange(9)))
    assert (one.status, one.cut, one.lost) == (-1, True, True)
