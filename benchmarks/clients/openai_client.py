"""The official client at its newest: typed parsing, the streaming helper, asynchronous use, every route it knows."""

import asyncio
import os

import openai
import pytest

URL = os.environ["PSYCHECHAT_URL"]
HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "I could not sleep."}]
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


def test_errors_have_their_classes() -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="psychechat", messages=HELLO, store=True)
    assert refused.value.param == "store"
