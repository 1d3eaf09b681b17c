"""`psychechat serve` is told to read its settings again, and to stop while turns run.

The policy and the keys change and no replica restarts; then nobody new is let in, the turns end whole, and it ends.
"""

import hashlib
import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.deployments.fragile import REPLY
from tests.support import servers
from tests.support.servers import Server, wait_until

pytestmark = pytest.mark.e2e

TURNS = {
    "psychechat-llm": "I went for a walk.",
    "psychechat-agent": "I went for a walk.",
    "psychechat": "I want to die",
}
"""By the model that is asked: one in each mode, and a crisis, which takes Agent Mode."""
EXIT_SECONDS = 60
SERVED, KEPT = "were read again, and are served", "The policy and the keys of before are served"


def settings(seconds_per_word: float) -> Mapping[str, Any]:
    arguments = {"table": {"reply": [REPLY]}, "seconds_per_word": seconds_per_word}
    return {**servers.SCRIPTED, "counselor": {**servers.SCRIPTED["counselor"], "engine_args": arguments}}


def bearer(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"}


KEY = "second"
"""That opens from the first test to the last."""


def stream(server: Server, model: str) -> str:
    """All that comes. Raises httpx.TransportError where it breaks off."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": TURNS[model]}]}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=bearer(KEY), timeout=120).text


def generating(server: Server) -> int:
    """Turns that an engine works on."""
    lines = httpx.get(f"{server.url}/metrics", headers=bearer(KEY), timeout=60).text.splitlines()
    [held] = [line for line in lines if line.startswith("psychechat_permits{") and 'generation",state="held' in line]
    return int(float(held.split()[-1]))


def names(server: Server, key: str) -> str:
    """Of the models that the policy adds for this key, or the error's code."""
    answer = httpx.get(f"{server.url}/v1/models", headers=bearer(key), timeout=60).json()
    if "error" in answer:
        return str(answer["error"]["code"])
    return " ".join(model["id"] for model in answer["data"] if not model["id"].startswith("psychechat"))


def replicas(server: Server) -> dict[int, str]:
    """Process ids to deployments. Ray appends to a title the method that runs, after a dot."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    titles = {process.pid: " ".join(process.cmdline()).strip() for process in family}
    return {pid: title.partition(".")[0] for pid, title in titles.items() if "ServeReplica:" in title}


def refuses(server: Server) -> bool:
    try:
        httpx.get(f"{server.url}/health", timeout=60)
    except httpx.ConnectError:
        return True
    return False


@contextmanager
def idle(server: Server) -> Iterator[socket.socket]:
    """A connection that had a request, and is kept open for the next one."""
    client = http.client.HTTPConnection("127.0.0.1", httpx.URL(server.url).port, timeout=30)
    with closing(client):
        client.request("GET", "/health")
        answer = client.getresponse()
        assert answer.status == 200
        answer.read()
        yield client.sock


@contextmanager
def under_way(server: Server) -> Iterator[Mapping[str, Future[str]]]:
    """The turns, once an engine works on each."""
    with ThreadPoolExecutor(len(TURNS)) as pool:
        streams = {model: pool.submit(stream, server, model) for model in TURNS}
        wait_until(lambda: generating(server) == len(TURNS), 60, "not all of them came to have an engine")
        yield streams


@pytest.fixture(scope="module")
def folder(short_folder: Callable[[], Path]) -> Path:
    """Of the settings and the keys."""
    return short_folder()


def write_keys(folder: Path, *names: str) -> Path:
    file = folder / "keys.yaml"
    file.write_text(yaml.safe_dump({name: hashlib.sha256(name.encode()).hexdigest() for name in names}))
    return file


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """One for both: the second test ends it."""
    auth = {"keys_file": str(write_keys(folder, "first", KEY))}
    with servers.configured({**settings(1.0), "auth": auth}, folder) as running:
        yield running


def test_another_policy_and_other_keys_are_taken_whole_or_not_at_all(server: Server, folder: Path) -> None:
    file = folder / "settings.yaml"
    written = yaml.safe_load(file.read_text())

    def tell(expected: str, **changes: Any) -> None:
        file.write_text(yaml.safe_dump(written | changes))
        before = server.log.read_text().count(expected)
        server.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: server.log.read_text().count(expected) > before, 60, server.log.read_text)

    wait_until(lambda: "kill -USR1" in server.log.read_text(), 60, server.log.read_text)
    assert names(server, "first") == ""
    whole = replicas(server)
    assert len(whole) == 3
    named = {"aliases": {"gpt-4o": "psychechat"}}
    tell(SERVED, policy=named)
    assert names(server, "first") == "gpt-4o"
    write_keys(folder, KEY, "third")
    tell(KEPT, policy={"aliases": {"gpt-4o": "nobody"}})
    tell(KEPT, policy={}, default_language="zh")
    assert [names(server, key) for key in ("first", "third")] == ["gpt-4o", "invalid_api_key"]
    tell(SERVED, policy=named)
    assert [names(server, key) for key in ("first", "third")] == ["invalid_api_key", "gpt-4o"]
    assert replicas(server) == whole


def test_sigterm_lets_every_turn_end_whole(server: Server) -> None:
    """They take longer than the half minute after which Ray replaces a HAProxy that says nothing."""
    with idle(server) as connection:
        family = psutil.Process(server.process.pid).children(recursive=True)
        with under_way(server) as streams:
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses(server), 30, "it still lets people in")
            assert connection.recv(1) == b""  # closed from there
            assert {model: turn.result() for model, turn in streams.items() if turn.done()} == {}
            told = {model: turn.result() for model, turn in streams.items()}
        for model, text in told.items():
            assert text.endswith("data: [DONE]\n\n"), model
            assert '"finish_reason":"stop"' in text, model
            assert '"cut":true' not in text, model
            assert '"fallback":true' not in text, model
        assert "weighs on you most today?" in told["psychechat-llm"]
        assert "findahelpline.com" in told["psychechat"]
        assert server.process.wait(EXIT_SECONDS) == 0
        assert psutil.wait_procs(family, 10)[1] == []
        assert "All have ended." in server.log.read_text()


def test_a_second_interrupt_ends_all_at_once(short_folder: Callable[[], Path]) -> None:
    """A terminal's Ctrl-C goes to the whole process group, and the first one cuts no turn in that way either."""
    with servers.configured(settings(2.0), short_folder()) as server, under_way(server) as streams:
        family = psutil.Process(server.process.pid).children(recursive=True)
        os.killpg(server.process.pid, signal.SIGINT)
        wait_until(lambda: refuses(server), 30, "it still lets people in")
        time.sleep(5)
        assert not any(turn.done() for turn in streams.values())
        os.killpg(server.process.pid, signal.SIGINT)
        assert {type(turn.exception(timeout=20)) for turn in streams.values()} == {httpx.RemoteProtocolError}
        assert server.process.wait(EXIT_SECONDS) == 0
        assert psutil.wait_procs(family, 10)[1] == []
