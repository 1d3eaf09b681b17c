"""LangChain's ChatOpenAI: calls, streams, batches, tools, Responses, and what it is told of a mistake."""

import os
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

URL = os.environ["PSYCHECHAT_URL"]
HELLO = [("system", "You work for a school."), ("human", "I could not sleep.")]
CRISIS = "I want to die."
HELP = "local emergency number"


class Feeling(BaseModel):
    name: str


def weather(place: str) -> str:
    """How it is outside."""
    raise AssertionError


def chat(model: str = "psychechat", **more: object) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{URL}/v1", api_key="none", model=model, max_retries=0, **more)


@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm"])
def test_plain_and_streamed_are_the_same_reply(model: str) -> None:
    whole = chat(model).invoke(HELLO)
    assert whole.content
    assert whole.usage_metadata["total_tokens"] > 0
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["system_fingerprint"].startswith("fp_")
    first, *rest = chat(model, stream_usage=True).stream(HELLO)
    streamed = sum(rest, first)
    assert streamed.content == whole.content
    assert streamed.usage_metadata["total_tokens"] > 0


def test_a_conversation_goes_on_with_its_own_replies() -> None:
    first = chat().invoke(HELLO)
    assert chat().invoke([*HELLO, first, ("human", "Thank you.")]).content


def test_a_batch_and_log_probabilities() -> None:
    replies = chat("psychechat-llm", logprobs=True).batch([HELLO] * 3)
    assert all(reply.response_metadata["logprobs"]["content"] for reply in replies)


@pytest.mark.parametrize("more", [{"max_tokens": 10}, {"verbosity": "medium"}, {"extra_body": {"top_k": 20}}])
def test_harmless_parameters_nor_in_a_crisis_are_errors(more: dict[str, Any]) -> None:
    assert chat(**more).invoke(HELLO).content
    assert HELP in chat(**more).invoke(CRISIS).content


def test_a_tool_is_not_called_nor_in_a_crisis() -> None:
    """As an agent of LangGraph begins every turn."""
    bound = chat().bind_tools([weather])
    for said in (HELLO, CRISIS):
        reply = bound.invoke(said)
        assert reply.content
        assert not reply.tool_calls
    assert HELP in bound.invoke(CRISIS).content


def test_by_responses() -> None:
    assert chat(use_responses_api=True).invoke(HELLO).text
    assert HELP in chat(use_responses_api=True).invoke(CRISIS).text


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_mistakes_are_told(method: str) -> None:
    with pytest.raises(openai.NotFoundError):
        chat("gpt-none").invoke(HELLO)
    with pytest.raises(openai.BadRequestError) as refused:
        chat().with_structured_output(Feeling, method=method).invoke(HELLO)
    assert refused.value.code == "unsupported_parameter"
