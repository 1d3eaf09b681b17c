"""LiteLLM: its completion, its stream put together again, tools, Responses, and its classes of errors."""

import os

import litellm
import pytest

URL = os.environ["PSYCHECHAT_URL"]
SERVER = {"api_base": f"{URL}/v1", "api_key": "none", "max_retries": 0}
HELLO = [{"role": "user", "content": "I could not sleep."}]
CRISIS = [{"role": "user", "content": "I want to die."}]
HELP = "local emergency number"
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm"])
def test_plain_and_streamed_are_the_same_reply(model: str) -> None:
    whole = litellm.completion(model=f"openai/{model}", messages=HELLO, **SERVER)
    assert whole.choices[0].message.content
    assert whole.usage.total_tokens > 0
    options = {"include_usage": True}
    chunks = list(
        litellm.completion(model=f"openai/{model}", messages=HELLO, stream=True, stream_options=options, **SERVER)
    )
    built = litellm.stream_chunk_builder(chunks, messages=HELLO)
    assert built.choices[0].message.content == whole.choices[0].message.content
    assert built.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm", "custom_openai", "lm_studio"])
def test_its_names_for_such_a_server(provider: str) -> None:
    reply = litellm.completion(model=f"{provider}/psychechat", messages=CRISIS, **SERVER)
    assert HELP in reply.choices[0].message.content


@pytest.mark.parametrize(
    "more", [{"tools": [TOOL]}, {"max_tokens": 3}, {"extra_body": {"top_k": 20}}], ids=lambda more: ",".join(more)
)
def test_harmless_parameters_nor_in_a_crisis_are_errors(more: dict[str, object]) -> None:
    assert litellm.completion(model="openai/psychechat", messages=HELLO, **SERVER, **more).choices[0].message.content
    reply = litellm.completion(model="openai/psychechat", messages=CRISIS, **SERVER, **more)
    assert HELP in reply.choices[0].message.content


def test_by_responses() -> None:
    reply = litellm.responses(model="openai/psychechat", input="I want to die.", **SERVER)
    assert HELP in reply.output[0].content[0].text


def test_several_choices_with_log_probabilities() -> None:
    reply = litellm.completion(model="openai/psychechat-llm", messages=HELLO, n=2, logprobs=True, **SERVER)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert all(choice.logprobs.content for choice in reply.choices)


def test_errors_have_their_classes() -> None:
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(model="openai/gpt-none", messages=HELLO, **SERVER)
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(model="openai/psychechat", messages=HELLO, max_tokens=0, **SERVER)
