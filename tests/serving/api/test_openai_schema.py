"""Replies, chunks, model lists and errors against the schemas of OpenAI's own API document."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[4] / "shared" / "schemas" / "openai" / "chat.json"
pytestmark = pytest.mark.skipif(
    not SCHEMAS.is_file(),
    reason="needs OpenAI's response schemas as one JSON Schema file in ../shared/schemas/openai/chat.json",
)
HELLO = {"role": "user", "content": "hello there"}


def validate(value: Any, name: str) -> None:
    schemas = json.loads(SCHEMAS.read_text("utf-8"))
    Draft202012Validator({**schemas, "$ref": f"#/$defs/{name}"}).validate(value)


@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm"])
@pytest.mark.parametrize("text", ["hello there", "I want to die"])
def test_a_reply(served: Any, model: str, text: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    validate(served.http.post("/v1/chat/completions", json=body).json(), "CreateChatCompletionResponse")


@pytest.mark.parametrize("options", [None, {"include_usage": True}])
def test_every_chunk(served: Any, options: dict[str, bool] | None) -> None:
    body = {"model": "psychechat-llm", "messages": [HELLO], "stream": True, "stream_options": options}
    lines = served.http.post("/v1/chat/completions", json=body).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert len(chunks) > 3
    for chunk in chunks:
        validate(chunk, "CreateChatCompletionStreamResponse")


def test_the_models_and_an_error(served: Any) -> None:
    validate(served.http.get("/v1/models").json(), "ListModelsResponse")
    validate(served.http.post("/v1/chat/completions", json={}).json(), "ErrorResponse")


def test_the_schema_can_say_no(served: Any) -> None:
    reply = served.http.post("/v1/chat/completions", json={"model": "psychechat", "messages": [HELLO]}).json()
    del reply["choices"][0]["finish_reason"]
    assert list(
        Draft202012Validator(
            {**json.loads(SCHEMAS.read_text()), "$ref": "#/$defs/CreateChatCompletionResponse"}
        ).iter_errors(reply)
    )
