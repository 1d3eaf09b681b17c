"""HEAD, OPTIONS and 405 on the real routes, and what a browser's preflight gets without a key."""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

from psychechat.api.http.errors import respond
from psychechat.api.http.methods import Methods
from tests.serving.api.http.test_auth import KEYS, bearer, keyring

Serving = Callable[..., AbstractContextManager[Any]]

READ = ["/health", "/ready", "/metrics", "/v1/models", "/v1/models/psychechat", "/openapi.json", "/v1/models/none"]
CHANGING = {"date", "x-request-id"}
"""Beside the length of /metrics, which count this very request."""


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_its_body(served: Any, path: str) -> None:
    got, asked = served.http.get(path), served.http.head(path)
    assert asked.status_code == got.status_code
    assert asked.content == b""
    changing = CHANGING | ({"content-length"} if path == "/metrics" else set())
    kept = [{name: value for name, value in each.headers.items() if name not in changing} for each in (got, asked)]
    assert kept[0] == kept[1]
    assert int(asked.headers["content-length"]) > 0


def test_nothing_follows_the_headers_of_a_head(served: Any) -> None:
    """On one connection: a body that was written would be read as the next answer."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n" * 2)
        connection.sendall(b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    heads = answer.split(b"\r\n\r\n")
    assert heads.pop() == b""
    assert [head.partition(b"\r\n")[0] for head in heads] == [b"HTTP/1.1 200 OK"] * 3


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/anything", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/v1/chat/completions", "POST, OPTIONS"),
        ("/v1/classify", "POST, OPTIONS"),
        ("/v1/sessions/one", "DELETE, OPTIONS"),
    ],
)
def test_a_path_tells_its_methods(served: Any, path: str, methods: str) -> None:
    told = served.http.options(path)
    assert (told.status_code, told.headers["allow"], told.content) == (204, methods, b"")
    assert "content-length" not in told.headers
    assert told.headers["x-request-id"]
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - set(methods.split(", ")):
        refused = served.http.request(method, path)
        assert (refused.status_code, refused.headers["allow"]) == (405, methods)


def test_an_unknown_path_has_none(served: Any) -> None:
    for method in ("OPTIONS", "HEAD"):
        assert served.http.request(method, "/nowhere").status_code == 404


def test_the_server_as_a_whole_tells_its_methods(serving: Serving) -> None:
    """`OPTIONS *` is about no path, needs no key, and no other method may ask so."""
    with serving() as served:
        served.keyring = keyring(KEYS)
        told, refused = (starred(served.port, method) for method in (b"OPTIONS", b"GET"))
    status, *headers = told.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert status == b"HTTP/1.1 204 No Content"
    assert b"allow: GET, HEAD, POST, DELETE, OPTIONS" in headers
    assert not any(header.startswith(b"content-length") for header in headers)
    assert refused.startswith(b"HTTP/1.1 4")


def starred(port: int, method: bytes) -> bytes:
    """Clients write a path into every request."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(method + b" * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_only_the_methods_of_a_path_need_no_key(serving: Serving) -> None:
    with serving() as served:
        served.keyring = keyring(KEYS)
        assert served.http.options("/v1/chat/completions").status_code == 204
        assert served.http.options("/nowhere").status_code == 404
        assert served.http.head("/v1/models").status_code == 401
        assert served.http.head("/v1/models", headers=bearer(KEYS["ward"])).status_code == 200


def test_without_keys_only_this_machine_is_told(served: Any) -> None:
    assert served.http.options("/v1/models", headers={"host": "evil.example"}).status_code == 403
    assert served.http.options("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403


def test_requests_are_counted_by_route_whatever_their_method(serving: Serving) -> None:
    with serving() as served:
        served.http.head("/v1/models/none")
        served.http.options("/v1/models/none")
        counted = served.http.get("/metrics").text
    for status in (404, 204):
        assert f'psychechat_http_requests_total{{route="/v1/models/{{name:path}}",status="{status}"}} 1.0' in counted


def test_a_path_of_several_routes_has_the_methods_of_all() -> None:
    """Starlette alone tells of the first route only."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(Methods)
    app.get("/things/{name}")(lambda name: name)
    app.delete("/things/{name}")(lambda name: name)
    app.add_exception_handler(HTTPException, respond)
    with TestClient(app) as client:
        assert client.options("/things/one").headers["allow"] == "GET, HEAD, DELETE, OPTIONS"
        refused = client.put("/things/one")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, DELETE, OPTIONS")
