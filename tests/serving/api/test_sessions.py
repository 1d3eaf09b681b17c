"""Forgetting a session over the wire: what a client learns its name from, and what is gone afterwards."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from psychechat.api.http.auth import Keyring

Serving = Callable[..., AbstractContextManager[Any]]
LOVELY = {"role": "user", "content": "I am happy"}
SAD = {"role": "user", "content": "I am sad"}


def chat(served: Any, *messages: dict[str, str], headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    body = {"model": "psychechat", "messages": messages, **more}
    response = served.http.post("/v1/chat/completions", json=body, headers=headers or {})
    assert response.status_code == 200, response.text
    answered: dict[str, Any] = response.json()
    return answered


def shift(served: Any, first: dict[str, Any], **more: Any) -> int | None:
    """Of the turn that follows."""
    found: int | None = chat(served, LOVELY, first["choices"][0]["message"], SAD, **more)["psychechat"]["shift"]
    return found


def test_a_conversation_is_forgotten_by_the_name_in_its_reply(served: Any) -> None:
    first = chat(served, LOVELY)
    session = first["psychechat"]["session"]
    for _ in range(2):
        answer = served.http.delete(f"/v1/sessions/{session}")
        assert (answer.status_code, answer.json()) == (
            200,
            {"id": session, "object": "session.deleted", "deleted": True},
        )
    assert shift(served, first) is None


def test_what_is_not_forgotten_is_remembered(served: Any) -> None:
    first = chat(served, LOVELY)
    assert served.http.delete("/v1/sessions/another").status_code == 200
    assert shift(served, first) == -4


def test_a_stream_names_its_session_too(served: Any) -> None:
    body = {"model": "psychechat", "messages": [LOVELY], "stream": True, "metadata": {"session_id": "mine"}}
    with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        chunks = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    assert json.loads(chunks[-1])["psychechat"]["session"] == "mine"


def test_a_cache_key_names_no_session(served: Any) -> None:
    """OpenAI advises one value for many users: neither memory nor an engine's replica is shared by it."""
    shared: dict[str, Any] = {"prompt_cache_key": "our-app", "user": "our-app"}
    alice, bob = (chat(served, {"role": "user", "content": text}, **shared) for text in ("I am happy", "Good morning"))
    names = [answer["psychechat"]["session"] for answer in (alice, bob)]
    assert len({*names, "our-app"}) == 3
    calls = [call for *_, call in served.generator.prompts]
    assert {call.session_id.rpartition(":")[2] for call in calls[-2:]} == set(names)
    again = chat(served, {"role": "user", "content": "Good morning"}, bob["choices"][0]["message"], SAD, **shared)
    assert (again["psychechat"]["session"], again["psychechat"]["shift"]) == (names[1], -2)
    assert shift(served, alice, **shared) == -4


@pytest.mark.parametrize("key", ["", "x" * 1_000, "a\nb"])
def test_any_cache_key_is_taken(served: Any, key: str) -> None:
    assert chat(served, LOVELY, prompt_cache_key=key)["psychechat"]["session"] != key


def test_the_body_names_the_session_before_the_header(served: Any) -> None:
    first = chat(served, LOVELY, headers={"x-session-id": "of the header"}, metadata={"session_id": "of the body"})
    assert first["psychechat"]["session"] == "of the body"
    named = chat(served, LOVELY, headers={"x-session-id": "of the header"}, metadata={"locale": "en-US"})
    assert named["psychechat"]["session"] == "of the header"


@pytest.mark.parametrize("name", ["plain", "a/b", "with space", "会话", "100%", "q?#&", "x" * 256])
def test_a_session_may_have_any_name(served: Any, name: str) -> None:
    first = chat(served, LOVELY, metadata={"session_id": name})
    assert first["psychechat"]["session"] == name
    answer = served.http.delete(f"/v1/sessions/{quote(name, safe='')}")
    assert answer.json()["id"] == name
    assert shift(served, first, metadata={"session_id": name}) is None


def test_without_a_name_there_is_nothing_to_forget(served: Any) -> None:
    for path in ("/v1/sessions", "/v1/sessions/"):
        assert served.http.delete(path).status_code == 404
    assert served.http.get("/v1/sessions/some").status_code == 405


@pytest.mark.parametrize("path", ["abc%0A", "a%0Ab", "abc%00", "x" * 257])
def test_a_name_that_no_session_can_have_forgets_none(served: Any, path: str) -> None:
    """The router's pattern takes the first for `abc`."""
    first = chat(served, LOVELY, metadata={"session_id": "abc"})
    assert served.http.delete(f"/v1/sessions/{path}").status_code == 404
    assert shift(served, first, metadata={"session_id": "abc"}) == -4
    assert served.http.delete("/v1/sessions/abc").status_code == 200


@pytest.fixture(scope="module")
def guarded(serving_module: Serving) -> Iterator[Any]:
    with serving_module() as served:
        keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("intake", "ward")}
        served.keyring = Keyring(keys)
        yield served


def test_no_tenant_forgets_for_another(guarded: Any) -> None:
    intake, ward = ({"authorization": f"Bearer {name}"} for name in ("intake", "ward"))
    first = chat(guarded, LOVELY, headers=intake, metadata={"session_id": "s1"})
    assert guarded.http.delete("/v1/sessions/s1").status_code == 401
    assert guarded.http.delete("/v1/sessions/s1", headers=ward).status_code == 200
    assert shift(guarded, first, headers=intake, metadata={"session_id": "s1"}) == -4
    assert guarded.http.delete("/v1/sessions/s1", headers=intake).status_code == 200
    assert shift(guarded, first, headers=intake) is None


def test_what_cannot_be_forgotten_now_is_not_said_to_be(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as served:
        monkeypatch.setattr(served.pipeline.memory, "forget", _refuse)
        answer: httpx.Response = served.http.delete("/v1/sessions/s1")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "memory_unavailable"
        assert int(answer.headers["retry-after"]) > 0


async def _refuse(session: bytes) -> None:
    raise OSError("connection refused")
