"""Words that nobody else writes pass through every real process and are found, in whatever encoding or as tokens, in
nothing that any of them wrote, sent or shows of itself.

All of them say as much as they can: Python's loggers, vLLM's, Ray's and HAProxy's are set to what somebody may set them
to who looks for a fault.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from tokenizers import Tokenizer

from psychechat.config import Settings
from psychechat_ray.models import prepare
from psychechat_ray.ports import free_from
from tests.support import places, servers
from tests.support.canary import Canary
from tests.support.collector import Collector, collecting, exporting_to
from tests.support.places import Place
from tests.support.receiver import SECRET, receiving
from tests.support.redis_server import RedisServer
from tests.support.servers import Server

LOUD = Path(__file__).with_name("loud")
WORD, PHRASE = "zanzibarquux", "月亮骆驼穿雨衣"
CANARY = f"{WORD} {PHRASE}"
WORD_IN_URLS, PHRASE_IN_URLS = "madagascarquux", "水母图书馆打鼾"
IN_URLS = f"{WORD_IN_URLS}{quote(PHRASE_IN_URLS)}"
"""Of paths and query strings, which a log of requests holds where somebody has asked for one."""
ALLOWED = {
    # HAProxy keeps the last request that was no HTTP, and cannot be told to forget it. Who may open its socket, in a
    # folder of this user's alone, may read the memory of all these processes as well.
    "HAProxy: show errors",
}
"""Where words may be. A place that holds none any more has to go from here."""

CHAT = "/v1/chat/completions"
AT_ONCE = 8
"""Requests."""
URGENT = f"I want to die {CANARY}"
PLAIN = f"hello {CANARY} there"
CHINESE = f"你好，{PHRASE}。我最近总是睡不好，心里很难受。"
URGENT_IN_CHINESE = f"我想自杀，{PHRASE}。"


def _chat(text: str = PLAIN, **more: Any) -> dict[str, Any]:
    return {"model": "psychechat", "messages": [{"role": "user", "content": text}], **more}


TURNS = [
    _chat(text, model=model, stream=stream)
    for model in ("psychechat", "psychechat-agent", "psychechat-llm")
    for text in (PLAIN, URGENT)
    for stream in (False, True)
] + [_chat(text, stream=stream) for text in (CHINESE, URGENT_IN_CHINESE) for stream in (False, True)]
HISTORY = [
    {"role": "system", "content": f"notes {CANARY}"},
    {"role": "user", "content": f"before {CANARY}"},
    {"role": "assistant", "content": f"so {CANARY}"},
]
DEMANDING = [
    _chat(metadata={f"{CANARY}": f"{CANARY} {index}", "locale": CANARY, "session_id": f"{CANARY} {index}"})
    | {"user": CANARY, "safety_identifier": CANARY, "prompt_cache_key": f"{CANARY} {index}", "stop": [CANARY]}
    for index in range(2)
] + [
    _chat(f"{WORD} " * 500),
    _chat(tools=[{"name": CANARY}, CANARY], logit_bias={CANARY: CANARY}) | {f"{CANARY} x": CANARY},
    *({"model": "psychechat", "messages": [*HISTORY, *_chat(text)["messages"]]} for text in (PLAIN, URGENT_IN_CHINESE)),
]
BROKEN = [
    _chat(f"{word} {text}", model=model, stream=stream)
    for word, text in (("breakrender", PLAIN), ("breakstream", PLAIN), ("breakclassify", URGENT))
    for model in ("psychechat-agent", "psychechat-llm")
    for stream in (False, True)
]
BAD: list[Any] = [
    _chat(model=CANARY),
    _chat(f"{CANARY} " * 9_000),
    _chat(f"{WORD} " * 2_300),
    _chat(temperature=CANARY),
    _chat(service_tier=CANARY),
    _chat(stop=[f"{CANARY} " * 10]),
    _chat(tools=[{"name": CANARY}], tool_choice=CANARY),
    _chat(response_format={"type": CANARY}),
    _chat(metadata={CANARY: 1}),
    _chat() | {f"{CANARY} x": 1, "modreation": {CANARY: CANARY}},
    {"model": "psychechat", "messages": [{f"{CANARY} x": 1}]},
    {"model": "psychechat", "messages": [{"role": CANARY, "content": PLAIN}]},
    {"model": "psychechat", "messages": [{"role": "user", "content": {CANARY: CANARY}}]},
    {"model": "psychechat", "messages": [{"role": "user", "content": [{"type": CANARY, "text": CANARY}]}]},
    {"model": "psychechat", "messages": CANARY},
    [PLAIN],
    PLAIN,
]
NOT_JSON: list[str | bytes] = [
    f'{{"model": "{CANARY}"',
    f"{CANARY}",
    f'{{"model": "{CANARY}"}}x',
    f'"{CANARY}\\ud800"',
    f"{WORD}\xff".encode("latin-1"),
    json.dumps(_chat())[:-1],
    json.dumps(_chat()).encode("utf-16"),
]
TEXTS: list[Any] = [PLAIN, [CHINESE, URGENT, URGENT_IN_CHINESE], f"{WORD} " * 2_300]
BAD_TEXTS: list[Any] = [
    f"{CANARY} " * 9_000,
    {CANARY: CANARY},
    [PLAIN, 1],
    [{"type": CANARY}],
    [],
    f"breakclassify {PLAIN}",
]
HEADERS: list[Any] = [
    {"x-session-id": WORD},
    {"x-session-id": f"{WORD}-" * 60},
    {"authorization": f"Bearer {WORD}"},
    {"authorization": WORD},
    {"x-request-id": f"{WORD}!"},
    {"x-request-timeout": WORD},
    {"x-request-timeout-seconds": WORD},
    {"serve_multiplexed_model_id": WORD},
    {"traceparent": WORD},
    {"traceparent": f"00-{1:032x}-{1:016x}-01", "tracestate": f"vendor={WORD}", "baggage": f"who={WORD}"},
    {"cookie": f"c={WORD}"},
    {"user-agent": WORD},
    {"content-type": f"text/{WORD}"},
    {f"x-{WORD}": WORD},
    {"x-session-id": PHRASE.encode()},
    {"cookie": PHRASE.encode()},
    {"user-agent": PHRASE.encode(), "traceparent": PHRASE.encode()},
]
TOO_LARGE = _chat(f"{CANARY} " * 60_000)
NO_HTTP = [
    f"{CANARY} {CANARY}\r\n{CANARY}\r\n\r\n",
    f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{WORD}\r\n{CANARY}\r\n",
    f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {CANARY}\r\n\r\n{CANARY}",
    f"GET /health HTTP/1.1\r\nhost: localhost\r\n{CANARY}: {CANARY}\r\n\r\n",
]
BREAKS_OFF = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900\r\n\r\n" + json.dumps(_chat())


class Search:
    """Looks for all canaries."""

    def __init__(self, tokenizers: dict[str, Tokenizer]) -> None:
        self._canaries = [Canary(text, tokenizers) for text in (WORD, PHRASE, WORD_IN_URLS, PHRASE_IN_URLS)]
        self.found: dict[str, set[str]] = {}
        """By place: which, and how it was written."""
        self.places = 0

    def look(self, shown: Iterable[Place]) -> None:
        for place, content in shown:
            self.places += 1
            if ways := {f"{canary.text}: {way}" for canary in self._canaries for way in canary.found_in(content)}:
                self.found.setdefault(place, set()).update(ways)


@pytest.mark.timeout(1200)  # an engine is loaded three times
@pytest.mark.parametrize("crashes", [False, pytest.param(True, marks=pytest.mark.long)], ids=["whole", "crashes"])
def test_no_word_of_the_seeker_is_in_anything_written(crashes: bool) -> None:
    """With crashes replicas die in the midst of a turn, and are loaded anew."""
    folder = Path(tempfile.mkdtemp(prefix="canary-"))  # short, for Ray's sockets lie there; left behind by a failure
    search, began = Search(_tokenizers()), time.time()
    with (
        _syslog() as (address, requests),
        receiving(200, 500, 200) as receiver,
        collecting() as collector,
        RedisServer(folder, "--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000") as redis,
        _loud(folder, address, receiver.url, collector, redis) as server,
    ):
        with _stacks_of_what_hangs(server):
            search.look(_talk(server))
            _leave_half_way(server, search)
            # It is loaded anew meanwhile, for as long as it takes.
            counselor = _kill(server, "counselor", signal.SIGABRT) if crashes else None
            search.look(_send_what_needs_no_counselor(server))
            search.look(_shown(server))
            assert search.found.keys() == ALLOWED, search.found
        if counselor:
            _wait_for_another(server, counselor)
            _wait_for_another(server, _kill(server, "ingress", signal.SIGKILL))
            turn = partial(httpx.post, server.url + CHAT, json=TURNS[0], timeout=servers.TURN_SECONDS)
            search.look([_told(_after_a_crash(turn))])
            search.look(_shown(server))
        search.look(_of_redis(redis))
        search.look(places.of_ray(next(folder.glob("ray/session_2*")), _processes(server)))
    files = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}  # also of its stopping
    search.look(files.items())
    search.look(("a span", body) for body in collector.bodies)
    search.look(_of_caches(began))
    told = [str(delivery.headers) for delivery in receiver.deliveries]
    search.look([("events", receiver.told.encode()), ("their headers", str(told).encode())])
    assert search.places > 1000
    assert len(receiver.deliveries) >= 5  # each turn in a crisis, for none goes on from another, and a second try
    assert len(files) > 20  # the server's own output, Ray's and the replicas'
    loud = b"".join(files.values())
    crash = [b"Fatal Python error"] if crashes else []
    for sign in (b'"request_id":"', b"DEBUG", b"asyncio", b"RuntimeError", b"vllm", *crash):
        assert sign in loud, f"not so loud: no {sign!r}"
    assert len({span.service for span in collector.spans}) == 3
    assert search.found.keys() == ALLOWED, search.found
    search.look([("requests", b"".join(requests))])
    assert {way.partition(":")[0] for way in search.found["requests"]} == {WORD_IN_URLS, PHRASE_IN_URLS}
    shutil.rmtree(folder)


def test_a_loud_process_reads_no_endless_stack() -> None:
    deep = """
import asyncio
def future(depth):
    return future(depth - 1) if depth else loop.create_future()
loop = asyncio.new_event_loop()
assert len(future(200)._source_traceback) == 50
"""
    env = {**os.environ, "PYTHONPATH": str(LOUD), "PYTHONASYNCIODEBUG": "1"}
    subprocess.run([sys.executable, "-c", deep], env=env, check=True)


@contextmanager
def _stacks_of_what_hangs(server: Server) -> Iterator[None]:
    """In the log that a failure leaves behind. Serve kills a replica that hangs for a minute and a half."""
    try:
        yield
    except httpx.TransportError:
        for process in _processes(server, "ray::ServeReplica"):
            os.kill(int(process.name), signal.SIGUSR1)
        time.sleep(2)
        raise


def _tokenizers() -> dict[str, Tokenizer]:
    """Of the demo's engines, whose tokens no log shall hold."""
    folders = prepare(Settings.model_validate(servers.demo()))
    return {name: Tokenizer.from_file(str(folder / "tokenizer.json")) for name, folder in folders.items()}


def _talk(server: Server) -> list[Place]:
    """What came back, without the replies, which may take up what was said."""
    # A connection each: HAProxy, which Ray replaces soon after the start, closes those that wait for a next request.
    each = httpx.Limits(max_keepalive_connections=0)
    with (
        httpx.Client(base_url=server.url, timeout=servers.TURN_SECONDS, limits=each) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        answers = list(pool.map(lambda body: client.post(CHAT, json=body), TURNS + DEMANDING + BROKEN + BAD))
        assert sum("psychechat" in answer.text for answer in answers if answer.status_code == 200) > len(TURNS)
        answers += pool.map(lambda headers: client.post(CHAT, json=TURNS[0], headers=headers), HEADERS)
        answers.append(client.post(f"{CHAT}?x={IN_URLS}", json=TURNS[0]))
    answers.append(
        httpx.post(server.url + CHAT, json=TOO_LARGE, timeout=servers.TURN_SECONDS)
    )  # which closes its connection
    assert answers[-1].status_code == 413
    assert not [answer for answer in answers if answer.status_code == 429], "not all of it was read"
    return [_told(answer) for answer in answers]


def _send_what_needs_no_counselor(server: Server) -> list[Place]:
    with httpx.Client(base_url=server.url, timeout=servers.TURN_SECONDS) as client:
        answers = [client.post(CHAT, content=content) for content in NOT_JSON]
        for path in ("/v1/classify", "/v1/moderations"):
            answers += [client.post(path, json={"input": text}) for text in TEXTS + BAD_TEXTS]
            answers += [client.post(path, json={"input": PLAIN, f"{CANARY} x": CANARY}, headers=HEADERS[0])]
            answers += [client.post(path, content=content) for content in NOT_JSON]
        answers.append(client.post("/v1/classify", json={"input": TEXTS[1], "stream": True}))
        answers.append(client.post("/v1/moderations", json={"input": TEXTS[1], "model": CANARY}))
        for path in (f"/{IN_URLS}", f"/v1/models/{IN_URLS}", f"/health?x={IN_URLS}", f"/{IN_URLS}/%00%0a?{IN_URLS}"):
            answers += [client.get(path), client.delete(path)]
    address = ("127.0.0.1", httpx.URL(server.url).port or 0)
    with socket.create_connection(address) as raw:
        raw.sendall(BREAKS_OFF.encode())
    for request in NO_HTTP:
        with socket.create_connection(address, timeout=60) as raw:
            raw.sendall(request.encode())
            answers.append(httpx.Response(400, content=raw.recv(65536)))
    return [_told(answer) for answer in answers]


def _told(answer: httpx.Response) -> Place:
    """What the server says of its own: all but the reply."""
    own = answer.status_code != 200 or "chat.completion" not in answer.text
    return f"an answer of {answer.status_code}", repr(answer.headers.raw).encode() + (answer.content if own else b"")


def _shown(server: Server) -> Iterator[Place]:
    """What everybody on this machine may ask for, and what this user may."""
    for address in (server.url, *(f"http://127.0.0.1:{port}" for port in _PORTS.values())):
        for path in (
            ("/stats", "/stats;csv") if address.endswith(_PORTS["RAY_SERVE_HAPROXY_STATS_PORT"]) else ("/metrics",)
        ):
            answer = _after_a_crash(partial(httpx.get, address + path, timeout=servers.TURN_SECONDS))
            assert answer.status_code == 200, f"{address}{path}"
            yield f"{address}{path}", answer.content
    running = _processes(server)
    for process in running:
        limits = places.read(process / "limits").decode()
        assert re.search(r"Max core file size +0 ", limits) or not limits, "it may dump its memory, words and all"
    yield from places.of_processes(running)
    yield from _of_haproxy(server)


def _of_haproxy(server: Server) -> Iterator[Place]:
    config = places.haproxy_config(_processes(server))
    assert any(folder.stat().st_mode & 0o077 == 0 for folder in places.admin_socket(config).parents)
    return places.of_haproxy(config)


def _of_redis(redis: RedisServer) -> Iterator[Place]:
    """Everything in it, and every command that it has had."""
    everything = redis.everything()
    assert {key.split(b":")[1] for key in everything} == {b"memory", b"session"}
    for key, values in everything.items():
        yield f"Redis: {key!r}", b"\n".join([key, *values])
    yield "Redis's commands", redis.commands()


def _of_caches(since: float) -> Iterator[Place]:
    """What has been written since then where our libraries keep what they shall find again."""
    caches = (
        ".cache/psychechat",
        ".cache/vllm",
        ".cache/torch",
        ".cache/huggingface",
        ".config/vllm",
        ".ray",
        ".triton",
    )
    for file in (file for cache in caches for file in (Path.home() / cache).rglob("*")):
        if file.is_file() and file.stat().st_mtime >= since:
            yield str(file), places.read(file)


def _leave_half_way(server: Server, search: Search) -> None:
    for model in ("psychechat-llm", "psychechat-agent"):
        body = _chat(URGENT, model=model, stream=True)
        with (
            httpx.Client(timeout=120) as client,
            client.stream("POST", f"{server.url}{CHAT}?x={IN_URLS}", json=body) as response,
        ):
            next(response.iter_bytes())
            search.look(_of_haproxy(server))
        with contextlib.suppress(httpx.ReadTimeout):
            httpx.post(server.url + CHAT, json=_chat(model=model), timeout=0.1)


def _kill(server: Server, name: str, how: signal.Signals) -> Path:
    """In the middle of a turn. Gives the folder in /proc of who died."""
    [victim] = _processes(server, f"ray::ServeReplica:psychechat:{name}")
    body = _chat(model="psychechat-llm", stream=True)
    with (
        contextlib.suppress(httpx.TransportError),
        httpx.stream("POST", server.url + CHAT, json=body, timeout=120) as response,
    ):
        next(pieces := response.iter_bytes())
        os.kill(int(victim.name), how)
        list(pieces)
    return victim


def _wait_for_another(server: Server, victim: Path) -> None:
    """A replica of its kind has its place, and all are ready."""
    title = "ray::ServeReplica:psychechat:"
    servers.wait_until(lambda: victim not in _processes(server, title), 180, f"{victim} has not ended")
    server.wait_until_ready()


def _after_a_crash(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """HAProxy is replaced after an ingress, twice, and one that leaves closes connections that it has not read from."""
    answers: list[httpx.Response] = []

    def is_answered() -> bool:
        with contextlib.suppress(httpx.RemoteProtocolError):
            answers.append(ask())
        return bool(answers)

    servers.wait_until(is_answered, 60, "no connection is kept open")
    return answers[0]


def _processes(server: Server, title: str = "") -> list[Path]:
    return places.processes(server.process.pid, title)


_PORTS = {
    name: str(free_from(port))
    for name, port in {
        "RAY_SERVE_HAPROXY_METRICS_PORT": 19101,
        "RAY_SERVE_HAPROXY_STATS_PORT": 18404,
        "AUTOSCALER_METRIC_PORT": 14217,
        "DASHBOARD_METRIC_PORT": 14227,
        "metrics_port": 19090,
    }.items()
}
"""Of metrics and statistics. The last one is a setting's, the others the environment's."""


@contextmanager
def _loud(folder: Path, syslog: str, receiver: str, collector: Collector, redis: RedisServer) -> Iterator[Server]:
    """A server that logs as much as it can and writes everything under the folder."""
    settings = servers.demo()
    for engine in (settings["classifier"], settings["engines"]["counselor"]):
        engine["engine_args"]["enable_log_requests"] = True
    settings["escalation"] = {"url": receiver}
    settings["memory"] = {"backend": "redis"}
    settings["metrics_port"] = int(_PORTS["metrics_port"])
    # It logs so much that a message may wait long for its reading; all of them shall be read.
    settings.setdefault("policy", {})["admission"] = {"door_seconds": 60.0, "generation_seconds": 60.0}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    (folder / "tmp").mkdir()
    keys = {"index": secrets.token_hex(32), "encrypt_with": "one", "keys": {"one": secrets.token_hex(32)}}
    env = {
        "PSYCHECHAT_ESCALATION_SECRET": SECRET,
        "PSYCHECHAT_REDIS_URL": redis.url,
        "PSYCHECHAT_MEMORY_KEYS": json.dumps(keys),
        "PSYCHECHAT_LOG_FORMAT": "json",
        **exporting_to(collector),
        "PYTHONPATH": os.pathsep.join([str(LOUD), os.environ.get("PYTHONPATH", "")]),
        "CANARY_BREAKS": "1",
        "PYTHONASYNCIODEBUG": "1",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        "RAY_BACKEND_LOG_LEVEL": "debug",
        "RAY_enable_export_api_write": "1",
        "RAY_SERVE_HAPROXY_LOG_TARGET": syslog,
        "RAY_TMPDIR": str(folder),
        "TMPDIR": str(folder / "tmp"),
        **_PORTS,
    }
    config = ("--config", str(folder / "settings.yaml"), "--logs")
    with servers.psychechat(free_from(18000), folder / "log", *config, env=env) as server:
        server.wait_until_ready()
        yield server


@contextmanager
def _syslog() -> Iterator[tuple[str, list[bytes]]]:
    """An address for HAProxy's log of requests, and what came there."""
    lines: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(0.2)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    lines.append(listening.recv(65536))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}", lines
        finally:
            over.set()
            thread.join()
