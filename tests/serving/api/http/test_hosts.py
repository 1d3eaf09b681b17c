"""Without API keys no page of another site may use the server of whoever looks at it, by DNS rebinding or otherwise."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from psychechat.api.http.hosts import check_local
from psychechat.errors import NotLocal
from tests.serving.api.http.test_auth import HELLO, KEYS, bearer, keyring

Serving = Callable[..., AbstractContextManager[Any]]

OURS = ["localhost", "LOCALHOST:3000", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"]
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "127.0.0.1:8000:1",
    "localhost:",
    "[::1",
    "10.1.2.3:8000",
    "0.0.0.0:8000",
    "",
]
ROUTES = [
    ("GET", "/v1/models"),
    ("GET", "/metrics"),
    ("DELETE", "/v1/sessions/one"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/classify"),
    ("GET", "/openapi.json"),
    ("GET", "/nowhere"),
]


def assert_not_local(response: Any, told: str) -> None:
    assert response.status_code == 403
    error = response.json()["error"]
    assert error["code"] == "not_local"
    assert told in error["message"]
    assert "psychechat keys new" in error["message"]
    assert "evil" not in response.text
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_name_that_leads_here_is_not_enough(served: Any, method: str, path: str) -> None:
    assert_not_local(served.http.request(method, path, headers={"host": "evil.example"}), "localhost")


@pytest.mark.parametrize("host", FOREIGN)
def test_other_hosts_than_loopback_are_refused(served: Any, host: str) -> None:
    assert_not_local(served.http.get("/v1/models", headers={"host": host}), "localhost")


@pytest.mark.parametrize("hosts", [(), (b"localhost", b"evil.example"), (b"evil.example", b"localhost")], ids=str)
def test_who_names_no_host_or_two_is_refused(hosts: tuple[bytes, ...]) -> None:
    with pytest.raises(NotLocal):
        check_local({"headers": [(b"host", host) for host in hosts]})


@pytest.mark.parametrize("host", OURS)
def test_this_machine_is_answered_at_any_port(served: Any, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}"}
    assert served.http.get("/v1/models", headers=headers).status_code == 200
    assert served.http.delete("/v1/sessions/one", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin", ["null", "", "localhost", "file://localhost", *(f"https://{host}" for host in FOREIGN)]
)
def test_pages_of_other_sites_and_of_none_are_refused(served: Any, origin: str) -> None:
    """A sandboxed frame, and a page opened as a file, have the origin `null`."""
    headers = {"origin": origin}
    assert_not_local(served.http.post("/v1/chat/completions", json=HELLO, headers=headers), "pages of other sites")


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "psychechat-serve-svc:8000", ""])
def test_probes_are_answered_by_whatever_address(served: Any, path: str, host: str) -> None:
    """The kubelet sends a pod's IP, Helm's test the service's name."""
    assert served.http.get(path, headers={"host": host}).status_code == 200


def test_with_keys_the_host_is_the_proxys_matter(serving: Serving) -> None:
    with serving() as served:
        served.keyring = keyring(KEYS)
        headers = {"host": "api.example", "origin": "https://page.example", **bearer(KEYS["ward"])}
        assert served.http.get("/v1/models", headers=headers).status_code == 200
