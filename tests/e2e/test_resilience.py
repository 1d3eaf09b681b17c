"""What the whole server does with bad input, impatient clients and many of them."""

import concurrent.futures
import json
import time

import httpx
import openai
import pytest

from benchmarks.servers import Server

HELLO = {"role": "user", "content": "I had a long day at work."}
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


def test_clients_that_leave_do_not_hold_the_engine(server: Server) -> None:
    for stream in (True, False):
        for model in ("psychechat-agent", "psychechat-llm"):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(
                    f"{server.url}/v1/chat/completions",
                    json={"model": model, "messages": [HELLO], "stream": stream},
                    timeout=0.15,
                )
    time.sleep(1)
    # What still ran would show in the engine's own generation: the next one is as quick as ever.
    counselor = {"model": "psychechat-llm", "messages": [HELLO], "max_tokens": 40, "temperature": 0}
    idle = min(_seconds(server, counselor) for _ in range(3))
    for _ in range(8):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json={**BODY, "model": "psychechat-agent"}, timeout=0.15)
    time.sleep(1)
    assert min(_seconds(server, counselor) for _ in range(3)) < 3 * idle + 0.2


def _seconds(server: Server, body: dict[str, object]) -> float:
    start = time.monotonic()
    assert httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=120).status_code == 200
    return time.monotonic() - start


def test_metrics_count_the_turns(server: Server) -> None:
    httpx.post(f"{server.url}/v1/chat/completions", json=BODY, timeout=120)
    text = httpx.get(f"{server.url}/metrics", timeout=20).text
    assert 'psychechat_turns_total{mode="llm"' in text
    assert 'psychechat_stage_seconds_count{stage="classify"}' in text
