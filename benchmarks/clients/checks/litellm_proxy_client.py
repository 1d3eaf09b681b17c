"""LiteLLM's proxy as examples/litellm_proxy starts it: what passes, its health check, what one error costs others."""

import os
from typing import Any

import httpx
import pytest

client = httpx.Client(
    base_url=os.environ["PROXY_URL"], headers={"authorization": f"Bearer {os.environ['PROXY_KEY']}"}, timeout=120
)
HELP = "local emergency number"
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


MODELS = ("psychechat", "psychechat-llm", "psychechat-agent")


def chat(words: str, **more: Any) -> httpx.Response:
    body = {"model": "psychechat", "messages": [{"role": "user", "content": words}], **more}
    return client.post("/v1/chat/completions", json=body)


def test_a_crisis_keeps_its_words_and_resources() -> None:
    reply = chat("I want to die.").json()
    assert HELP in reply["choices"][0]["message"]["content"]
    assert reply["psychechat"]["resources"]


def test_a_stream_keeps_them_too() -> None:
    printed = chat("I want to die.", stream=True).text
    assert HELP in printed
    assert '"resources"' in printed
    assert printed.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("more", [{"tools": [TOOL]}, {"max_tokens": 3}, {"top_k": 20}], ids=lambda more: ",".join(more))
def test_harmless_parameters_nor_in_a_crisis_are_errors(more: dict[str, Any]) -> None:
    assert chat("I could not sleep.", **more).status_code == 200
    assert HELP in chat("I want to die.", **more).json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize(("model", "mode"), zip(MODELS, ("llm", "llm", "agent"), strict=True))
def test_each_model_is_routed_to_its_own(model: str, mode: str) -> None:
    assert chat("I could not sleep.", model=model).json()["psychechat"]["mode"] == mode
    assert HELP in chat("I want to die.", model=model).json()["choices"][0]["message"]["content"]


def test_its_health_check_finds_all_models_well() -> None:
    health = client.get("/health").json()
    assert (health["healthy_count"], health["unhealthy_count"]) == (len(MODELS), 0)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions"])
def test_an_error_takes_the_model_away_from_nobody(path: str) -> None:
    assert client.post(path, json={"model": "psychechat", "input": "x", "prompt": "x"}).status_code >= 400
    assert HELP in chat("I want to die.").json()["choices"][0]["message"]["content"]


def test_by_responses_and_messages() -> None:
    response = client.post("/v1/responses", json={"model": "psychechat", "input": "I want to die."})
    assert HELP in response.text
    body = {"model": "psychechat", "max_tokens": 300, "messages": [{"role": "user", "content": "I want to die."}]}
    assert HELP in client.post("/v1/messages", json=body).text


def test_moderations_of_the_model() -> None:
    """Without a model LiteLLM asks OpenAI's own."""
    [result] = client.post("/v1/moderations", json={"model": "psychechat", "input": "I want to die."}).json()["results"]
    assert result["categories"]["self-harm"]
