"""LlamaIndex's OpenAILike: chat, streams, a chat engine with memory, tools, and its probes of few tokens."""

import asyncio
import os

import pytest
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

URL = os.environ["PSYCHECHAT_URL"]
HELLO = [ChatMessage(role="user", content="I could not sleep.")]
CRISIS = [ChatMessage(role="user", content="I want to die.")]
HELP = "local emergency number"


def llm(**more: object) -> OpenAILike:
    server = {"api_base": f"{URL}/v1", "api_key": "none", "model": "psychechat", "max_retries": 0}
    return OpenAILike(**server, is_chat_model=True, **more)


def test_plain_streamed_and_asynchronous_are_the_same_reply() -> None:
    whole = llm().chat(HELLO).message.content
    assert whole
    assert "".join(piece.delta or "" for piece in llm().stream_chat(HELLO)) == whole
    assert asyncio.run(llm().achat(HELLO)).message.content == whole
    assert llm().complete("I could not sleep.").text == whole


def test_a_chat_engine_keeps_the_conversation() -> None:
    engine = SimpleChatEngine.from_defaults(llm=llm())
    assert engine.chat("I could not sleep.").response
    assert HELP in engine.chat("I want to die.").response
    assert len(engine.chat_history) == 4


@pytest.mark.parametrize("more", [{"max_tokens": 10}, {"additional_kwargs": {"extra_body": {"top_k": 20}}}])
def test_harmless_parameters_nor_in_a_crisis_are_errors(more: dict[str, object]) -> None:
    assert llm(**more).chat(HELLO).message.content
    assert HELP in llm(**more).chat(CRISIS).message.content


def test_a_tool_is_not_called_nor_in_a_crisis() -> None:
    def weather(place: str) -> str:
        """How it is outside."""
        raise AssertionError

    caller = llm(is_function_calling_model=True)
    for said in (HELLO, CRISIS):
        reply = caller.chat_with_tools([FunctionTool.from_defaults(weather)], chat_history=said)
        assert reply.message.content
        assert not caller.get_tool_calls_from_response(reply, error_on_no_tool_call=False)
    assert HELP in reply.message.content
