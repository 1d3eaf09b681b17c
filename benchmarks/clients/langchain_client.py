"""LangChain's ChatOpenAI: one call, a stream with its usage, a batch, and what it is told of a mistake."""

import os

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

URL = os.environ["PSYCHECHAT_URL"]
HELLO = [("system", "You work for a school."), ("human", "I could not sleep.")]


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


def test_mistakes_are_told() -> None:
    with pytest.raises(openai.NotFoundError):
        chat("gpt-4o").invoke(HELLO)

    class Feeling(BaseModel):
        name: str

    for method in ("function_calling", "json_schema"):
        with pytest.raises(openai.BadRequestError) as refused:
            chat().with_structured_output(Feeling, method=method).invoke(HELLO)
        assert refused.value.code == "unsupported_parameter"
