"""What browsers are told of pages of other sites: before they ask, and of every answer, errors and streams too."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from pydantic import ValidationError

from psychechat.api.http.hosts import Origins, check_local
from psychechat.config import Cors, Settings
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.errors import NotLocal, Overloaded
from tests.serving.api.http.test_auth import HELLO, KEYS, bearer, keyring

Serving = Callable[..., AbstractContextManager[Any]]
CHAT, PAGE, FOREIGN = "/v1/chat/completions", "https://app.example", "https://evil.example"
ALLOWED = "access-control-allow-origin"
READABLE = {"x-request-id", "retry-after", "retry-after-ms", "x-should-retry", "x-psychechat-ignored"}


@pytest.fixture(scope="module")
def named(serving_module: Serving) -> Iterator[Any]:
    """With keys, and pages of one site and of this machine."""
    with serving_module(origins=(PAGE, "loopback")) as served:
        served.keyring = keyring(KEYS)
        yield served


def preflight(served: Any, origin: str, path: str = CHAT, method: str = "POST", sent: str = "") -> Any:
    headers = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": sent}
    return served.http.options(path, headers=headers)


def words(header: str) -> set[str]:
    return {word.strip() for word in header.split(",")}


def test_a_browser_may_send_what_clients_send(named: Any) -> None:
    """Without a key: no browser sends one here."""
    ours = "authorization,content-type,traceparent,x-request-id,x-request-timeout,x-session-id"
    clients = "x-stainless-lang,x-stainless-retry-count,x-stainless-whatever-comes"
    told = preflight(named, PAGE, sent=f"{ours},{clients}")
    assert told.status_code == 204
    assert told.headers[ALLOWED] == PAGE
    assert words(told.headers["access-control-allow-methods"]) == {"POST", "OPTIONS"}
    assert words(told.headers["access-control-allow-headers"]) == words(f"{ours},{clients}")
    assert words(told.headers["vary"]) == {"origin", "access-control-request-headers"}
    assert "access-control-allow-credentials" not in told.headers
    assert told.headers["x-request-id"]


@pytest.mark.parametrize("sent", ["x-other", "cookie", "x-stainless-\u00e9", "x-stainless-a b", "*"])
def test_and_nothing_else(named: Any, sent: str) -> None:
    told = preflight(named, PAGE, sent=sent.encode("latin-1"))  # type: ignore[arg-type]
    assert sent not in told.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:3000"])
def test_a_page_of_this_machine_may_ask_at_any_port(named: Any, origin: str) -> None:
    assert preflight(named, origin).headers[ALLOWED] == origin


@pytest.mark.parametrize(
    "origin",
    [FOREIGN, "http://app.example", f"{PAGE}:8443", f"{PAGE}.evil.example", "null", "", "loopback", "*"],
)
def test_nobody_else_is_told_anything(named: Any, origin: str) -> None:
    for answer in (
        preflight(named, origin),
        named.http.post(CHAT, json=HELLO, headers={"origin": origin, **bearer(KEYS["ward"])}),
    ):
        assert answer.status_code in (200, 204)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "origin"


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "status"),
    [
        ("POST", CHAT, HELLO, "ward", 200),
        ("POST", CHAT, HELLO | {"stream": True}, "ward", 200),
        ("POST", CHAT, HELLO | {"model": "none"}, "ward", 404),
        ("POST", CHAT, HELLO | {"n": "x"}, "ward", 400),
        ("POST", CHAT, HELLO, None, 401),
        ("GET", CHAT, None, "ward", 405),
        ("GET", "/nowhere", None, "ward", 404),
        ("GET", "/health", None, None, 200),
    ],
)
def test_a_page_can_read_every_answer(
    named: Any, method: str, path: str, body: object, key: str | None, status: int
) -> None:
    headers = {"origin": PAGE} | (bearer(KEYS[key]) if key else {})
    answer = named.http.request(method, path, json=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers[ALLOWED] == PAGE
    assert words(answer.headers["access-control-expose-headers"]) == READABLE


@pytest.mark.parametrize("error", [Overloaded(retry_after=2.0), RuntimeError("a bug")])
def test_and_every_failure(serving: Serving, error: Exception) -> None:
    """The last of them is answered by the outermost of our own middlewares, beyond any handler."""
    with serving(ScriptedGenerator({StageName.REPLY: [error]}), origins=(PAGE, "loopback")) as served:
        answer = served.http.post(CHAT, json=HELLO | {"model": "psychechat-llm"}, headers={"origin": PAGE})
        assert answer.status_code in (429, 500)
        assert answer.headers[ALLOWED] == PAGE


def test_a_body_too_large_too(named: Any) -> None:
    headers = {"origin": PAGE, "content-type": "application/json", **bearer(KEYS["ward"])}
    answer = named.http.post(CHAT, content=b" " * 1_000_001, headers=headers)
    assert (answer.status_code, answer.headers[ALLOWED]) == (413, PAGE)


def test_a_crisis_of_a_page_is_answered(named: Any) -> None:
    """A rule is broken too, so that it is the second look that answers."""
    body = {"model": "none", "messages": [{"role": "user", "content": "I want to die"}]}
    answer = named.http.post(CHAT, json=body, headers={"origin": PAGE, **bearer(KEYS["ward"])})
    assert answer.status_code == 200
    assert answer.headers[ALLOWED] == PAGE
    assert answer.json()["psychechat"]["reason"] == "crisis"


def test_everyone_is_one_word(serving: Serving) -> None:
    """The same for all, so that a cache may keep it."""
    with serving(origins=("*",)) as served:
        served.keyring = keyring(KEYS)
        answer = served.http.get("/v1/models", headers={"origin": FOREIGN, **bearer(KEYS["ward"])})
        assert answer.headers[ALLOWED] == preflight(served, FOREIGN).headers[ALLOWED] == "*"
        assert "vary" not in answer.headers


def test_closed_as_it_stands(served: Any) -> None:
    for answer in (served.http.get("/v1/models"), preflight(served, "http://localhost:5173")):
        assert not [name for name in answer.headers if name.startswith(("access-control-", "vary"))]


def test_without_keys_a_named_page_may_ask_this_machine(serving: Serving) -> None:
    with serving(origins=(PAGE,)) as served:
        assert served.http.get("/v1/models", headers={"origin": PAGE}).status_code == 200
        assert preflight(served, PAGE).status_code == 204
        assert served.http.get("/v1/models", headers={"origin": FOREIGN}).status_code == 403
        # Another name that leads here is still not this machine's.
        rebound = served.http.get("/v1/models", headers={"origin": PAGE, "host": "app.example"})
        assert rebound.status_code == 403


def test_everyone_is_nobody_without_keys() -> None:
    """The settings refuse it, and so would this."""
    with pytest.raises(NotLocal):
        check_local({"headers": [(b"host", b"localhost"), (b"origin", FOREIGN.encode())]}, Origins(("*",)))


@pytest.mark.parametrize("entry", ["*", "loopback", PAGE, "http://localhost:3000", "http://[::1]:8080"])
def test_origins_that_are_some(entry: str) -> None:
    assert Cors(origins=(entry,)).origins == (entry,)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (f"{PAGE}/", "without a path"),
        ("app.example", "as browsers send it"),
        ("https://App.example", "small letters"),
        ("null", "as browsers send it"),
        ("https://*.example", "as browsers send it"),
        (f"{PAGE}\n", "as browsers send it"),
        (f"{PAGE}:443", "leave out the port"),
        ("http://app.example:80", "leave out the port"),
    ],
)
def test_origins_that_are_none(entry: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Cors(origins=(entry,))


def test_everyones_pages_need_keys() -> None:
    with pytest.raises(ValidationError, match="there are no API keys"):
        Settings.model_validate({"cors": {"origins": ["*"]}})
    keys = {"page": "0" * 64}
    assert Settings.model_validate({"cors": {"origins": ["*"]}, "auth": {"keys": keys}}).cors.origins == ("*",)
