"""The research client: what it takes for an answer, what it asks again, and how lengths are forced."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from benchmarks.speed import wire
from benchmarks.speed.conversations import Turn
from benchmarks.speed.research_client import STAGES, TRIES, Client, parse
from psychechat.conversation import Conversation, Utterance
from tests.support.servers import free_port

TURN = Turn(Conversation((Utterance("seeker", "I cannot sleep before exams."),)))
EMOTION = {"current_emotion": ["worried"], "current_analysis": "An exam."}
DRAFT = {"phase": "exploration", "strategy": "ask", "response": "What worries you most?"}
REACTIONS = [{"type": "normal", "response": "Failing."}]
PASSED = {"safety_analysis": [], "pass_flag": True, "suggestion": {}}


@pytest.mark.parametrize(
    ("stage", "text", "value"),
    [
        ("draft", json.dumps(DRAFT), DRAFT),
        ("draft", f"<think>{{}}</think>Here it is:\n```json\n{json.dumps(DRAFT)}\n```", DRAFT),
        ("simulation", f"Sure! {json.dumps(REACTIONS)}", REACTIONS),
        ("review", json.dumps(PASSED), PASSED),
    ],
)
def test_json_is_cut_out(stage: str, text: str, value: Any) -> None:
    assert parse(stage, text) == value


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("emotion", "They are worried."),
        ("emotion", '{"current_emotion": ["worried"]'),  # never closed
        ("emotion", '{"current_emotion": ["worried"]}'),  # a key is missing
        ("draft", json.dumps(REACTIONS)),
        ("simulation", "[]"),
        ("simulation", '["It is fine."]'),
        ("review", json.dumps(PASSED | {"pass_flag": "true"})),
    ],
)
def test_what_is_no_answer(stage: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(stage, text)


@asynccontextmanager
async def served(answer: Callable[[int], str]) -> AsyncIterator[tuple[Client, list[dict[str, Any]]]]:
    """A client and a chat server that gives the n-th request this answer; it keeps the bodies."""
    bodies: list[dict[str, Any]] = []

    async def reply(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        message = {"message": {"content": answer(len(bodies) - 1)}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
        return web.json_response({"choices": [message], "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", reply)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with wire.client() as http:
            yield Client(http, f"http://127.0.0.1:{port}", "any"), bodies
    finally:
        await runner.cleanup()


@pytest.mark.asyncio
async def test_a_turn_is_four_calls_with_instructions_before_history() -> None:
    answers = [json.dumps(value) for value in (EMOTION, DRAFT, REACTIONS, PASSED)]
    async with served(lambda n: answers[n]) as (client, bodies):
        answer = await client.turn("s", TURN)
    assert (answer.error, answer.text) == (None, DRAFT["response"])
    assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens) == (40, 16, 20)
    for body in bodies:
        assert "JSON" in body["messages"][0]["content"].split(TURN.newest)[0]
    assert json.dumps(EMOTION) in client.memory["s"]


@pytest.mark.asyncio
async def test_what_does_not_parse_is_asked_again_warmer_and_not_for_ever() -> None:
    async with served(lambda _: "no") as (client, bodies):
        answer = await client.turn("s", TURN)
    assert answer.error == "emotion did not parse"
    assert [body["temperature"] for body in bodies] == [0.0, *[0.7] * (TRIES - 1)]
    assert client.failures == {"emotion": TRIES}
    assert client.gave_up == 1


@pytest.mark.asyncio
async def test_a_refused_draft_is_written_again_with_the_suggestions() -> None:
    refused = PASSED | {"pass_flag": False, "suggestion": {"emotion": "warmer", "safety": ""}}
    values = [EMOTION, DRAFT, REACTIONS, refused, DRAFT, REACTIONS, PASSED]
    async with served(lambda n: json.dumps(values[n])) as (client, bodies):
        await client.turn("s", TURN)
    assert len(bodies) == 7
    assert "warmer" in bodies[4]["messages"][-1]["content"]


@pytest.mark.asyncio
async def test_forced_calls_write_exactly_what_was_recorded() -> None:
    lengths = {"emotion": [31], "draft": [20, 21], "simulation": [40, 41], "review": [50, 51]}
    async with served(lambda _: "anything") as (client, bodies):
        answer = await client.turn("s", TURN, lengths)
    assert answer.error is None
    assert [body["max_tokens"] for body in bodies] == [31, 20, 40, 50, 21, 41, 51]
    assert all(body["min_tokens"] == body["max_tokens"] and body["ignore_eos"] for body in bodies)
    assert not client.failures
    assert set(lengths) == set(STAGES)
