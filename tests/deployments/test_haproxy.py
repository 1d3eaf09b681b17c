"""HAProxy by way of ours, as Ray starts it, with the file that Ray writes, and the real app behind it."""

import asyncio
import json
import os
import re
import stat
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from psychechat.engines.scripted import ScriptedGenerator
from psychechat_ray import haproxy
from psychechat_ray.environment import HAPROXY
from tests.serving.api.conftest import serve
from tests.support.servers import free_port, free_ports, wait_until

pytestmark = pytest.mark.e2e

WAIT_SECONDS = 20
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""Its preface, and settings without a setting."""
HALF_A_FRAME = b"\x00\x0f\x00\x01\x04\x00\x00\x00\x01"
"""Of headers. Its length says that 3,840 bytes follow."""


def rays(folder: Path, app: int) -> HAProxyApi:
    """What starts HAProxy in Ray, for the server that listens at `app`. Its files lie in `folder`."""
    port, stats, metrics = free_ports(3)
    config = HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "server-state"),
        metrics_socket_path=str(folder / "metrics.sock"),
        stats_port=stats,
        metrics_port=metrics,
        http_options=HTTPOptions(host="127.0.0.1", port=port),
    )
    api = HAProxyApi(config, config_file_path=str(folder / "haproxy.cfg"))
    server = ServerConfig("replica", "127.0.0.1", app)
    backend = BackendConfig("app", "/", servers=[server], http_health_check_path="/health", health_check_rise=1)
    api.set_backend_configs({"app": backend})
    return api


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """What Ray has HAProxy read."""
    api = rays(tmp_path, free_port())
    api._generate_config_file_internal()
    return Path(api.config_file_path)


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [HAPROXY, *arguments], env=os.environ | (env or {}), capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


def test_three_lines_of_rays_file_are_other_ones(written: Path) -> None:
    """Ray's template is its own affair: another version may have another."""
    before = written.read_text()
    haproxy.mend(written, 30, 9_000)
    after = written.read_text()
    gone = set(before.splitlines()) - set(after.splitlines())
    new = set(after.splitlines()) - set(before.splitlines())
    socket = f"stats socket {written.parent}/admin.sock mode %s level admin expose-fd listeners"
    assert {line.strip() for line in gone} == {socket % 666, "maxconn 4096"}
    assert {line.strip() for line in new} == {socket % 600, "maxconn 9000", "timeout http-request 30s"}
    assert after.index("\ndefaults\n") < after.index("timeout http-request") < after.index("\nfrontend ")
    haproxy.mend(written, 5, 100)
    assert written.read_text() == after
    assert not list(written.parent.glob("*.new"))


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        (r"stats socket.*", "admin socket with a mode"),
        (r" mode 666", "admin socket with a mode"),
        (r"maxconn.*", "bound on connections"),
    ],
)
def test_what_has_no_place_in_rays_file_keeps_nothing_else_from_its_own(written: Path, missing: str, what: str) -> None:
    written.write_text(re.sub(missing, "", written.read_text(), count=1))
    status, _, said = run("-c", "-f", written)
    assert status == 0, said
    assert said.count("psychechat-haproxy: ") == 1
    assert f"no {what} in {written}" in said
    assert "timeout http-request 30s" in written.read_text()


@pytest.mark.parametrize(("seconds", "says"), [("soon", True), ("0", True), ("30s", True), ("", False)])
def test_a_bound_that_is_none_is_the_usual_one(written: Path, seconds: str, says: bool) -> None:
    status, _, said = run("-c", "-f", written, env={haproxy.HEADERS_SECONDS: seconds})
    assert status == 0, said
    assert (haproxy.HEADERS_SECONDS in said) is says
    assert "timeout http-request 30s" in written.read_text()


def test_a_file_that_cannot_be_mended_stays(written: Path) -> None:
    text = written.read_text()
    written.with_name("haproxy.cfg.new").mkdir()
    status, _, said = run("-c", "-f", written)
    assert status == 0, said
    assert f"{written} stays as Ray wrote it" in said
    assert written.read_text() == text


@pytest.mark.parametrize(
    ("files", "env", "bound"),
    [
        (11_000, {}, 4_096),  # fewer than Ray asks for would be no help
        (14_000, {}, 4_500),
        (20_000, {"RAY_SERVE_HAPROXY_MAXCONN": "4096"}, 4_096),
    ],
)
def test_connections_are_as_many_as_open_files_allow_and_the_operator_says(
    written: Path, files: int, env: dict[str, str], bound: int
) -> None:
    command: list[str | Path] = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", HAPROXY, "-db", "-f", written]
    with subprocess.Popen(command, env=os.environ | env, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: (written.parent / "admin.sock").exists(), WAIT_SECONDS, "HAProxy does not start")
        finally:
            process.kill()
    assert f"\n    maxconn {bound}\n" in written.read_text()


def test_the_operators_own_haproxy_takes_its_place(written: Path) -> None:
    ours = {"RAY_SERVE_HAPROXY_BINARY_PATH": str(HAPROXY)}
    assert run("-v", env=ours)[1].startswith("HAProxy version ")
    status, out, said = run("-db", "-f", written, env={**ours, haproxy.BINARY: "/bin/echo"})
    assert (status, out, said) == (0, f"-db -f {written}\n", "")


@asynccontextmanager
async def front(folder: Path, app: int) -> AsyncIterator[HAProxyApi]:
    """HAProxy under way, after a reload, and its server up."""
    api = rays(folder, app)
    await api.start()
    try:
        await api.reload()
        async with asyncio.timeout(WAIT_SECONDS):
            while not (await api.get_all_stats())["app"]["replica"].is_up:
                await asyncio.sleep(0.05)
        yield api
    finally:
        await api.stop()


async def dripped(port: int, sent: bytes, drop: bytes) -> bytes:
    """All that comes back on a connection that sends this, then another drop every fifth of a second.

    Raises TimeoutError if it is not closed within WAIT_SECONDS.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(sent)
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                with suppress(TimeoutError):
                    piece = await asyncio.wait_for(reader.read(65536), 0.2)
                    if not piece:
                        return answer
                    answer += piece
                    continue  # The rest of an answer first: a drop into what is closed meanwhile ends the reading too.
                writer.write(drop)
    except ConnectionError:
        return answer
    finally:
        writer.close()


@pytest.mark.asyncio
async def test_what_drips_in_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(haproxy.HEADERS_SECONDS, "1")
    with serve(limits={"body_seconds": 1.0}) as served:
        async with front(tmp_path, served.port) as api:
            port = api.cfg.frontend_port
            headers, nothing, http_2, body, chunks, unread = await asyncio.gather(
                dripped(port, HEAD + b"x-a: ", b"a"),
                dripped(port, b"", b""),
                dripped(port, HTTP_2 + HALF_A_FRAME, b"\x00"),
                dripped(port, HEAD + b"content-length: 5000\r\n\r\n", b" "),
                dripped(port, HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
                dripped(port, b"POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n", b" "),
            )
    for answer in (headers, nothing):
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"text/html" in answer
    assert b"HTTP/1.1" not in http_2
    for answer in (body, chunks):
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"] == "The body did not arrive in time."
    assert unread.startswith(b"HTTP/1.1 403 ")


@pytest.mark.asyncio
async def test_what_takes_long_after_the_headers_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(haproxy.HEADERS_SECONDS, "1")
    hello = {"model": "psychechat-llm", "messages": [{"role": "user", "content": "I went for a walk"}]}
    body = json.dumps(hello).encode()
    request = HEAD + b"content-length: %d\r\n\r\n" % len(body)
    with serve(ScriptedGenerator(first_seconds=2.0)) as served:
        served.http.post("/v1/chat/completions", json=hello, timeout=120)  # a process's first reads what all need
        async with front(tmp_path, served.port) as api:
            assert stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode) == 0o600
            reader, writer = await asyncio.open_connection("127.0.0.1", api.cfg.frontend_port)
            try:
                for _ in range(2):  # one connection, idle in between
                    writer.write(request)
                    await asyncio.sleep(1.5)
                    began = time.monotonic()
                    writer.write(body)
                    async with asyncio.timeout(WAIT_SECONDS):
                        head = await reader.readuntil(b"\r\n\r\n")
                        [length] = re.findall(rb"content-length: (\d+)", head)
                        await reader.readexactly(int(length))
                    assert head.startswith(b"HTTP/1.1 200 ")
                    assert time.monotonic() - began > 1.5
                    await asyncio.sleep(1.5)
            finally:
                writer.close()
