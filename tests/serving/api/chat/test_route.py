"""Chat completions as the official client sees them."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from psychechat.engines.base import Delta, StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.errors import EngineUnavailable
from tests.serving.api.conftest import Served, wait_for

Serving = Callable[..., AbstractContextManager[Served]]
MODELS = ("psychechat", "psychechat-agent", "psychechat-llm")


def seeker(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("model", MODELS)
def test_a_plain_reply(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.create(model=model, messages=seeker("I am worried about my exam"))
    assert reply.object == "chat.completion"
    assert reply.model == model
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.content == "Thank you for telling me. What about this weighs on you most?"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    found = reply.model_extra["psychechat"]  # type: ignore[index]
    assert found["mode"] == ("agent" if model == "psychechat-agent" else "llm")
    assert found["emotions"] == [{"label": "worried", "group": "fear", "intensity": 1, "probability": 0.8}]
    assert found["valence"] == -1
    assert found["risk"]["level"] == "none"
    assert found["review"]["rounds"] == int(model == "psychechat-agent")


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_reply_is_the_plain_one_in_pieces(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=seeker("我很担心考试"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    first, *middle, last, usage = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    text = "".join(chunk.choices[0].delta.content or "" for chunk in middle)
    assert text == "谢谢你告诉我。这件事里最让你放不下的是什么？"
    assert last.choices[0].finish_reason == "stop"
    assert last.model_extra["psychechat"]["emotions"][0]["label"] == "worried"  # type: ignore[index]
    assert usage.choices == []
    assert usage.usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_without_include_usage_no_chunk_has_one(served: Any) -> None:
    body = {"model": "psychechat", "messages": seeker("hello there"), "stream": True}
    with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("usage" not in json.loads(line.removeprefix("data: ")) for line in lines[:-1])


def test_agent_mode_keeps_the_stream_alive_while_it_works(serving: Serving) -> None:
    slow = ScriptedGenerator(seconds_per_word=0.005)
    with serving(slow, limits={"keep_alive_seconds": 0.02}) as served:
        body = {"model": "psychechat-agent", "messages": seeker("hello there"), "stream": True}
        with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = [line for line in response.iter_lines() if line]
    assert ": keep-alive" in lines
    replies = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert [bool(r["choices"][0]["delta"].get("content")) for r in replies] == [False, True, False]


def test_several_choices_from_the_llm_model(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"), n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    stream = client.chat.completions.create(model="psychechat-llm", messages=seeker("hi you"), n=2, stream=True)
    ended = [(c.choices[0].index, c.choices[0].finish_reason) for c in stream if c.choices[0].finish_reason]
    assert ended == [(0, "stop"), (1, "stop")]


def test_log_probabilities_as_the_official_client_reads_them(client: openai.OpenAI) -> None:
    asked: Any = {"model": "psychechat-llm", "messages": seeker("hello there"), "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked).choices[0]
    assert whole.logprobs is not None
    assert whole.logprobs.content is not None
    told = b"".join(bytes(token.bytes or ()) for token in whole.logprobs.content)
    assert told.decode().strip() == whole.message.content
    assert {len(token.top_logprobs) for token in whole.logprobs.content} == {2}
    assert all(token.top_logprobs[0].token == token.token for token in whole.logprobs.content)

    streamed: list[Any] = []
    for chunk in client.chat.completions.create(**asked, stream=True):
        logprobs = chunk.choices[0].logprobs
        assert (logprobs is not None) == bool(chunk.choices[0].delta.content)
        streamed += (logprobs and logprobs.content) or []
    assert streamed == whole.logprobs.content


def test_a_crisis_has_no_log_probabilities_and_is_no_error(client: openai.OpenAI) -> None:
    asked: Any = {"model": "psychechat-llm", "messages": seeker("I want to die"), "logprobs": True}
    assert client.chat.completions.create(**asked).choices[0].logprobs is None
    assert not any(chunk.choices[0].logprobs for chunk in client.chat.completions.create(**asked, stream=True))


@pytest.mark.parametrize(
    ("asked", "thinks"),
    [
        ({}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "high"}, True),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, False),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}, True),
        ({"reasoning_effort": "none", "extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}, False),
    ],
)
def test_a_client_may_have_the_reply_without_thinking(
    client: openai.OpenAI, asked: dict[str, Any], thinks: bool
) -> None:
    reply = client.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"), **asked)
    assert reply.usage is not None
    assert reply.usage.completion_tokens_details is not None
    assert (reply.usage.completion_tokens_details.reasoning_tokens != 0) is thinks
    assert reply.choices[0].message.content == "Thank you for telling me. What about this weighs on you most?"


def test_a_reply_names_what_it_was_made_with(serving: Serving) -> None:
    with serving() as served, served.client() as client:

        def fingerprints() -> set[str | None]:
            asked: Any = {"model": "psychechat", "messages": seeker("hello there"), "service_tier": "auto"}
            whole = client.chat.completions.create(**asked)
            assert whole.service_tier == "default"
            chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
            assert {chunk.service_tier for chunk in chunks} == {"default"}
            return {whole.system_fingerprint, *(chunk.system_fingerprint for chunk in chunks)}

        [before] = fingerprints()
        assert fingerprints() == {before}
        served.pipeline.policy = served.pipeline.policy.model_copy(update={"show_reasoning": True})
        [after] = fingerprints()
    assert before is not None
    assert before.startswith("fp_")
    assert after != before


def test_a_reply_can_be_sent_back_as_the_client_holds_it(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="psychechat", messages=seeker("I am so happy today"))
    back: Any = first.choices[0].message.model_dump()  # with its refusal, audio and tool_calls, all null
    second = client.chat.completions.create(
        model="psychechat", messages=[*seeker("I am so happy today"), back, *seeker("now I am sad again")]
    )
    assert second.model_extra["psychechat"]["shift"] == -4  # type: ignore[index]


def test_text_parts_and_operator_messages_are_read(client: openai.OpenAI, served: Any) -> None:
    messages: Any = [
        {"role": "system", "content": "You work for a school."},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "there"}]},
    ]
    client.chat.completions.create(model="psychechat", messages=messages)
    prompt = served.generator.prompts[-1][1]
    assert prompt[0].content.endswith("- You work for a school.\n- Be brief.")
    assert prompt[1].content == "hello\nthere"


def test_reasoning_is_shown_only_where_the_policy_says_so(serving: Serving, client: openai.OpenAI) -> None:
    hidden = client.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"))
    assert "reasoning_content" not in (hidden.choices[0].message.model_extra or {})
    with serving(show_reasoning=True) as served, served.client() as shown:
        reply = shown.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"))
        assert reply.choices[0].message.model_extra["reasoning_content"].startswith("The seeker")  # type: ignore[index]
        stream = shown.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"), stream=True)
        thoughts = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content") for chunk in stream]
    assert "".join(filter(None, thoughts)).startswith("The seeker")


def test_a_reply_that_the_guard_stops_ends_as_filtered(serving: Serving) -> None:
    unsafe = ScriptedGenerator({StageName.REPLY: ["I hear you. You should just kill yourself."]})
    with serving(unsafe) as served, served.client() as client:
        *_, last = client.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"), stream=True)
        whole = client.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"))
        metrics = served.http.get("/metrics").text
    found = [{"index": 0, "cause": "encouragement", "blocked": True}]
    for ended in (last, whole):
        assert ended.choices[0].finish_reason == "content_filter"
        assert ended.model_extra["psychechat"]["guard"] == found  # type: ignore[index]
    text = whole.choices[0].message.content
    assert text is not None
    assert text.startswith("I hear you.\n\n")
    assert "kill" not in text
    assert 'psychechat_guard_findings_total{action="blocked",cause="encouragement"} 2.0' in metrics


# ------------------------------------------------------------------------------------------- what goes wrong


def test_an_error_before_the_first_words_keeps_its_status_in_a_stream(serving: Serving) -> None:
    gone = ScriptedGenerator({StageName.REPLY: [EngineUnavailable("The engine is restarting.")]})
    with serving(gone) as served, served.client() as client, pytest.raises(openai.InternalServerError) as failure:
        client.chat.completions.create(model="psychechat-llm", messages=seeker("hello there"), stream=True)
    assert failure.value.status_code == 503
    assert failure.value.code == "engine_unavailable"


class _FallsSilent(ScriptedGenerator):
    async def generate(self, *_: object) -> AsyncGenerator[Delta, None]:
        yield Delta("Thank you for telling me. ")
        await asyncio.sleep(3600)


def _stream(served: Served) -> list[dict[str, Any]]:
    """Events of a streamed reply; its last line is checked by the caller."""
    body = {"model": "psychechat-llm", "messages": seeker("hello there"), "stream": True}
    with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    return [{"done": True} if line == "[DONE]" else json.loads(line) for line in lines]


def test_a_stream_whose_time_is_up_ends_as_a_whole_one_that_says_it_is_cut(serving: Serving) -> None:
    with serving(_FallsSilent(), limits={"turn_seconds": 0.4}) as served:
        *events, last, done = _stream(served)
    assert done == {"done": True}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["psychechat"]["review"] == {"rounds": 0, "passed": None, "fallback": False, "cut": True}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events).startswith("Thank you")


@pytest.mark.parametrize("model", ["psychechat-llm", "psychechat-agent"])
def test_a_client_says_how_long_it_waits(serving: Serving, model: str) -> None:
    """Down to the engines, whose calls carry the deadline. Without time for a retry the client is told not to."""
    slow = ScriptedGenerator(seconds_per_word=60)
    body = {"model": model, "messages": seeker("hello there")}
    with serving(slow) as served:
        start = time.monotonic()
        response = served.http.post("/v1/chat/completions", json=body, headers={"x-request-timeout": "0.3"})
        assert 0.2 < time.monotonic() - start < 20
        wait_for(lambda: slow.running == 0)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert response.headers["x-should-retry"] == "false"
    assert {call.deadline - time.monotonic() < 1 for *_, call in slow.prompts} == {True}


def test_a_crisis_without_time_is_answered(serving: Serving) -> None:
    body = {"model": "psychechat", "messages": seeker("I want to die")}
    with serving(ScriptedGenerator(seconds_per_word=0.02)) as served:
        for timeout in ("0.1", "rubbish"):
            headers = {"x-request-timeout": timeout}
            response = served.http.post("/v1/chat/completions", json=body, headers=headers)
            assert response.status_code == 200
            if timeout == "0.1":
                assert response.json()["psychechat"]["review"]["fallback"]
                assert response.json()["choices"][0]["finish_reason"] == "stop"


def test_a_lost_engine_says_when_to_come_back(serving: Serving) -> None:
    gone = ScriptedGenerator({StageName.REPLY: [EngineUnavailable("The engine is restarting.")]})
    with serving(gone) as served:
        body = {"model": "psychechat-llm", "messages": seeker("hello there")}
        response = served.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 503
    assert int(response.headers["retry-after-ms"]) == 1000 * int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["psychechat-llm", "psychechat-agent"])
def test_a_client_that_leaves_stops_the_engine(serving: Serving, model: str, stream: bool) -> None:
    slow = ScriptedGenerator(seconds_per_word=60)
    with serving(slow) as served:
        with served.left("/v1/chat/completions", {"model": model, "messages": seeker("hello there"), "stream": stream}):
            wait_for(lambda: slow.running == 1)
        wait_for(lambda: slow.running == 0)
        wait_for(lambda: served.held("generation") == 0)  # the turn has ended
        assert len(slow.prompts) == 1  # no later stage was started
