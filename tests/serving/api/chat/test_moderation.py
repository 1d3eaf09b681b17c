"""Chat's `moderation`: in the reply and as a chunk, scored or withheld, and never between a crisis and its answer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import openai
import pytest

from psychechat.conversation import Assessment
from psychechat.engines.base import Call, StageName
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.errors import EngineUnavailable
from psychechat.help import fixed_words
from psychechat.risk import Severity
from tests.serving.api.conftest import Served

Serving = Callable[..., AbstractContextManager[Served]]

CALM, GRAVE = "hello there", "I want to die"
REPLY = "Thank you for telling me. What about this weighs on you most?"
FLAGGED = {"weighs on you": assessment(risk=Severity.BEHAVIOR)}
"""A head that takes our scripted reply for something grave."""


def asked(text: str = CALM, *, output: str = "score", input: str = "score", **more: Any) -> dict[str, Any]:
    policy = {"input": {"mode": input}, "output": {"mode": output}}
    moderation = {"model": "omni-moderation-latest", "policy": policy}
    return {"model": "psychechat-llm", "messages": [{"role": "user", "content": text}], "moderation": moderation} | more


class RepliesUnjudged(ScriptedClassifier):
    """Judges what seekers say, and is gone when asked about our reply."""

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        if any(REPLY in utterance for utterance in utterances):
            raise EngineUnavailable("The classifier is not available.")
        return await super().classify(utterances, call)


@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm"])
def test_a_reply_comes_with_both_judgements(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.create(**asked(model=model))
    assert reply.choices[0].message.content == REPLY
    assert reply.moderation is not None
    for side in (reply.moderation.input, reply.moderation.output):
        assert side.type == "moderation_results"
        assert side.model == "psychechat"
        [result] = side.results
        assert (result.type, result.flagged) == ("moderation_result", False)
        assert len(result.categories) == len(result.category_scores) == 13
        assert result.category_applied_input_types["self-harm"] == ["text"]
        assert result.category_applied_input_types["violence"] == []


def test_without_the_parameter_nothing_is_judged(client: openai.OpenAI) -> None:
    body = asked()
    del body["moderation"]
    reply = client.chat.completions.create(**body)
    assert reply.moderation is None
    assert "moderation" not in reply.model_dump(exclude_unset=True)


def test_every_choice_is_judged(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(**asked(n=3))
    assert reply.moderation is not None
    assert reply.moderation.output.type == "moderation_results"
    assert len(reply.moderation.output.results) == 3


def test_a_stream_has_a_moderation_chunk_before_its_usage(client: openai.OpenAI) -> None:
    body = asked(stream=True, stream_options={"include_usage": True})
    chunks = list(client.chat.completions.create(**body))
    *told, moderation, usage = chunks
    assert told[-1].choices[0].finish_reason == "stop"
    assert all(chunk.moderation is None for chunk in (*told, usage))
    assert (moderation.choices, moderation.usage) == ([], None)
    assert moderation.moderation is not None
    assert moderation.moderation.output.type == "moderation_results"
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_flagged_reply_is_scored_or_withheld(serving: Serving, stream: bool) -> None:
    with serving() as served, served.client() as client:
        served.pipeline.classifier = ScriptedClassifier(FLAGGED)
        texts, finishes = [], []
        for output in ("score", "block"):
            body = asked(output=output)
            if stream:
                chunks = list(client.chat.completions.create(**body, stream=True))
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
                finish = next(c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason)
                moderation = chunks[-1].moderation
            else:
                reply = client.chat.completions.create(**body)
                text, finish = reply.choices[0].message.content or "", reply.choices[0].finish_reason
                moderation = reply.moderation
            assert moderation is not None
            assert moderation.output.type == "moderation_results"
            assert moderation.output.results[0].flagged
            assert moderation.output.results[0].categories["self-harm/intent"]
            texts.append(text)
            finishes.append(finish)
    assert texts[0] == REPLY
    assert finishes == ["stop", "content_filter"]
    assert REPLY not in texts[1]
    assert texts[1] == fixed_words.words("en").listening.neutral


@pytest.mark.parametrize("model", ["psychechat", "psychechat-llm"])
def test_a_crisis_is_flagged_and_answered_whatever_is_to_be_blocked(serving: Serving, model: str) -> None:
    with serving() as served, served.client() as client:
        served.pipeline.classifier = ScriptedClassifier(FLAGGED)
        reply = client.chat.completions.create(**asked(GRAVE, input="block", output="block", model=model))
    assert reply.choices[0].finish_reason == "stop"
    text = reply.choices[0].message.content or ""
    assert text.startswith(fixed_words.words("en").opening.thoughts)
    assert "findahelpline.com" in text
    assert REPLY not in text  # only what follows the fixed words was withheld
    assert reply.moderation is not None
    assert reply.moderation.input.type == reply.moderation.output.type == "moderation_results"
    assert reply.moderation.input.results[0].flagged
    assert reply.moderation.output.results[0].flagged


def test_a_crisis_with_every_engine_dead_is_answered_and_flagged(serving: Serving) -> None:
    dead = ScriptedGenerator({name: [EngineUnavailable("gone")] for name in StageName})
    with serving(dead) as served, served.client() as client:
        reply = client.chat.completions.create(**asked(GRAVE, input="block", output="block"))
    assert reply.choices[0].finish_reason == "stop"
    assert reply.moderation is not None
    assert reply.moderation.input.type == "moderation_results"
    assert reply.moderation.input.results[0].flagged
    assert reply.moderation.output.type == "moderation_results"


def test_a_reply_that_nobody_judged_says_so_and_is_withheld_where_it_was_to_be_blocked(serving: Serving) -> None:
    with serving() as served, served.client() as client:
        served.pipeline.classifier = RepliesUnjudged()
        scored = client.chat.completions.create(**asked())
        blocked = client.chat.completions.create(**asked(output="block"))
    for reply in (scored, blocked):
        assert reply.moderation is not None
        assert reply.moderation.input.type == "moderation_results"
        assert reply.moderation.output.type == "error"
        assert reply.moderation.output.code == "engine_unavailable"
    assert scored.choices[0].message.content == REPLY
    assert blocked.choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("moderation", "param"),
    [
        ({}, "moderation.model"),
        ({"model": "m", "policy": {"output": {"mode": "maybe"}}}, "moderation.policy.output.mode"),
        ({"model": "m", "policy": {"output": {}}}, "moderation.policy.output.mode"),
        ({"model": "m", "other": 1}, "moderation.other"),
        ("m", "moderation"),
    ],
)
def test_a_wrong_moderation_is_named(served: Any, moderation: object, param: str) -> None:
    response = served.http.post("/v1/chat/completions", json=asked() | {"moderation": moderation})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
