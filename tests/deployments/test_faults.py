"""Parts of the real server are killed in the middle of streamed turns. Engines are scripted, so that turns last.

What must hold each time: no part of a reply is given out as the whole, the error is the right one, a crisis is
answered, the part is back within its restart time, and the counters say what the clients saw.
"""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest

from tests.deployments.fragile import REPLY, strike
from tests.support.ray_cluster import Cluster
from tests.support.servers import POLL_SECONDS, wait_until

pytestmark = pytest.mark.e2e

RESTART_SECONDS = 60.0
"""Serve's health check notices within a second or two; the scripted engine then starts in a few."""
HELLO, ALARMING = "hello there", "I want to die"
SHORT = "你好"
"""Every stage answers it in a word or two: in Chinese there are no spaces between them."""


def body(text: str, model: str = "psychechat-llm", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def ask(server: Cluster, text: str, model: str = "psychechat-llm") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/chat/completions", json=body(text, model), timeout=120)


def wait_until_whole_again(server: Cluster) -> None:
    """A turn is answered by every part."""
    deadline = time.monotonic() + RESTART_SECONDS
    server.wait_until_whole(RESTART_SECONDS)
    while True:
        try:
            response = ask(server, SHORT, "psychechat-agent")
            if response.status_code == 200 and response.json()["psychechat"]["risk"]["level"] == "none":
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "not back within its restart time"
        time.sleep(POLL_SECONDS)


@contextmanager
def reading(server: Cluster) -> Iterator[Iterator[str]]:
    """The lines of a streamed turn that has said its first words."""
    url = f"{server.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body(HELLO, stream=True), timeout=120) as response:
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        while '"content":"' not in (line := next(lines)) or '"content":""' in line:
            pass
        yield lines


def turns(server: Cluster) -> Counter[str]:
    """The ingress's count of turns, by outcome."""
    found: Counter[str] = Counter()
    for labels, value in metrics(server, "psychechat_turns_total"):
        found[labels.split('outcome="')[1].split('"')[0]] += int(value)
    return found


def generating(server: Cluster) -> int:
    """Turns that an engine works on."""
    [held] = [value for labels, value in metrics(server, "psychechat_permits") if 'generation",state="held' in labels]
    return int(held)


def metrics(server: Cluster, name: str) -> list[tuple[str, float]]:
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    found = [line.rsplit(" ", 1) for line in lines if line.startswith(name + "{")]
    return [(labels, float(value)) for labels, value in found]


def test_a_counselor_that_dies_ends_the_stream_under_way_and_no_crisis(server: Cluster) -> None:
    """What has not begun to leave is written by the next replica, if that is there in time. Either is told rightly."""
    before = turns(server)
    with ThreadPoolExecutor(3) as pool, reading(server) as lines:
        held = pool.submit(ask, server, HELLO)
        crises = [pool.submit(ask, server, ALARMING, model) for model in ("psychechat", "psychechat-llm")]
        wait_until(lambda: generating(server) == 4, 30, "not all of them came to have an engine")
        strike(server, "counselor")
        rest = list(lines)
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "engine_unavailable"
    assert not any("[DONE]" in line or '"finish_reason":"' in line for line in rest)
    saved = held.result().status_code == 200
    if saved:
        assert held.result().json()["choices"][0]["message"]["content"] == REPLY
    else:
        assert held.result().status_code == 503
        assert int(held.result().headers["retry-after"]) > 0
    templates = 0
    for answer in (crisis.result() for crisis in crises):
        assert answer.status_code == 200
        templates += answer.json()["psychechat"]["review"]["fallback"]
        assert "findahelpline.com" in answer.json()["choices"][0]["message"]["content"]
    after = turns(server)
    assert after["error"] - before["error"] == (1 if saved else 2)
    assert after["safe_template"] - before["safe_template"] == templates
    assert after["reply"] - before["reply"] == len(crises) - templates + saved
    wait_until_whole_again(server)


@pytest.mark.parametrize("deployment", ["counselor", "ingress"])
def test_the_official_client_raises_and_takes_no_part_for_the_whole(server: Cluster, deployment: str) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=120)

    def read() -> None:
        for number, chunk in enumerate(client.chat.completions.create(**body(HELLO, stream=True))):
            assert all(choice.finish_reason is None for choice in chunk.choices)
            if number == 1:
                strike(server, deployment)

    with pytest.raises((openai.APIError, httpx.TransportError)):
        read()
    wait_until_whole_again(server)


def test_a_classifier_that_dies_leaves_the_turns_under_way_alone(server: Cluster) -> None:
    with reading(server) as lines:
        strike(server, "classifier")
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    wait_until_whole_again(server)


def test_at_twice_the_capacity_with_a_classifier_that_hangs_every_alarm_is_answered(server: Cluster) -> None:
    """What is no alarm is of unknown risk: Agent Mode where a permit is free, else the safe template."""
    before = turns(server)
    strike(server, "classifier", signal.SIGSTOP)
    start = threading.Barrier(10)

    def one(index: int) -> tuple[str, httpx.Response]:
        text = ALARMING if index % 3 == 0 else HELLO
        start.wait()
        return text, ask(server, text, "psychechat")

    with ThreadPoolExecutor(10) as pool:
        answered = list(pool.map(one, range(10)))
    strike(server, "classifier")
    templates = 0
    for text, response in answered:
        assert response.status_code == 200, response.text
        found = response.json()["psychechat"]
        assert found["reason"] == ("crisis" if text == ALARMING else "unknown_risk")
        templates += found["review"]["fallback"]
    assert 0 < templates < len(answered)
    after = turns(server)
    assert after["safe_template"] - before["safe_template"] == templates
    assert after["reply"] - before["reply"] == len(answered) - templates
    wait_until_whole_again(server)


def test_an_ingress_that_dies_breaks_the_stream(server: Cluster) -> None:
    def read() -> None:
        with reading(server) as lines:
            strike(server, "ingress")
            for line in lines:
                assert "[DONE]" not in line
                assert '"finish_reason":"' not in line

    with pytest.raises(httpx.TransportError):
        read()
    wait_until_whole_again(server)
