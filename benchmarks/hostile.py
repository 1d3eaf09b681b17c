"""Thousands of malformed and hostile requests: `make hostile`.

Valid requests with something spoilt, bytes that are no JSON, wrong paths and methods, headers that lie, broken HTTP on
a bare socket, bodies of nearly a megabyte that are made to be dear, and all the while connections that send a byte now
and then. What must hold: what became of every request is counted, every answer is one that docs/api.md lists, an error
is OpenAI's object and repeats nothing of what was sent, `/health`, asked all the while, never waits long, and the
server's memory does not grow. Exits with 1 where one of them does not.
"""

import asyncio
import copy
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer
from rich.console import Console
from rich.progress import track

from benchmarks.provenance import provenance, today
from tests.support import servers

CANARY = "kingfisher7Q"
"""In the values of everything that is sent. No error may repeat it, but it may name an unknown field."""
KNOWN = frozenset({200, 204, 400, 401, 404, 405, 408, 413, 415, 429})
"""504 besides, where the request itself asked for almost no time."""

VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "psychechat-llm",
        "messages": [
            {"role": "system", "content": f"{CANARY} note"},
            {"role": "user", "content": f"{CANARY} hello"},
            {"role": "assistant", "content": [{"type": "text", "text": f"{CANARY} and you?"}]},
            {"role": "user", "content": f"{CANARY} fine"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_completion_tokens": 200,
        "stop": [f"{CANARY} stop"],
        "metadata": {"locale": "en-US"},
        "user": CANARY,
    },
    "/v1/responses": {
        "model": "psychechat-llm",
        "instructions": f"{CANARY} note",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": f"{CANARY} hello"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": f"{CANARY} and you?", "annotations": []}],
            },
            {"role": "user", "content": f"{CANARY} fine"},
        ],
        "stream": True,
        "reasoning": {"effort": "none", "summary": "auto"},
        "max_output_tokens": 200,
        "text": {"format": {"type": "text"}},
        "metadata": {"locale": "en-US"},
    },
    "/v1/classify": {"input": [f"{CANARY} one", f"{CANARY} two"], "stream": False},
    "/v1/moderations": {"input": f"{CANARY} text", "model": "omni-moderation-latest"},
}

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**70, -(2**63), 1e308, 0.1, "", " ", "\x00", "\n\r\t", "‮" + CANARY, CANARY),
    *(CANARY * 4_000, "\ud83d\ude42", [], {}, [[]], [None], {"a": None}, [CANARY] * 300, {"": CANARY}),
    *(
        "user",
        "tool",
        "psychechat",
        "../../etc/passwd",
        "{{7*7}}",
        "%s%n",
        "' OR 1=1 --",
        "<script>",
        "<think>",
        "</think>",
    ),
)

_ADDED = ("colour", "tools", "tool_choice", "top_k", "modreation", "n", "logprobs", "response_format", "seed")

_BYTES: tuple[bytes, ...] = (
    *(b"", b" ", b"null", b"[]", b'"text"', b"{", b"}", b'{"model":', b"\xff\xfe", b"\xef\xbb\xbf{}", b"\x00" * 64),
    *(b"[" * 50_000, b'{"a":' * 20_000, b'{"model": NaN}', b'{"model": 1e999999}', b'{"n":' + b"9" * 5_000 + b"}"),
    *(
        b'{"model":"psychechat","model":"x"}',
        b'{"messages":"\\ud800"}',
        b'{"model":"psychechat",}',
        b"model=psychechat",
    ),
    b'{"model":"psychechat","messages":[{"role":"user","content":"' + CANARY.encode() + b'\xc3("}]}',
)


def _dear(path: str, **fields: object) -> tuple[str, bytes]:
    return path, json.dumps({"model": "psychechat", **fields}, ensure_ascii=False, separators=(",", ":")).encode()


def _said(text: str, times: int = 1) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}] * times


_CHAT, _RESPONSES = "/v1/chat/completions", "/v1/responses"
_MODERATE, _CLASSIFY = "/v1/moderations", "/v1/classify"
_MARKS, _LIGATURES = "a" + "\u0301" * 31_998, "\ufdfa" * 31_999
_STRANGERS = {f"a{number}": 0 for number in range(80_000)}
_DEAR: tuple[tuple[str, bytes], ...] = (
    _dear(_CHAT, messages=[{}] * 320_000),
    _dear(_CHAT, messages=_said("x", 25_000)),
    _dear(_CHAT, messages=_said(_MARKS)),
    _dear(_CHAT, messages=_said(_MARKS, 15)),
    _dear(_CHAT, messages=_said(_LIGATURES, 10)),
    _dear(_CHAT, messages=[*_said(_LIGATURES, 9), {"role": "assistant", "content": "and?"}, *_said("fine")]),
    _dear(_CHAT, messages=_said("I went for a walk. " * 1_600, 30), n=2),
    _dear(_CHAT, messages=[{"role": "user", "content": [{"type": "text", "text": "a"}] * 30_000}]),
    _dear(_CHAT, messages=_said("fine"), metadata=_STRANGERS),
    _dear(_CHAT, messages=_said("fine"), **_STRANGERS),
    _dear(_RESPONSES, input=[{}] * 320_000),
    _dear(_RESPONSES, input=_said("x", 25_000), instructions="x"),
    _dear(_RESPONSES, input="fine", text=_STRANGERS),
    _dear(_CLASSIFY, input="fine", **_STRANGERS),
    _dear(_CHAT, messages=_said("fine"), tools=[[{"type": CANARY, "function": {}}] * 20_000]),
    _dear(_MODERATE, input=["I went for a walk. " * 10] * 4_096),
    _dear(_MODERATE, input=[_MARKS] * 15),
    _dear(_CLASSIFY, input=["I went for a walk. " * 10] * 4_096),
    _dear(_CLASSIFY, input=["a"] * 240_000),
)
"""Each of these once held a server up for seconds, or might have."""
_BROKEN: tuple[tuple[str, bytes], ...] = (
    _dear(_CHAT, messages=_said("k1ll s.e.l.f " * 2_400), n=200),
    _dear(_CHAT, messages=_said("I went for a walk. " * 50_000), temperature=9),
    _dear(_CHAT, messages=_said("I went for a walk. " * 1_600, 30), tool_choice="required"),
    _dear(_CHAT, messages=_said("fine"), temperature=9, **_STRANGERS),
    (_CHAT, _dear(_CHAT, messages=_said("I went for a walk. " * 1_600, 30))[1][:-1] + b",}"),
    (_CHAT, b"\xef\xbb\xbf" + _dear(_CHAT, messages=[[]] * 300_000)[1]),
    *(
        (_CHAT, b'{"messages":"' + piece * (900_000 // len(piece)))
        for piece in (b"\\", b"\\ud83d", b'",', b'":', b"[{")
    ),
)
"""These are read twice: leniently, and once more before they are refused."""
_AT_ONCE = 8
MOST_HEALTH_SECONDS = 1.0
"""That `/health` may ever take, on a machine whose cores are shared with the attacker."""

_HEADERS: tuple[dict[str, str], ...] = (
    {"x-request-id": "a" * 5_000},
    {"x-request-id": f"{CANARY} with spaces"},
    {"x-session-id": "s" * 5_000},
    {"x-session-id": "../" + CANARY},
    {"x-request-timeout": "nan"},
    {"x-request-timeout": "-1"},
    {"x-request-timeout": "1e-9"},
    {"authorization": f"Bearer {CANARY}"},
    {"authorization": "Basic eA=="},
    {"content-type": "text/plain"},
    {"content-type": "application/json; charset=utf-16"},
    {"content-encoding": "gzip"},
    {"accept": "application/xml"},
    {"x-forwarded-for": f"{CANARY}"},
    {"traceparent": f"00-{CANARY}"},
    {f"x-{i}": "v" * 100 for i in range(60)},
)

_PATHS = (
    *("/", "/v1", "/v1/chat", "/v1/chat/completions/", "/v1//models", "/%2e%2e/x"),
    *(f"/v1/models/{CANARY}", f"/v1/models?q={CANARY}"),
)

_RAW: tuple[bytes, ...] = (
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nhost: [::1]\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: [::1]\r\ncontent-length: -5\r\n\r\n",
    b"POST /v1/classify HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: [::1]\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET /health HTTP/1.1\r\nhost: [::1]\r\nx-request-id: a\r\n evil: folded\r\n\r\n",
    b"GET /health HTTP/1.1\r\nhost: [::1]\r\nx-bad: a\x00b\r\n\r\n",
    b"GET /health HTTP/1.1\r\nhost: [::1]\r\n" + b"x-long: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: [::1]\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@dataclass
class Found:
    """What the answers were, and what was wrong with any of them."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)
    health: list[float] = field(default_factory=list)
    silent: int = 0
    """Requests that either side ended without an answer."""

    @property
    def requests(self) -> int:
        return sum(self.kinds.values())

    def count(self, sent: int) -> None:
        """Complain if what became of them is not known of all that were sent."""
        if not sent == self.requests == sum(self.statuses.values()) + self.silent:
            self.complaints[f"of {sent} requests {self.requests} were counted"] += 1

    def judge(self, kind: str, status: int, body: bytes, *, own_time: bool = False) -> None:
        self.kinds[kind] += 1
        self.statuses[str(status)] += 1
        if status not in KNOWN and not (status == 504 and own_time):
            self.complaints[f"{kind}: status {status}"] += 1
        if status < 400:
            return
        if CANARY.encode() in body:
            self.complaints[f"{kind}: status {status} repeats what was sent"] += 1
        if body[:1] == b"{" and set(json.loads(body).get("error", ())) != {"message", "type", "param", "code"}:
            self.complaints[f"{kind}: status {status} without OpenAI's error object"] += 1


def spoilt(body: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The body with one to three values replaced, removed or added."""
    body = copy.deepcopy(body)
    for _ in range(chance.randint(1, 3)):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = chance.choice(keys) if keys else None
            if key is None or not isinstance(place[key], dict | list) or chance.random() < 0.3:
                break
            place = place[key]
        match chance.random(), place:
            case blow, dict() if blow < 0.2:
                place[chance.choice(_ADDED)] = chance.choice(_VALUES)
            case blow, dict() | list() if blow < 0.4 and key is not None:
                del place[key]
            case _ if key is not None:
                place[key] = copy.deepcopy(chance.choice(_VALUES))
    return body


async def one(client: httpx.AsyncClient, found: Found, chance: random.Random) -> None:
    path = chance.choice(list(VALID))
    headers = {"content-type": "application/json"}
    match chance.choices(["body", "bytes", "headers", "path", "dear"], [60, 15, 15, 10, 5])[0]:
        case "body":
            kind, method = "spoilt body", "POST"
            content = json.dumps(spoilt(VALID[path], chance)).encode()
        case "bytes":
            kind, method, content = "no JSON", "POST", chance.choice(_BYTES)
        case "headers":
            kind, method = "headers", "POST"
            headers |= chance.choice(_HEADERS)
            content = json.dumps(VALID[path]).encode()
        case "dear":
            kind, method = "dear body", "POST"
            path, content = chance.choice([*_DEAR, *_BROKEN])
        case _:
            kind, path = "path or method", chance.choice([*_PATHS, *VALID])
            method, content = chance.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "POST"]), b"{}"
    try:
        response = await client.request(method, path, content=content, headers=headers)
    except httpx.HTTPError as error:
        found.kinds[kind] += 1
        found.silent += 1
        found.complaints[f"{kind}: no answer, {type(error).__name__}"] += 1
        return
    found.judge(kind, response.status_code, response.content, own_time="x-request-timeout" in headers)


async def broken(host: str, port: int, found: Found, chance: random.Random) -> None:
    """Bytes that are not HTTP, and the answer or the closed connection. Some hang up in the middle."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(chance.choice(_RAW) + CANARY.encode())
        await writer.drain()
        if chance.random() < 0.3:
            found.kinds["broken HTTP, hung up"] += 1
            found.silent += 1
            return
        async with asyncio.timeout(3):
            answer = await reader.read(65_536)
        if answer.startswith(b"HTTP/"):
            head, _, body = answer.partition(b"\r\n\r\n")
            found.judge("broken HTTP", int(head.split()[1]), body)
        else:
            found.kinds["broken HTTP, no answer"] += 1
            found.silent += 1
    except (TimeoutError, OSError):
        found.kinds["broken HTTP, no answer"] += 1
        found.silent += 1
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def dribble(host: str, port: int, stop: asyncio.Event) -> None:
    """A client that never gets to the end of its headers, and comes again when it is thrown out."""
    while not stop.is_set():
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: [::1]\r\n")
                while not stop.is_set():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.5)
            finally:
                await hang_up(writer)


async def watch(url: str, found: Found) -> None:
    """Ask for `/health` again and again, beside everything else."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while True:
            started = time.perf_counter()
            (await client.get("/health")).raise_for_status()
            found.health.append(time.perf_counter() - started)
            await asyncio.sleep(0.02)


async def attack(url: str, requests: int, seed: int, found: Found, dribblers: int = 50) -> None:
    """So many requests, eight at a time. Each depends on the seed and its number alone."""
    stop = asyncio.Event()
    address = httpx.URL(url)
    host, port = address.host, address.port or 80
    slow = [asyncio.create_task(dribble(host, port, stop)) for _ in range(dribblers)]
    watching = asyncio.create_task(watch(url, found))
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for first in track(range(0, requests, _AT_ONCE), "Attacking", transient=True):
            dice = [random.Random(f"{seed} {number}") for number in range(first, min(first + _AT_ONCE, requests))]
            await asyncio.gather(
                broken(host, port, found, dice[0]), *(one(client, found, chance) for chance in dice[1:])
            )
    stop.set()
    watching.cancel()
    await asyncio.gather(*slow)
    with suppress(asyncio.CancelledError):
        await watching


def resident(process: psutil.Process) -> float:
    """MB of the process and all that it started. A shared page counts in each."""
    family = [process, *process.children(recursive=True)]
    return float(sum(member.memory_info().rss for member in family if member.is_running())) / 1e6


def main(
    requests: Annotated[int, typer.Option(help="How many.")] = 5_000,
    seed: Annotated[int, typer.Option(help="Decides all of them.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Attack a server of our own and write hostile.json."""
    console, found = Console(), Found()
    with servers.configured(servers.SCRIPTED, Path(tempfile.mkdtemp())) as server:
        process, memory = psutil.Process(server.process.pid), []
        for part in range(5):
            asyncio.run(attack(server.url, requests * (part + 1) // 5 - requests * part // 5, seed + part, found))
            memory.append(round(resident(process)))
            console.log(f"{found.requests:,} requests, {memory[-1]:,} MB, {dict(found.complaints)}")
    found.count(requests)
    if max(found.health) > MOST_HEALTH_SECONDS:
        found.complaints[f"/health took {max(found.health):.1f} s"] += 1
    cuts = statistics.quantiles(found.health, n=100, method="inclusive")
    result = {
        "requests": found.requests,
        "without_an_answer": found.silent,
        "kinds": dict(found.kinds),
        "statuses": dict(sorted(found.statuses.items())),
        "complaints": dict(found.complaints),
        "resident_mb_after_each_fifth": memory,
        "health_ms": {
            "asked": len(found.health),
            "p50": round(1000 * cuts[49], 1),
            "p99": round(1000 * cuts[98], 1),
            "longest": round(1000 * max(found.health), 1),
        },
    }
    command = f"python -m benchmarks.hostile --requests {requests} --seed {seed}"
    (today(output) / "hostile.json").write_text(json.dumps(provenance(command) | result, indent=2) + "\n")
    console.print(result)
    if found.complaints or memory[-1] > 1.1 * memory[1]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
