"""A word that nobody else writes passes through every real process and is found in nothing that any of them wrote.

All of them say as much as they can: Python's loggers, vLLM's, Ray's and HAProxy's are set to what somebody may set them
to who looks for a fault.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from psychechat_ray.ports import free_from
from tests.support import servers
from tests.support.collector import Collector, collecting, exporting_to
from tests.support.receiver import SECRET, receiving
from tests.support.servers import Server

LOUD = Path(__file__).with_name("loud")
CANARY = "zanzibarquux"
IN_URLS = "madagascarquux"
"""Of paths and query strings, which a log of requests holds where somebody has asked for one."""

CHAT = "/v1/chat/completions"
AT_ONCE = 8
"""Requests."""
URGENT = f"I want to die {CANARY}"
PLAIN = f"hello {CANARY} there"


def _chat(text: str = PLAIN, **more: Any) -> dict[str, Any]:
    return {"model": "psychechat", "messages": [{"role": "user", "content": text}], **more}


TURNS = [
    _chat(text, model=model, stream=stream)
    for model in ("psychechat", "psychechat-agent", "psychechat-llm")
    for text in (PLAIN, URGENT)
    for stream in (False, True)
]
DEMANDING = [
    _chat(metadata={f"{CANARY}": f"{CANARY} {index}", "locale": CANARY})
    | {"user": CANARY, "safety_identifier": CANARY, "prompt_cache_key": f"{CANARY} {index}", "stop": [CANARY]}
    for index in range(2)
] + [
    _chat(f"{CANARY} " * 500),
    {"model": "psychechat", "messages": [{"role": "system", "content": CANARY}, *_chat()["messages"]]},
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
    _chat(f"{CANARY} " * 2_300),
    _chat(temperature=CANARY),
    _chat(service_tier=CANARY),
    _chat(stop=[f"{CANARY} " * 10]),
    _chat(tools=[{"name": CANARY}]),
    _chat(response_format={"type": CANARY}),
    _chat(metadata={CANARY: 1}),
    _chat() | {f"{CANARY} x": 1},
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
    f"{CANARY}\xff".encode("latin-1"),
]
TEXTS: list[Any] = [PLAIN, [PLAIN, URGENT], f"{CANARY} " * 2_300]
BAD_TEXTS: list[Any] = [
    f"{CANARY} " * 9_000,
    {CANARY: CANARY},
    [PLAIN, 1],
    [{"type": CANARY}],
    [],
    f"breakclassify {PLAIN}",
]
HEADERS = [
    {"x-session-id": CANARY},
    {"x-session-id": f"{CANARY}-" * 60},
    {"authorization": f"Bearer {CANARY}"},
    {"authorization": CANARY},
    {"x-request-id": f"{CANARY}!"},
    {"x-request-timeout": CANARY},
    {"x-request-timeout-seconds": CANARY},
    {"serve_multiplexed_model_id": CANARY},
    {"traceparent": CANARY},
    {"traceparent": f"00-{1:032x}-{1:016x}-01", "tracestate": f"vendor={CANARY}", "baggage": f"who={CANARY}"},
    {"cookie": f"c={CANARY}"},
    {"user-agent": CANARY},
    {"content-type": f"text/{CANARY}"},
    {f"x-{CANARY}": CANARY},
]


@pytest.mark.timeout(1200)  # an engine is loaded three times
def test_no_word_of_the_seeker_is_in_anything_written() -> None:
    folder = Path(tempfile.mkdtemp(prefix="canary-"))  # short, for Ray's sockets lie there; left behind by a failure
    with (
        _syslog() as (address, requests),
        receiving(200, 500, 200) as receiver,
        collecting() as collector,
        _loud(folder, address, receiver.url, collector) as server,
    ):
        with _stacks_of_what_hangs(server):
            said = _talk(server)
            _leave_half_way(server)
            counselor = _kill(server, "counselor", signal.SIGABRT)
            said += _send_what_needs_no_counselor(server)  # which is loaded anew meanwhile, for as long as it takes
            said += _metrics(server)
        _wait_for_another(server, counselor)
        _wait_for_another(server, _kill(server, "ingress", signal.SIGKILL))
        said += [_told(httpx.post(server.url + CHAT, json=TURNS[0], timeout=120)), *_metrics(server)]
        for process in _processes(server):
            for limit in _read(process / "limits").splitlines():
                if "core file size" in limit:
                    assert limit.split()[4] == "0", f"{_read(process / 'cmdline')} may dump its memory, words and all"
    files = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}  # also of its stopping
    assert len(said) > len(BAD) + len(HEADERS)
    assert len(receiver.deliveries) >= 5  # each turn in a crisis, for none goes on from another, and a second try
    assert len(files) > 20  # the server's own output, Ray's and the replicas'
    loud = b"".join(files.values())
    for sign in (b'"request_id":"', b"DEBUG", b"asyncio", b"RuntimeError", b"vllm", b"Fatal Python error"):
        assert sign in loud, f"not so loud: no {sign!r}"
    for file, content in files.items():
        assert CANARY.encode() not in content, file
        assert IN_URLS.encode() not in content, file
    assert len({span.service for span in collector.spans}) == 3
    for text in (*said, receiver.told, str(requests), str(collector.bodies)):
        assert CANARY not in text
    assert IN_URLS in str(requests)  # they were looked at
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


def _talk(server: Server) -> list[str]:
    """What came back, without the replies, which may take up what was said."""
    with httpx.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda body: client.post(CHAT, json=body), TURNS + DEMANDING + BROKEN + BAD))
        assert sum("psychechat" in answer.text for answer in answers if answer.status_code == 200) > len(TURNS)
        answers += pool.map(lambda headers: client.post(CHAT, json=TURNS[0], headers=headers), HEADERS)
        answers.append(client.post(f"{CHAT}?x={IN_URLS}", json=TURNS[0]))
    assert not [answer for answer in answers if answer.status_code == 429], "not all of it was read"
    return [_told(answer) for answer in answers]


def _send_what_needs_no_counselor(server: Server) -> list[str]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answers = [client.post(CHAT, content=content) for content in NOT_JSON]
        for path in ("/v1/classify", "/v1/moderations"):
            answers += [client.post(path, json={"input": text}) for text in TEXTS + BAD_TEXTS]
            answers += [client.post(path, json={"input": PLAIN, f"{CANARY} x": CANARY}, headers=HEADERS[0])]
            answers += [client.post(path, content=content) for content in NOT_JSON]
        answers.append(client.post("/v1/classify", json={"input": TEXTS[1], "stream": True}))
        answers.append(client.post("/v1/moderations", json={"input": TEXTS[1], "model": CANARY}))
        for path in (f"/{IN_URLS}", f"/v1/models/{IN_URLS}", f"/health?x={IN_URLS}", f"/{IN_URLS}/%00%0a?{IN_URLS}"):
            answers += [client.get(path), client.delete(path)]
    with socket.create_connection(server.url.removeprefix("http://").split(":"), timeout=20) as raw:  # type: ignore[arg-type]
        raw.sendall(f"{CANARY} {CANARY}\r\n{CANARY}\r\n\r\n".encode())
        answers.append(httpx.Response(400, text=raw.recv(65536).decode("latin-1")))
    return [_told(answer) for answer in answers]


def _told(answer: httpx.Response) -> str:
    """What the server says of its own: all but the reply."""
    if answer.status_code == 200 and "chat.completion" in answer.text:
        return str(answer.headers)
    return f"{answer.headers} {answer.text}"


def _metrics(server: Server) -> list[str]:
    addresses = [server.url, *(f"http://127.0.0.1:{port}" for port in _PORTS.values())]
    return [httpx.get(f"{address}/metrics", timeout=20).text for address in addresses]


def _leave_half_way(server: Server) -> None:
    for model in ("psychechat-llm", "psychechat-agent"):
        body = _chat(URGENT, model=model, stream=True)
        with httpx.Client(timeout=60) as client, client.stream("POST", server.url + CHAT, json=body) as response:
            next(response.iter_bytes())
        with contextlib.suppress(httpx.ReadTimeout):
            httpx.post(server.url + CHAT, json=_chat(model=model), timeout=0.1)


def _kill(server: Server, name: str, how: signal.Signals) -> Path:
    """In the middle of a turn. Gives the folder in /proc of who died."""
    [victim] = _processes(server, f"ray::ServeReplica:psychechat:{name}")
    body = _chat(model="psychechat-llm", stream=True)
    with (
        contextlib.suppress(httpx.TransportError),
        httpx.stream("POST", server.url + CHAT, json=body, timeout=60) as response,
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


def _processes(server: Server, title: str = "") -> list[Path]:
    """Folders in /proc of the server's processes, at any depth, whose command line begins so."""
    parents: dict[str, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if stat := _read(folder / "stat"):  # empty where the process has gone since it was listed
            parents[folder.name] = stat.rpartition(")")[2].split()[1]

    def ours(process: str) -> bool:
        return process == str(server.process.pid) or (process in parents and ours(parents[process]))

    return [
        Path("/proc", pid) for pid in parents if ours(pid) and _read(Path("/proc", pid, "cmdline")).startswith(title)
    ]


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:  # the process is gone
        return ""


_PORTS = {"RAY_SERVE_HAPROXY_METRICS_PORT": free_from(19101), "RAY_SERVE_HAPROXY_STATS_PORT": free_from(18404)}


@contextmanager
def _loud(folder: Path, syslog: str, receiver: str, collector: Collector) -> Iterator[Server]:
    """A server that logs as much as it can and writes everything under the folder."""
    settings = servers.demo()
    for engine in (settings["classifier"], settings["engines"]["counselor"]):
        engine["engine_args"]["enable_log_requests"] = True
    settings["escalation"] = {"url": receiver}
    # It logs so much that a message may wait long for its reading; all of them shall be read.
    settings.setdefault("policy", {})["admission"] = {"door_seconds": 60.0, "generation_seconds": 60.0}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    (folder / "tmp").mkdir()
    env = {
        "PSYCHECHAT_ESCALATION_SECRET": SECRET,
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
        **{name: str(port) for name, port in _PORTS.items()},
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
