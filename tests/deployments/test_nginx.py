"""deployments/nginx/psychechat.conf on a real nginx, with TLS, in front of the real app."""

import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from psychechat.api.http.auth import Keyring
from psychechat.engines.base import StageName
from psychechat.engines.scripted import Answer, ScriptedGenerator
from tests.deployments.fragile import REPLY
from tests.serving.api.conftest import Served, serve
from tests.support.servers import free_port, wait_until

RECIPE = Path(__file__).parents[2] / "deployments/nginx/psychechat.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
NAME = "counselor.example"
KEY = "psy-the-one"
CHAT = "/v1/chat/completions"
WAIT_SECONDS = 30
TABLE: Mapping[StageName, Sequence[Answer]] = {StageName.REPLY: [REPLY]}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: `make tools`"),
]


@dataclass
class Front:
    port: int
    context: ssl.SSLContext
    folder: Path

    def client(self, host: str = NAME, key: str = KEY) -> httpx.Client:
        headers = {"host": host, "authorization": f"Bearer {key}"}
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", headers=headers, verify=self.context, timeout=WAIT_SECONDS
        )

    def ask(self, client: httpx.Client, method: str, path: str, **what: Any) -> httpx.Response:
        return client.request(method, path, extensions={"sni_hostname": NAME}, **what)

    def dripped(self, sent: bytes, drop: bytes) -> bytes:
        """What comes back before the connection is closed, by a client that sends another drop each fifth of a second.

        Raises TimeoutError if it is not closed within WAIT_SECONDS.
        """
        answer = b""
        with (
            socket.create_connection(("127.0.0.1", self.port)) as plain,
            self.context.wrap_socket(plain, server_hostname=NAME) as slow,
        ):
            slow.settimeout(0.2)
            slow.sendall(sent)
            for _ in range(5 * WAIT_SECONDS):
                try:
                    piece = slow.recv(65536)
                    if not piece:
                        return answer
                    answer += piece
                    continue  # The rest of an answer first: a drop into what is closed meanwhile ends the reading too.
                except TimeoutError:
                    pass
                except OSError:
                    return answer
                try:
                    slow.sendall(drop)
                except OSError:
                    return answer
        raise TimeoutError(f"still open after {answer!r}")


@contextmanager
def nginx(folder: Path, app: int, changes: Mapping[str, str] | None = None) -> Iterator[Front]:
    """The recipe with this server behind it, and what else differs."""
    port = free_port()
    certificate, key = write_certificate(folder)
    recipe = RECIPE.read_text("utf-8")
    differs = {
        "127.0.0.1:8000": f"127.0.0.1:{app}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        f"/etc/ssl/certs/{NAME}.pem": str(certificate),
        f"/etc/ssl/private/{NAME}.key": str(key),
        **(changes or {}),
    }
    for was, now in differs.items():
        assert recipe.count(was) == 1, was
        recipe = recipe.replace(was, now)
    (folder / "psychechat.conf").write_text(recipe)
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log warn; {'' if os.getuid() else 'user root;'}"
        f"events {{}} http {{ {temporary} include {folder}/psychechat.conf; }}"
    )
    process = subprocess.Popen([NGINX or "", "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), WAIT_SECONDS, "nginx does not listen")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Front(port, ssl.create_default_context(cafile=str(certificate)), folder)
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Of NAME, signed by itself; and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, key_pem


@contextmanager
def guarded(generator: ScriptedGenerator | None = None, **policy: Any) -> Iterator[Served]:
    """The app with one key, warm: a process's first turn reads what all need."""
    with serve(generator, **policy) as served:
        said(served.http, "Good morning.")
        served.keyring = Keyring({"page": hashlib.sha256(KEY.encode()).hexdigest()})
        yield served


def turn(words: str, **more: Any) -> dict[str, Any]:
    return {"model": "psychechat-llm", "messages": [{"role": "user", "content": words}], **more}


def said(client: httpx.Client, words: str) -> str:
    """The reply."""
    answer = client.post(CHAT, json=turn(words), extensions={"sni_hostname": NAME}, timeout=120)
    assert answer.status_code == 200
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content


def chunks(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Of a stream that ends as it should."""
    done = False
    for line in response.iter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))
        done |= line == "data: [DONE]"
    assert done


def test_pieces_leave_while_the_rest_is_written(tmp_path: Path) -> None:
    with (
        guarded(ScriptedGenerator(TABLE, seconds_per_word=0.1)) as served,
        nginx(tmp_path, served.port) as front,
        front.client() as client,
        client.stream(
            "POST", CHAT, json=turn("I went for a walk", stream=True), extensions={"sni_hostname": NAME}
        ) as response,
    ):
        writing = [
            served.generator.running
            for chunk in chunks(response)
            if chunk["choices"] and chunk["choices"][0]["delta"].get("content")
        ]
    assert writing[0] == 1


def test_a_crisis_passes_whole(tmp_path: Path) -> None:
    words = "I want to die"
    with guarded() as served, nginx(tmp_path, served.port) as front, front.client() as client:
        served.http.headers["authorization"] = f"Bearer {KEY}"
        expected = said(served.http, words)
        assert "local emergency number" in expected
        assert said(client, words) == expected
        stream = front.ask(client, "POST", CHAT, json=turn(words, stream=True), headers={"x-request-id": "mine-1"})
        assert stream.headers.get_list("x-request-id") == ["mine-1"]
        pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks(stream) if chunk["choices"]]
        assert "".join(pieces) == expected


def test_what_drips_in_is_not_waited_for(tmp_path: Path) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n".encode()
    key = f"authorization: Bearer {KEY}\r\n".encode()
    changes = {"client_header_timeout 30s": "client_header_timeout 1s", "lingering_time 10s": "lingering_time 1s"}
    with guarded(limits={"body_seconds": 1.0}) as served, nginx(tmp_path, served.port, changes) as front:
        assert front.dripped(head + b"x-a: ", b"a") == b""
        answer = front.dripped(head + key + b"content-length: 5000\r\n\r\n", b" ")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"The body did not arrive in time." in answer
        assert front.dripped(head + b"content-length: 5000\r\n\r\n", b" ").startswith(b"HTTP/1.1 401 ")


def test_one_address_holds_no_more_turns_than_it_may(tmp_path: Path) -> None:
    with (
        guarded(ScriptedGenerator(TABLE, seconds_per_word=0.1)) as served,
        nginx(
            tmp_path, served.port, {"limit_conn psychechat_addresses 32": "limit_conn psychechat_addresses 2"}
        ) as front,
        ExitStack() as clients,
    ):
        several = [clients.enter_context(front.client()) for _ in range(3)]
        replies: list[str] = []
        threads = [
            threading.Thread(target=lambda client: replies.append(said(client, "I went for a walk")), args=[client])
            for client in several[:2]
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: served.generator.running == 2, WAIT_SECONDS, "no two turns are under way")
        assert front.ask(several[2], "POST", CHAT, json=turn("I went for a walk")).status_code == 429
        assert served.generator.running == 2
        for thread in threads:
            thread.join()
        assert len(replies) == 2
        assert front.ask(several[2], "GET", "/v1/models").status_code == 200


def test_a_server_without_keys_stays_closed_whatever_the_client_calls_it(tmp_path: Path) -> None:
    with serve() as served, nginx(tmp_path, served.port) as front:
        for host in (NAME, "localhost", "127.0.0.1"):
            with front.client(host) as client:
                answer = front.ask(client, "GET", "/v1/models")
                assert answer.status_code == 403
                assert answer.json()["error"]["code"] == "not_local"


def test_only_the_api_is_there_and_bodies_touch_no_disk(tmp_path: Path) -> None:
    with guarded() as served, nginx(tmp_path, served.port) as front, front.client() as client:
        for path in ("/metrics", "/health", "/ready", "/-/healthz", "/docs", "/"):
            answer = front.ask(client, "GET", path)
            assert (answer.status_code, "nginx" in answer.text) == (404, True), path
        long = {**turn("a" * 30_000), "messages": [{"role": "user", "content": "a" * 900_000}]}
        assert front.ask(client, "POST", CHAT, json=long).json()["error"]["code"] == "string_above_max_length"
        over = front.ask(client, "POST", CHAT, content=b" " * 1_500_000, headers={"content-type": "application/json"})
        assert "1000000" in over.json()["error"]["message"]
        with front.client(key="psy-another") as stranger:
            assert front.ask(stranger, "POST", CHAT, json=long).status_code == 401
    assert "temporary file" not in (tmp_path / "error.log").read_text()
