"""HAProxy and Serve's front of a replica on the real server: what they answer themselves, and what they let through.

docs/api.md lists these answers. The official client must raise for each and take no part of a reply for the whole.
"""

import re
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from tests.deployments.fragile import SETTINGS, strike
from tests.support.ray_cluster import Cluster
from tests.support.servers import wait_until

pytestmark = pytest.mark.e2e

HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "I went for a walk"}]


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Cluster:
    """One for all tests here: the last of them kills its ingress."""
    cluster.serve(SETTINGS)
    return cluster


@pytest.fixture
def client(server: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=120) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def slow(server: Cluster) -> Iterator[socket.socket]:
    """A connection whose body never ends. The other tests run while it is waited for."""
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=40) as connection:
        connection.sendall(b"POST /none HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n\r\n ")
        yield connection


def answer_to(server: Cluster, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=10) as connection:
        connection.sendall(sent)
        return connection.recv(65536)


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        (b"rubbish\r\n\r\n", b"400", b"text/html"),
        (b"GET /health HTTP/1.1\r\nhost: x\r\nbad header: x\r\n\r\n", b"400", b"text/html"),
        (b"GET /health HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 40_000 + b"\r\n\r\n", b"400", b"text/html"),
        (
            b"POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
            b"400",
            b"text/html",
        ),
        (b"FOO /health HTTP/1.1\r\nhost: x\r\n\r\n", b"400", b"text/plain"),
    ],
    ids=["no HTTP", "header", "40 kB", "two lengths", "method"],
)
def test_what_is_no_http_is_answered_as_documented(server: Cluster, sent: bytes, status: bytes, kind: bytes) -> None:
    head = answer_to(server, sent).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 " + status)
    assert b"content-type: " + kind in head
    assert b"x-request-id" not in head


def test_every_haproxy_bounds_headers_and_keeps_its_admin_socket(server: Cluster) -> None:
    """Those of `psychechat serve` and of the chart have the same variable."""
    commands = [process.cmdline() for process in psutil.Process().children(recursive=True)]
    files = {command[command.index("-f") + 1] for command in commands if "-db" in command}
    assert files
    for file in files:
        written = Path(file).read_text()
        assert "\n    timeout http-request 30s\n" in written
        [admin] = re.findall(r"stats socket (\S+)", written)
        assert stat.S_IMODE(Path(admin).stat().st_mode) == 0o600


def test_a_websocket_is_refused(server: Cluster) -> None:
    key = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
    upgrade = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n" + key
    assert answer_to(server, upgrade + b"\r\n").startswith(b"HTTP/1.1 403 ")


def test_a_client_steers_nothing_and_gets_one_id(server: Cluster) -> None:
    steering = {"x-request-timeout-seconds": "0.01", "x-request-disconnect-disabled": "?1", "x-request-id": "mine-1"}
    body = {"model": "psychechat-llm", "messages": HELLO}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=steering, timeout=120)
    assert answer.status_code == 200
    assert answer.headers.get_list("x-request-id") == ["mine-1"]


def test_a_body_that_nobody_reads_is_not_listened_to(slow: socket.socket) -> None:
    """Serve's front of a replica closes the connection, too. How HAProxy bounds headers: test_haproxy.py."""
    answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_the_official_client_takes_no_part_for_the_whole(server: Cluster, client: openai.OpenAI) -> None:
    failed: list[Exception] = []
    [victim] = server.replicas()["ingress"]

    def plain() -> None:
        try:
            client.chat.completions.create(model="psychechat-llm", messages=HELLO)
        except Exception as error:
            failed.append(error)

    whole = threading.Thread(target=plain)
    whole.start()
    stream = client.chat.completions.create(model="psychechat-llm", messages=HELLO, stream=True)
    finishes: list[str | None] = []

    def read() -> None:
        killed = False
        for chunk in stream:
            finishes.append(chunk.choices[0].finish_reason)
            if chunk.choices[0].delta.content and not killed:
                strike(server, "ingress")
                killed = True

    with pytest.raises((openai.APIError, httpx.TransportError)):
        read()
    whole.join()
    assert finishes
    assert not any(finishes)
    [error] = failed
    assert isinstance(error, (openai.InternalServerError, openai.APIConnectionError))
    wait_until(lambda: victim not in server.replicas()["ingress"], 60, "Serve never missed it")
    # Who comes now waits for the next replica, and is answered.
    again = client.chat.completions.create(model="psychechat-llm", messages=HELLO)
    assert again.choices[0].finish_reason == "stop"
