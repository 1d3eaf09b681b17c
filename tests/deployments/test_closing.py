"""Clients of HTTP/1.0, with raw sockets: a stream of the real app reaches them bare, and ends with the connection."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols.http import httptools_impl

from psychechat.engines.scripted import ScriptedGenerator
from psychechat_ray import closing
from tests.deployments.test_haproxy import front
from tests.serving.api.conftest import serve

SECONDS = 60


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", httptools_impl.RequestResponseCycle)  # put back
    closing.install()
    with serve(ScriptedGenerator()) as running:
        yield running


def asked(text: str, version: str, *headers: str, stream: bool = True) -> bytes:
    body = json.dumps(
        {"model": "psychechat", "stream": stream, "messages": [{"role": "user", "content": text}]}
    ).encode()
    lines = [
        f"POST /v1/chat/completions HTTP/{version}",
        *("host: localhost", "content-type: application/json", f"content-length: {len(body)}"),
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def assert_bare(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.partition(b"\r\n")[0]
    assert b"transfer-encoding" not in head.lower()
    assert b"content-length" not in head.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")
    for event in body.removesuffix(b"data: [DONE]\n\n").removesuffix(b"\n\n").split(b"\n\n"):
        json.loads(event.removeprefix(b"data: "))


def through(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("headers", [(), ("connection: keep-alive",)], ids=["plain", "keep-alive"])
@pytest.mark.parametrize("text", ["hello there", "I want to die"])
def test_a_stream_has_no_chunks_for_http_1_0(served: Any, text: str, headers: tuple[str, ...]) -> None:
    assert_bare(through(served.port, asked(text, "1.0", *headers)))


def test_what_has_a_length_keeps_it(served: Any) -> None:
    for sent in (asked("hello there", "1.0", stream=False), b"GET /health HTTP/1.0\r\nhost: localhost\r\n\r\n"):
        head, _, body = through(served.port, sent).partition(b"\r\n\r\n")
        assert b"\r\ncontent-length: %d\r\n" % len(body) in head
        assert json.loads(body)
    head = through(served.port, b"HEAD /health HTTP/1.0\r\nhost: localhost\r\n\r\n")
    assert head.endswith(b"\r\n\r\n")


def test_http_1_1_has_chunks_as_before(served: Any) -> None:
    head, _, body = through(served.port, asked("hello there", "1.1", "connection: close")).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body.endswith(b"0\r\n\r\n")


@pytest.mark.e2e
@pytest.mark.asyncio
@pytest.mark.parametrize("headers", [(), ("connection: keep-alive",)], ids=["plain", "keep-alive"])
async def test_haproxy_adds_none(served: Any, tmp_path: Path, headers: tuple[str, ...]) -> None:
    async with front(tmp_path, served.port) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.cfg.frontend_port)
        writer.write(asked("hello there", "1.0", *headers))
        async with asyncio.timeout(SECONDS):
            answer = await reader.read()
        writer.close()
    assert_bare(answer)
