"""What the whole server does with bad input, impatient clients and many of them."""

import concurrent.futures
import json
import time
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.servers import Server

HELLO: Any = {"role": "user", "content": "I had a long day at work."}
BODY = {"model": "psychechat", "messages": [HELLO], "temperature": 0}
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
        (b'{"model":"psychechat","messages":[{"role":"doctor","content":"x"}]}', 400),
        (b'{"model":"psychechat","messages":[{"role":"user","content":"\xff\xfe"}]}', 400),
        (b'{"model":"psychechat","messages":"x"}', 400),
        (b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}', 404),
        (b'{"model":"psychechat","messages":[{"role":"user","content":"' + b"a" * 100_000 + b'"}]}', 400),
        (LONG_TALK, 400),
        (b" " * 1_100_000, 413),
    ],
    ids=["no messages", "empty", "wrong role", "not UTF-8", "wrong type", "model", "100 kB", "context", "1.1 MB"],
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
    assert response.json()["choices"][0]["finish_reason"] == "content_filter"
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


def test_clients_that_leave_do_not_hold_the_engine(server: Server, plane: str, client: openai.OpenAI) -> None:
    """By vLLM's own counts: of turns that nobody waits for it generates a part, and then nothing more runs.

    Side by side, so that each would take several seconds.
    """
    model, leaving = "psychechat-agent", 16
    reply = client.chat.completions.create(model=model, messages=[HELLO], temperature=0)
    assert reply.usage
    before = _settled(plane)["generation_tokens_total"]

    def leave(index: int) -> None:
        body = {"model": model, "messages": [HELLO], "temperature": 0, "stream": index % 2 == 0}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=0.3)

    with concurrent.futures.ThreadPoolExecutor(leaving) as pool:
        list(pool.map(leave, range(leaving)))
    after = _settled(plane)
    assert after["generation_tokens_total"] - before < 0.5 * leaving * reply.usage.completion_tokens
    assert after["num_requests_running"] == after["num_requests_waiting"] == 0


def _settled(plane: str) -> dict[str, float]:
    """The counselor's figures once they stand still. Ray passes them on every ten seconds, in two steps."""
    deadline = time.monotonic() + 120
    seen, since = _counselor(plane), time.monotonic()
    while time.monotonic() - since < 25:
        time.sleep(1)
        if (now := _counselor(plane)) != seen:
            seen, since = now, time.monotonic()
        assert time.monotonic() < deadline, "the counselor still runs"
    return seen


def _counselor(plane: str) -> dict[str, float]:
    found = dict.fromkeys(("generation_tokens_total", "num_requests_running", "num_requests_waiting"), -1.0)
    for family in text_string_to_metric_families(httpx.get(plane, timeout=30).text):
        for sample in family.samples:
            name = sample.name.removeprefix("ray_vllm_")
            if name in found and sample.labels.get("model_name") == "counselor":
                found[name] = sample.value
    return found


def test_metrics_count_the_turns(server: Server) -> None:
    httpx.post(f"{server.url}/v1/chat/completions", json=BODY, timeout=120)
    text = httpx.get(f"{server.url}/metrics", timeout=20).text
    assert 'psychechat_turns_total{mode="llm"' in text
    assert 'psychechat_stage_seconds_count{stage="classify"}' in text
