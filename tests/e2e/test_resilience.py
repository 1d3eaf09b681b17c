"""What the whole server does with bad input, impatient clients and many of them."""

import asyncio
import concurrent.futures
import contextlib
import json
import time
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.overload.client import asking
from tests.support.durations import REPORT_SECONDS
from tests.support.servers import Server, wait_until

HELLO: Any = {"role": "user", "content": "I had a long day at work."}
BODY = {"model": "psychechat", "messages": [HELLO], "temperature": 0}
FIGURES = ("generation_tokens_total", "num_requests_running", "num_requests_waiting")
LONG_TALK = json.dumps(
    {
        "model": "psychechat",
        "messages": [HELLO, {"role": "assistant", "content": "a b " * 7_500}, HELLO],
    }
).encode()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"model":"psychechat","messages":[]}', 400),
        (b'{"model":"psychechat","messages":[{"role":"user","content":""}]}', 400),
        (b'{"model":"psychechat","messages":[{"role":7,"content":"x"}]}', 400),
        (b'{"model":"psychechat","messages":[{"role":"user","content":"\xff\xfe"}]}', 400),
        (b'{"model":"psychechat","messages":"x"}', 400),
        (b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}', 404),
        (LONG_TALK, 400),
        (b" " * 1_100_000, 413),
    ],
    ids=["no messages", "empty", "wrong role", "not UTF-8", "wrong type", "model", "context", "1.1 MB"],
)
def test_bad_input_gets_its_status_and_an_error_object(server: Server, content: bytes, status: int) -> None:
    response = httpx.post(
        f"{server.url}/v1/chat/completions", content=content, headers={"content-type": "application/json"}, timeout=60
    )
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "Traceback" not in response.text
    assert httpx.post(f"{server.url}/v1/chat/completions", json=BODY, timeout=120).status_code == 200


def test_a_crisis_too_long_for_the_model_still_gets_help(server: Server) -> None:
    body = {"model": "psychechat", "messages": [{"role": "user", "content": "a b " * 7_500 + "I want to die"}]}
    response = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=120)
    assert response.status_code == 200
    assert response.json()["psychechat"]["review"]["fallback"]
    assert response.json()["choices"][0]["finish_reason"] == "stop"
    assert "findahelpline.com" in response.json()["choices"][0]["message"]["content"]


def test_many_at_once_are_all_answered_whole(client: openai.OpenAI) -> None:
    def ask(index: int) -> str:
        model = ("psychechat-agent", "psychechat-llm")[index % 2]
        text = f"{HELLO['content']} It was day {index}."
        reply = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], temperature=0, seed=index
        )
        return reply.choices[0].finish_reason

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ended = list(pool.map(ask, range(16)))
    assert set(ended) <= {"stop", "content_filter"}  # the review may refuse a draft
    assert ended.count("stop") >= 12


async def _leave(server: Server, many: int) -> int:
    """So many turns at once, which all clients leave when one reads its first words. How many had no reply yet."""
    begun = asyncio.Event()
    async with asking(server.url) as client:

        async def answer(index: int) -> None:
            model = ("psychechat-agent", "psychechat-llm")[index % 2]
            body = {"model": model, "messages": [HELLO], "temperature": 0, "stream": index % 4 < 2}
            async with client.post("/v1/chat/completions", json=body) as response:
                async for piece in response.content.iter_any():
                    if b'"content":"' in piece.replace(b'"content":""', b""):
                        begun.set()

        turns = [asyncio.create_task(answer(index)) for index in range(many)]
        await asyncio.wait_for(begun.wait(), 60)
        left = [turn for turn in turns if not turn.done()]
        for turn in left:
            turn.cancel()
        for turn in turns:
            with contextlib.suppress(asyncio.CancelledError):
                await turn
        return len(left)


def test_clients_that_leave_free_the_engine(server: Server, plane: str, client: openai.OpenAI) -> None:
    """By vLLM's own figures: of turns that nobody waits for it generates a part, and then nothing runs."""

    def whole(model: str) -> int:
        reply = client.chat.completions.create(model=model, messages=[HELLO], temperature=0)
        assert reply.usage
        return reply.usage.completion_tokens

    leaving = 32
    would_take = leaving // 2 * (whole("psychechat-agent") + whole("psychechat-llm"))
    before = _counselor(plane)
    assert asyncio.run(_leave(server, leaving)) > 0.6 * leaving
    wait_until(
        lambda: 'psychechat_permits{engine="counselor",lane="generation",state="held"} 0.0' in _metrics(server),
        30,
        "turns go on",
    )
    probe = whole("psychechat-llm")  # an engine that has nothing to do reports nothing
    after = _counselor(plane)
    assert after["num_requests_running"] == after["num_requests_waiting"] == 0
    generated = after["generation_tokens_total"] - before["generation_tokens_total"] - probe
    assert 0 < generated < 0.5 * would_take, (generated, would_take)


def _counselor(plane: str) -> dict[str, float]:
    """Its engine's figures as last reported, once they stand still for longer than Ray needs to pass them on."""
    seen, since, deadline = dict[str, float](), time.monotonic(), time.monotonic() + 120
    while time.monotonic() - since < 3 * REPORT_SECONDS:
        assert time.monotonic() < deadline, "the counselor still runs"
        for family in text_string_to_metric_families(httpx.get(plane, timeout=30).text):
            for sample in family.samples:
                name = sample.name.removeprefix("ray_vllm_")
                if name not in FIGURES or sample.labels.get("model_name") != "counselor":
                    continue
                if seen.get(name) != sample.value:
                    seen[name], since = sample.value, time.monotonic()
        time.sleep(0.2)
    return seen


def test_metrics_count_the_turns(server: Server) -> None:
    httpx.post(f"{server.url}/v1/chat/completions", json=BODY, timeout=120)
    text = _metrics(server)
    assert 'psychechat_turns_total{mode="llm"' in text
    assert 'psychechat_stage_seconds_count{stage="classify"}' in text


def _metrics(server: Server) -> str:
    return httpx.get(f"{server.url}/metrics", timeout=60).text
