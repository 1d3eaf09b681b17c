"""The official client at its newest: typed parsing, the streaming helper, asynchronous use, every route it knows."""

import asyncio
import os
from typing import Any

import openai
import pytest

URL = os.environ["PSYCHECHAT_URL"]
HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "I could not sleep."}]
CRISIS: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "I want to die."}]
HELP = "local emergency number"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm"])
def test_plain_and_streamed_are_the_same_reply(model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=HELLO)
    assert whole.choices[0].message.content
    assert whole.usage is not None
    with client.chat.completions.stream(model=model, messages=HELLO, stream_options={"include_usage": True}) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "stop"
    assert text == final.choices[0].message.content == whole.choices[0].message.content
    assert final.usage is not None


def test_log_probabilities_and_moderation_are_typed() -> None:
    reply = client.chat.completions.create(
        model="psychechat-llm",
        messages=HELLO,
        logprobs=True,
        top_logprobs=2,
        moderation={"model": "omni-moderation-latest"},
    )
    assert reply.choices[0].logprobs is not None
    assert reply.choices[0].logprobs.content
    assert reply.moderation is not None
    assert reply.moderation.output.type == "moderation_results"


def test_asynchronous_streams() -> None:
    async def collect() -> str:
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none") as asynchronous:
            chunks = await asynchronous.chat.completions.create(model="psychechat", messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    assert asyncio.run(collect())


def test_models_and_moderations() -> None:
    assert {model.id for model in client.models.list()} >= {"psychechat", "psychechat-llm"}
    [result] = client.moderations.create(input="I want to die").results
    assert result.categories.self_harm


@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm"])
def test_responses_plain_and_streamed_are_the_same_reply(model: str) -> None:
    whole = client.responses.create(model=model, input="I could not sleep.", instructions="You work for a school.")
    assert whole.status == "completed"
    assert whole.usage is not None
    with client.responses.stream(model=model, input="I could not sleep.") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == whole.output_text
    more: Any = [
        {"role": "user", "content": "I could not sleep."},
        *[item.to_dict() for item in final.output],
        {"role": "user", "content": "Thank you."},
    ]
    assert client.responses.create(model=model, input=more, store=False).output_text


def test_a_crisis_in_a_response_is_whole_whatever_its_bound() -> None:
    reply = client.responses.create(model="psychechat", input="I want to die", max_output_tokens=1)
    assert reply.status == "completed"
    assert HELP in reply.output_text


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True},
        {"max_tokens": 3},
        {"max_completion_tokens": 16},
        {"store": True},
        {"verbosity": "medium"},
        {"prompt_cache_key": "page", "prompt_cache_retention": "24h"},
        {"extra_body": {"top_k": 20, "min_p": 0.1, "repetition_penalty": 1.05}},
        {"extra_body": {"num_ctx": 4096, "keep_alive": -1, "thinking": {"type": "disabled"}}},
    ],
    ids=lambda more: ",".join(more),
)
def test_what_can_be_had_without_is_no_error_nor_in_a_crisis(more: dict[str, Any]) -> None:
    assert client.chat.completions.create(model="psychechat", messages=HELLO, **more).choices[0].message.content
    reply = client.chat.completions.create(model="psychechat", messages=CRISIS, **more).choices[0]
    assert HELP in (reply.message.content or "")
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
        {"temperature": 9.0},
        {"n": 3},
    ],
    ids=lambda more: ",".join(more),
)
def test_a_crisis_in_what_would_be_refused_is_answered(more: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="psychechat", messages=HELLO, **more)
    reply = client.chat.completions.create(model="psychechat", messages=CRISIS, **more).choices[0]
    assert HELP in (reply.message.content or "")


def test_errors_have_their_classes() -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-none", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="psychechat", messages=HELLO, response_format={"type": "json_object"})
    assert refused.value.param == "response_format"
    with pytest.raises(openai.BadRequestError) as stateful:
        client.responses.create(model="psychechat", input="I could not sleep.", previous_response_id="resp_1")
    assert stateful.value.param == "previous_response_id"
