"""Pydantic AI, by /v1/responses, its default, and by chat: runs, streams, a history, tools, and objects."""

import asyncio
import os

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

HELLO, CRISIS = "I could not sleep.", "I want to die."
HELP = "local emergency number"
PROVIDER = OpenAIProvider(base_url=f"{os.environ['PSYCHECHAT_URL']}/v1", api_key="none")


class Feeling(BaseModel):
    name: str


@pytest.fixture(params=[OpenAIResponsesModel, OpenAIChatModel])
def model(request: pytest.FixtureRequest) -> Model:
    return request.param("psychechat", provider=PROVIDER)


@pytest.mark.parametrize("api", [OpenAIResponsesModel, OpenAIChatModel])
@pytest.mark.parametrize("name", ["psychechat", "psychechat-agent", "psychechat-llm"])
def test_plain_and_streamed_are_the_same_reply(name: str, api: type[Model]) -> None:
    agent = Agent(api(name, provider=PROVIDER), instructions="You work for a school.")
    whole = agent.run_sync(HELLO)
    assert whole.output
    assert whole.usage.output_tokens > 0

    async def collect() -> str:
        async with agent.run_stream(HELLO) as stream:
            return "".join([piece async for piece in stream.stream_text(delta=True)])

    assert asyncio.run(collect()) == whole.output


def test_its_default_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{os.environ['PSYCHECHAT_URL']}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert HELP in Agent("openai:psychechat").run_sync(CRISIS).output


def test_a_conversation_goes_on_with_its_own_replies(model: Model) -> None:
    agent = Agent(model)
    first = agent.run_sync("I am so happy today")
    second = agent.run_sync("now I am sad again", message_history=first.all_messages())
    assert second.output
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_tool_is_not_called_nor_in_a_crisis(model: Model) -> None:
    def weather() -> str:
        raise AssertionError

    agent = Agent(model, tools=[weather])
    assert agent.run_sync(HELLO).output
    assert HELP in agent.run_sync(CRISIS).output


@pytest.mark.parametrize("output", [ToolOutput(Feeling), NativeOutput(Feeling)])
def test_objects_are_refused_by_name(model: Model, output: object) -> None:
    with pytest.raises(ModelHTTPError) as refused:
        Agent(model, output_type=output).run_sync(HELLO)
    assert refused.value.status_code == 400
    assert "unsupported_parameter" in str(refused.value)
