"""Our OpenAPI document says what we answer, and all of it: each answer is looked up there and compared."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from psychechat.api.http.auth import Keyring
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded

Serving = Callable[..., AbstractContextManager[Any]]
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
TEXTS = {"input": ["I want to die", "a fine day"]}


def hello(model: str = "psychechat", text: str = "hello there", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def asked(said: str = "hello there", model: str = "psychechat", **more: Any) -> dict[str, Any]:
    return {"model": model, "input": said, **more}


def documented(served: Any, answer: httpx.Response) -> dict[str, Any]:
    """What the document says of an answer: its status, its headers and, for JSON, its object are as it says."""
    document = served.http.get("/openapi.json").json()
    path = answer.request.url.path
    if path not in document["paths"]:
        path = next(known for known in document["paths"] if "{" in known and path.startswith(known.split("{")[0]))
    response = document["paths"][path][answer.request.method.casefold()]["responses"][str(answer.status_code)]
    for name, header in response["headers"].items():
        assert not header["required"] or answer.headers[name]
    media: dict[str, Any] = response["content"][answer.headers["content-type"].partition(";")[0]]
    if answer.headers["content-type"] == "application/json":
        validator(document, media["schema"]).validate(answer.json())
    return {"document": document, "media": media}


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({"components": document["components"], **schema})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, hello()),
        (CHAT, hello("psychechat-agent", "I am so worried", service_tier="auto", moderation={"model": "m"})),
        (CHAT, hello("psychechat-llm", logprobs=True, top_logprobs=2, n=2)),
        (CHAT, hello(text="I want to die")),
        (CHAT, hello("gpt-4o")),
        (CHAT, {}),
        (RESPONSES, asked()),
        (RESPONSES, asked("I am so worried", "psychechat-agent", service_tier="auto", moderation={"model": "m"})),
        (RESPONSES, asked("I want to die", max_output_tokens=1, metadata={"locale": "en-US"})),
        (RESPONSES, asked(model="psychechat-llm", reasoning={"effort": "none"}, max_output_tokens=3)),
        (RESPONSES, asked(model="gpt-4o")),
        (RESPONSES, asked(background=True)),
        (RESPONSES, {}),
        ("/v1/classify", TEXTS),
        ("/v1/classify", {}),
        ("/v1/moderations", TEXTS),
        ("/v1/moderations", {"input": []}),
        ("/v1/models", None),
        ("/v1/models/psychechat", None),
        ("/v1/models/gpt-4o", None),
        ("/health", None),
        ("/ready", None),
        ("/metrics", None),
    ],
)
def test_answers_are_as_documented(served: Any, path: str, body: dict[str, Any] | None) -> None:
    documented(served, served.http.get(path) if body is None else served.http.post(path, json=body))


@pytest.mark.parametrize(
    "message", [{"role": "assistant", "tool_calls": []}, {"role": "assistant", "content": None}, {"role": "tool"}]
)
def test_a_message_without_content_is_documented(served: Any, message: dict[str, Any]) -> None:
    """As the official client sends back a reply that called tools, with `exclude_none`."""
    body = hello()
    body["messages"].insert(0, message)
    assert served.http.post(CHAT, json=body).status_code == 200
    document = served.http.get("/openapi.json").json()
    validator(document, {"$ref": "#/components/schemas/ChatRequest"}).validate(body)


@pytest.mark.parametrize("path", [CHAT, RESPONSES, "/v1/moderations"])
def test_minimal_answers_are_as_documented(serving: Serving, path: str) -> None:
    with serving() as served:
        digest = hashlib.sha256(b"secret-key").hexdigest()
        served.keyring = Keyring({"page": digest}, minimal={"page"})
        body = {CHAT: hello(text="I want to die"), RESPONSES: asked("I want to die")}.get(path, TEXTS)
        answer = served.http.post(path, json=body, headers={"authorization": "Bearer secret-key"})
        served.keyring = Keyring({})
        assert answer.status_code == 200
        documented(served, answer)


@pytest.mark.parametrize("model", ["psychechat-agent", "psychechat-llm"])
def test_stages_are_as_documented(serving: Serving, model: str) -> None:
    with serving(show_stages=True) as served:
        answer = served.http.post(CHAT, json=hello(model, "I am so worried"))
        assert "stages" in answer.json()["psychechat"]
        documented(served, answer)


def test_a_session_is_forgotten_as_documented(served: Any) -> None:
    documented(served, served.http.delete("/v1/sessions/one"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, hello(stream=True, stream_options={"include_usage": True}, moderation={"model": "m"})),
        (CHAT, hello("psychechat-llm", stream=True, logprobs=True)),
        (CHAT, hello("psychechat-agent", stream=True)),
        ("/v1/classify", {**TEXTS, "stream": True}),
    ],
)
def test_events_are_as_documented(served: Any, path: str, body: dict[str, Any]) -> None:
    answer = served.http.post(path, json=body)
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    found = documented(served, answer)
    done, event = found["media"]["itemSchema"]["properties"]["data"]["anyOf"]
    *events, last = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert last == done["const"]
    assert len(events) > 1
    for data in events:
        validator(found["document"], event["contentSchema"]).validate(json.loads(data))


@pytest.mark.parametrize(
    "more", [{}, {"model": "psychechat-agent", "moderation": {"model": "m"}}, {"max_output_tokens": 3}]
)
def test_events_of_a_response_are_as_documented(served: Any, more: dict[str, Any]) -> None:
    answer = served.http.post(RESPONSES, json=asked(stream=True, **more))
    found = documented(served, answer)
    [event] = found["media"]["itemSchema"]["properties"]["data"]["anyOf"]
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert len(events) > 8
    for data in events:
        validator(found["document"], event["contentSchema"]).validate(json.loads(data))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EngineUnavailable("gone"), 503),
        (DeadlineExceeded("late"), 504),
        (Overloaded(retry_after=2.0), 429),
        (RuntimeError("a bug"), 500),
    ],
)
def test_failures_are_as_documented(serving: Serving, error: Exception, status: int) -> None:
    with serving(ScriptedGenerator({StageName.REPLY: [error]})) as served:
        answer = served.http.post(CHAT, json=hello("psychechat-llm"))
        assert answer.status_code == status
        documented(served, answer)


def test_what_is_not_ready_is_as_documented(serving: Serving) -> None:
    with serving() as served:
        served.engines["counselor"] = False
        answer = served.http.get("/ready")
        assert answer.status_code == 503
        documented(served, answer)


@pytest.mark.parametrize(
    "path", ["/metrics", "/v1/models", "/v1/models/psychechat", CHAT, RESPONSES, "/v1/moderations"]
)
def test_a_refusal_is_as_documented(serving: Serving, path: str) -> None:
    with serving(open_metrics=False) as served:
        served.keyring = Keyring({"team": hashlib.sha256(b"secret-key").hexdigest()})
        refused = served.http.request("POST" if path in (CHAT, RESPONSES, "/v1/moderations") else "GET", path)
        served.keyring = Keyring({})
        assert refused.status_code == 401
        documented(served, refused)


def test_a_key_is_asked_for_where_there_are_keys(serving: Serving) -> None:
    with serving() as served:
        assert served.http.get("/openapi.json").json()["paths"][CHAT]["post"]["security"] == []
        served.keyring = Keyring({"team": hashlib.sha256(b"secret-key").hexdigest()})
        document = served.http.get("/openapi.json", headers={"authorization": "Bearer secret-key"}).json()
        refused = served.http.post(CHAT, json=hello())
    assert refused.status_code == 401
    assert document["paths"][CHAT]["post"]["security"] == [{"key": []}]
    assert document["paths"]["/health"]["get"]["security"] == []


@pytest.mark.parametrize("opened", [True, False])
def test_metrics_need_a_key_where_they_do(serving: Serving, opened: bool) -> None:
    with serving(open_metrics=opened) as served:
        served.keyring = Keyring({"team": hashlib.sha256(b"secret-key").hexdigest()})
        document = served.http.get("/openapi.json", headers={"authorization": "Bearer secret-key"}).json()
        assert (served.http.get("/metrics").status_code == 200) is opened
    assert document["paths"]["/metrics"]["get"]["security"] == ([] if opened else [{"key": []}])


def test_the_examples_are_answered_and_nothing_of_fastapis_is_left(served: Any) -> None:
    document = served.http.get("/openapi.json").json()
    requests = {CHAT: "ChatRequest", RESPONSES: "ResponsesRequest", "/v1/classify": "ClassifyRequest"}
    for path, name in requests.items():
        for body in document["components"]["schemas"][name]["examples"]:
            assert served.http.post(path, json=body).status_code == 200
    assert "ValidationError" not in json.dumps(document)
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "422" not in operation["responses"]


def test_the_document_can_say_no(served: Any) -> None:
    found = documented(served, served.http.post(CHAT, json=hello()))
    reply = served.http.post(CHAT, json=hello()).json()
    assert validator(found["document"], found["media"]["schema"]).is_valid(reply)
    assert not validator(found["document"], found["media"]["schema"]).is_valid(reply | {"more": 1})
