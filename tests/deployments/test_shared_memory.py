"""Two ingress replicas of the real server, with one Redis between them, that goes away and comes back."""

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from psychechat.cli import commands
from tests.support.ray_cluster import Cluster
from tests.support.redis_server import RedisServer
from tests.support.servers import TURN_SECONDS

pytestmark = pytest.mark.e2e

CANARY = "zanzibarquux"
PASSWORD = "pass-zanzibarquokka"
REPLICAS = {"num_cpus": 0, "health_check_seconds": 1}
SCRIPTED = {"engine": "scripted", "replicas": REPLICAS}
LOVELY = {"role": "user", "content": f"I am happy {CANARY}"}
SAD = {"role": "user", "content": "I am sad"}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD) as server:
        server.url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
        yield server


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Mapping[str, Any]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "url").write_text(redis_server.url)
    (folder / "keys.yaml").write_text(CliRunner().invoke(commands, ["keys", "memory"]).output)
    return {
        "ingress": {"num_replicas": 2, **REPLICAS},
        "classifier": SCRIPTED,
        "counselor": SCRIPTED | {"engine_args": {"seconds_per_word": 0.05}},
        "policy": {"guard": {"mode": "off"}},  # words leave one by one, not in sentences
        "memory": {"backend": "redis", "url_file": str(folder / "url"), "keys_file": str(folder / "keys.yaml")},
    }


@pytest.fixture
def server(cluster: Cluster, settings: Mapping[str, Any]) -> Cluster:
    cluster.serve(settings)
    return cluster


def test_replicas_share_what_they_remember(server: Cluster) -> None:
    assert at_once(lambda _: shift(server, chat(server, LOVELY)), range(10)) == [-4] * 10
    assert max(stored_by_replica(server)) < 20  # each has stored some of these turns


def test_a_session_is_forgotten_whichever_replica_is_asked(server: Cluster) -> None:
    def forget(turn: int) -> None:
        said = {"role": "user", "content": f"{LOVELY['content']} {turn}"}  # memory is found by words: no two may share
        first = chat(server, said)
        answer = httpx.delete(f"{server.url}/v1/sessions/{first['psychechat']['session']}", timeout=60)
        assert answer.json()["deleted"] is True
        assert shift(server, first, said) is None

    at_once(forget, range(4))


def test_redis_goes_in_the_middle_of_a_stream_and_comes_back(server: Cluster, redis_server: RedisServer) -> None:
    first = chat(server, LOVELY)
    body = {"model": "psychechat-llm", "messages": [LOVELY], "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=TURN_SECONDS) as response:
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        while '"content":"' not in (line := next(lines)) or '"content":""' in line:
            pass
        redis_server.kill()
        rest = list(lines)
    assert len(rest) > 5
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"stop"' in rest[-2]

    def go_on(message: dict[str, str]) -> None:
        answered = chat(server, LOVELY, first["choices"][0]["message"], message)
        assert answered["psychechat"]["shift"] is None
        assert not answered["psychechat"]["review"]["fallback"]

    at_once(go_on, (SAD, {"role": "user", "content": "I want to die"}) * 4)
    assert httpx.delete(f"{server.url}/v1/sessions/any", timeout=60).status_code == 503
    assert httpx.get(f"{server.url}/ready", timeout=60).status_code == 200
    _until(lambda: 'memory_recalls_total{result="error"}' in metrics(server))

    redis_server.start()
    assert at_once(lambda _: shift(server, chat(server, LOVELY)), range(4)) == [-4] * 4


def test_a_replica_that_dies_takes_no_memory_with_it(server: Cluster) -> None:
    firsts = at_once(lambda _: chat(server, LOVELY), range(4))
    server.processes("ingress")[0].kill()
    deadline = time.monotonic() + 60
    for first in firsts:
        while True:
            try:
                assert shift(server, first) == -4
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline


def test_neither_words_nor_secrets_are_written_anywhere(
    server: Cluster, redis_server: RedisServer, settings: Mapping[str, Any]
) -> None:
    chat(server, LOVELY)
    secret_words = [CANARY, PASSWORD]
    keys = yaml.safe_load(Path(settings["memory"]["keys_file"]).read_text())
    secret_words += [keys["index"], *keys["keys"].values()]
    logs = (server.folder / "ray" / "session_latest" / "logs").resolve()
    files = [file for file in logs.rglob("*") if file.is_file()]
    assert len(files) > 10
    written = [server.head.log.read_bytes(), *(file.read_bytes() for file in files)]
    seen = redis_server.everything()
    assert seen
    written += [*seen, *(part for parts in seen.values() for part in parts)]
    for word in secret_words:
        assert not any(word.encode() in text for text in written), word


def at_once(do: Callable[[Any], Any], each: Collection[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(each)) as pool:
        return list(pool.map(do, each))


def chat(server: Cluster, *messages: dict[str, str]) -> dict[str, Any]:
    body = {"model": "psychechat", "messages": messages, "user": secrets.token_hex(4)}
    response = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=TURN_SECONDS)
    assert response.status_code == 200, response.text
    answered: dict[str, Any] = response.json()
    return answered


def shift(server: Cluster, first: dict[str, Any], said: dict[str, str] = LOVELY) -> int | None:
    """Of the turn that follows. `said`: what the first one answered."""
    found: int | None = chat(server, said, first["choices"][0]["message"], SAD)["psychechat"]["shift"]
    return found


def metrics(server: Cluster) -> str:
    """Those of the replica that happens to answer."""
    return httpx.get(f"{server.url}/metrics", timeout=60).text


def stored_by_replica(server: Cluster) -> set[float]:
    """How many turns each replica has remembered; as many as there are different numbers."""
    name = 'psychechat_memory_stores_total{result="kept"}'
    lines = [line for _ in range(40) for line in metrics(server).splitlines() if line.startswith(name)]
    return {float(line.rpartition(" ")[2]) for line in lines}


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
