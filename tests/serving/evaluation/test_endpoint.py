"""What an endpoint makes of servers that refuse, answer something else, or never end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest

from psychechat.evaluation.endpoint import NOT_OPENAI, SECONDS, TIMEOUT, Endpoint, NoAnswer
from tests.serving.evaluation.conftest import endpoint
from tests.support import virtual_time

REFUSED = {"error": {"message": "no", "type": "x", "param": None, "code": None}}


def written(text: str) -> httpx.Response:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return httpx.Response(200, json={"id": "x", "object": "x", "created": 0, "model": "m", "choices": [choice]})


async def asked(reached: Endpoint) -> str:
    return await reached.json([("user", "Hello.")], "turn", {"type": "object"}, temperature=0.0, seed=0)


@virtual_time.mark
async def test_all_who_ask_at_once_with_a_schema_are_answered_without_one() -> None:
    together = asyncio.Barrier(3)

    async def plain(request: httpx.Request) -> httpx.Response:
        if "response_format" not in json.loads(request.content):
            return written("{}")
        await together.wait()
        return httpx.Response(400, json=REFUSED)

    async with endpoint(httpx.MockTransport(plain)) as reached:
        assert await asyncio.gather(*(asked(reached) for _ in range(3))) == ["{}"] * 3
        assert await asked(reached) == "{}", "a fourth with a schema would wait for two others"


@pytest.mark.asyncio
async def test_what_is_refused_without_a_schema_too_says_nothing_of_schemas() -> None:
    shaped: list[bool] = []

    def long(request: httpx.Request) -> httpx.Response:
        shaped.append("response_format" in json.loads(request.content))
        return httpx.Response(400, json=REFUSED) if len(shaped) < 3 else written("{}")

    async with endpoint(httpx.MockTransport(long)) as reached:
        with pytest.raises(NoAnswer, match="400"):
            await asked(reached)
        await asked(reached)
    assert shaped == [True, False, True]


OTHER: Mapping[str, httpx.Response] = {
    "a page": httpx.Response(200, html="<html>Sign in</html>"),
    "no JSON": httpx.Response(200, headers={"content-type": "application/json"}, text="{"),
    "a list": httpx.Response(200, json=[1]),
    "an object of another kind": httpx.Response(200, json={"data": [{}], "choices": [{"message": 3}]}),
    "a stream of another kind": httpx.Response(
        200, headers={"content-type": "text/event-stream"}, text='data: {"choices": [3]}\n\ndata: [DONE]\n\n'
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("other", OTHER)
async def test_what_is_no_answer_of_openais_api_is_none(other: str) -> None:
    async with endpoint(httpx.MockTransport(lambda _: OTHER[other])) as reached:
        for ask, kind in (
            (asked(reached), NOT_OPENAI),
            (reached.classify("Hello."), "no classifier"),
            (reached.reply([("user", "Hello.")], session="s"), f"{NOT_OPENAI}|broken off"),
        ):
            with pytest.raises(NoAnswer, match=kind):
                await ask


class Trickle(httpx.AsyncByteStream):
    """A comment every ten seconds, for ever: no read of it is ever late."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(10)
            yield b": wait\n\n"


def trickling(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Trickle())


@virtual_time.mark
@pytest.mark.parametrize(
    "ask",
    [asked, lambda reached: reached.reply([("user", "Hello.")], session="s"), lambda reached: reached.classify("a")],
)
async def test_nobody_is_waited_for_for_ever(ask: Callable[[Endpoint], Awaitable[Any]]) -> None:
    began = virtual_time.clock()
    async with endpoint(httpx.MockTransport(trickling)) as reached:
        with pytest.raises(NoAnswer, match=TIMEOUT):
            await ask(reached)
    assert virtual_time.clock() - began == SECONDS
