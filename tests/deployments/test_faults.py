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
import psutil
import pytest

from tests.support import servers
from tests.support.servers import Server

pytestmark = pytest.mark.e2e

SCRIPTED = {"engine": "scripted", "replicas": {"num_cpus": 0}}
SETTINGS = {
    "ingress": {"num_cpus": 0},
    "classifier": SCRIPTED,
    "counselor": SCRIPTED | {"max_num_seqs": 5, "engine_args": {"seconds_per_word": 0.2}},
    "policy": {"admission": {"generation_seconds": 2.0}},
}
RESTART_SECONDS = 60.0
"""Serve's health check notices after some fifteen seconds; the scripted engine then starts in a few."""
HELLO, ALARMING = "hello there", "I want to die"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.configured(SETTINGS, tmp_path_factory.mktemp("faults")) as running:
        yield running


def strike(server: Server, deployment: str, blow: signal.Signals = signal.SIGKILL) -> None:
    family = psutil.Process(server.process.pid).children(recursive=True)
    title = f"ServeReplica:psychechat:{deployment}"
    [replica] = [process for process in family if any(title in part for part in _command(process))]
    replica.send_signal(blow)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return []


def body(text: str, model: str = "psychechat-llm", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def ask(server: Server, text: str, model: str = "psychechat-llm") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/chat/completions", json=body(text, model), timeout=60)


def wait_until_whole_again(server: Server) -> None:
    """A turn is answered by every part."""
    deadline = time.monotonic() + RESTART_SECONDS
    while True:
        try:
            response = ask(server, HELLO)
            if response.status_code == 200 and response.json()["psychechat"]["risk"]["level"] == "none":
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "not back within its restart time"
        time.sleep(0.5)


@contextmanager
def reading(server: Server) -> Iterator[Iterator[str]]:
    """The lines of a streamed turn that has said its first words."""
    url = f"{server.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body(HELLO, stream=True), timeout=60) as response:
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        while '"content":"' not in (line := next(lines)) or '"content":""' in line:
            pass
        yield lines


def turns(server: Server) -> Counter[str]:
    """The ingress's count of turns, by outcome."""
    found: Counter[str] = Counter()
    for line in httpx.get(f"{server.url}/metrics", timeout=20).text.splitlines():
        if line.startswith("psychechat_turns_total{"):
            labels, value = line.rsplit(" ", 1)
            found[labels.split('outcome="')[1].split('"')[0]] += int(float(value))
    return found


def test_a_counselor_that_dies_ends_the_stream_under_way_and_no_crisis(server: Server) -> None:
    """What has not begun to leave is written by the next replica, if that is there in time. Either is told rightly."""
    whole = ask(server, HELLO).json()["choices"][0]["message"]["content"]
    before = turns(server)
    with ThreadPoolExecutor(3) as pool, reading(server) as lines:
        held = pool.submit(ask, server, HELLO)
        crises = [pool.submit(ask, server, ALARMING, model) for model in ("psychechat", "psychechat-llm")]
        time.sleep(1)  # all of them have their engine by now, and need it for seconds more
        strike(server, "counselor")
        rest = list(lines)
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "engine_unavailable"
    assert not any("[DONE]" in line or '"finish_reason":"' in line for line in rest)
    saved = held.result().status_code == 200
    if saved:
        assert held.result().json()["choices"][0]["message"]["content"] == whole
    else:
        assert held.result().status_code == 503
        assert int(held.result().headers["retry-after"]) > 0
    templates = 0
    for answer in (crisis.result() for crisis in crises):
        assert answer.status_code == 200
        [choice] = answer.json()["choices"]
        templates += choice["finish_reason"] == "content_filter"
        assert "findahelpline.com" in choice["message"]["content"]
    after = turns(server)
    assert after["error"] - before["error"] == (1 if saved else 2)
    assert after["safe_template"] - before["safe_template"] == templates
    assert after["reply"] - before["reply"] == len(crises) - templates + saved
    wait_until_whole_again(server)


@pytest.mark.parametrize("deployment", ["counselor", "ingress"])
def test_the_official_client_raises_and_takes_no_part_for_the_whole(server: Server, deployment: str) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)

    def read() -> None:
        for number, chunk in enumerate(client.chat.completions.create(**body(HELLO, stream=True))):
            assert all(choice.finish_reason is None for choice in chunk.choices)
            if number == 1:
                strike(server, deployment)

    with pytest.raises((openai.APIError, httpx.TransportError)):
        read()
    wait_until_whole_again(server)


def test_a_classifier_that_dies_leaves_the_turns_under_way_alone(server: Server) -> None:
    with reading(server) as lines:
        strike(server, "classifier")
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    wait_until_whole_again(server)


def test_at_twice_the_capacity_with_a_classifier_that_hangs_every_alarm_is_answered(server: Server) -> None:
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


def test_an_ingress_that_dies_breaks_the_stream(server: Server) -> None:
    def read() -> None:
        with reading(server) as lines:
            strike(server, "ingress")
            for line in lines:
                assert "[DONE]" not in line
                assert '"finish_reason":"' not in line

    with pytest.raises(httpx.TransportError):
        read()
    wait_until_whole_again(server)
