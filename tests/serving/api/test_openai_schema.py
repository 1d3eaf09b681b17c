"""Replies, chunks, moderations, model lists and errors against OpenAI's schemas.

They are the official package's own types. Those forgive; so what OpenAI's document says beyond them is written here:
which keys are always there, and which may be null. Every other key is absent or has a value.
"""

import json
from functools import cache
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, ValidationError
from openai.types import Model, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.shared import ErrorObject
from pydantic import BaseModel

ALWAYS = {
    "ChatCompletion": {"usage"},  # documented as optional, and nobody leaves it out
    "ChatCompletionMessage": {"role", "content", "refusal"},
    "Choice": {"finish_reason"},
    "ChoiceLogprobs": {"content", "refusal"},
    "ChatCompletionTokenLogprob": {"bytes"},
    "TopLogprob": {"bytes"},
}
NULL = {
    "ChatCompletionChunk": {"usage", "moderation"},
    "ChatCompletion": {"moderation"},
    "Choice": {"logprobs"},
    "ChatCompletionMessage": {"content", "refusal", "audio"},
    "ChoiceDelta": {"content", "refusal"},
    "ChoiceLogprobs": {"content", "refusal"},
    "ChatCompletionTokenLogprob": {"bytes"},
    "TopLogprob": {"bytes"},
    "ErrorObject": {"param", "code"},
}


@cache
def schema(kind: type[BaseModel]) -> dict[str, Any]:
    whole = kind.model_json_schema()
    parts = {**whole.get("$defs", {}), kind.__name__: whole}
    for name, part in parts.items():
        nullable = set(NULL.get(name, ()))
        if kind is ChatCompletionChunk and name == "Choice":
            nullable.add("finish_reason")
        for key, found in part.get("properties", {}).items():
            if key not in nullable and "anyOf" in found:
                found["anyOf"] = [option for option in found["anyOf"] if option != {"type": "null"}]
        part["required"] = sorted({*part.get("required", ()), *ALWAYS.get(name, ())})
    if kind is ChatCompletion:
        parts["Choice"]["required"].append("logprobs")
    return whole


def validate(value: object, kind: type[BaseModel]) -> None:
    Draft202012Validator(schema(kind)).validate(value)


def post(served: Any, **body: Any) -> httpx.Response:
    response: httpx.Response = served.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    return response


MORE: list[dict[str, Any]] = [
    {},
    {"service_tier": "auto", "moderation": {"model": "omni-moderation-latest"}},
    {"model": "psychechat-llm", "n": 2, "logprobs": True, "top_logprobs": 2},
]


@pytest.mark.parametrize("more", MORE, ids=["plain", "moderated", "likely"])
@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm"])
@pytest.mark.parametrize("text", ["hello there", "I want to die"])
def test_a_reply(served: Any, model: str, text: str, more: dict[str, Any]) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    validate(post(served, **body).json(), ChatCompletion)


@pytest.mark.parametrize("more", MORE, ids=["plain", "moderated", "likely"])
@pytest.mark.parametrize("options", [None, {"include_usage": True}])
def test_every_chunk(served: Any, options: dict[str, bool] | None, more: dict[str, Any]) -> None:
    hello = {"role": "user", "content": "hello there"}
    body = {"model": "psychechat-llm", "messages": [hello], "stream": True, "stream_options": options, **more}
    lines = [line for line in post(served, **body).text.splitlines() if line]
    assert lines.pop() == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert len(chunks) > 3
    for chunk in chunks:
        validate(chunk, ChatCompletionChunk)
        assert ("usage" in chunk) is (options is not None)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


def test_a_moderation(served: Any) -> None:
    body = served.http.post("/v1/moderations", json={"input": ["I want to die", "a fine day"]}).json()
    validate(body, ModerationCreateResponse)


def test_the_models_and_an_error(served: Any) -> None:
    models = served.http.get("/v1/models").json()
    assert models["object"] == "list"
    for model in models["data"]:
        validate(model, Model)
    for body in ({}, {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}):
        validate(served.http.post("/v1/chat/completions", json=body).json()["error"], ErrorObject)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda reply: reply["choices"][0].pop("finish_reason"),
        lambda reply: reply["choices"][0].pop("logprobs"),
        lambda reply: reply["choices"][0]["message"].pop("refusal"),
        lambda reply: reply["choices"][0]["message"].update(annotations=None),
        lambda reply: reply["usage"].update(prompt_tokens_details=None),
        lambda reply: reply.update(service_tier=None),
    ],
)
def test_the_schema_can_say_no(served: Any, spoil: Any) -> None:
    reply = post(served, model="psychechat", messages=[{"role": "user", "content": "hello there"}]).json()
    validate(reply, ChatCompletion)
    spoil(reply)
    with pytest.raises(ValidationError):
        validate(reply, ChatCompletion)
