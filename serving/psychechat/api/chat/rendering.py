"""Rendering of a turn's outcome as OpenAI's chat objects.

https://platform.openai.com/docs/api-reference/chat/object and /chat/streaming
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.chat.stages import stages_object
from psychechat.api.http import schemas
from psychechat.api.http.errors import broken_off
from psychechat.api.http.responses import DONE, event
from psychechat.api.texts.rendering import emotions_object, risk_object
from psychechat.conversation import Choice, Reply, ReplyDelta, TokenLogprob
from psychechat.engines.base import Usage
from psychechat.help.resources import Resource
from psychechat.pipeline.request import Outcome
from psychechat.risk import RiskState


@dataclass(frozen=True, slots=True)
class Heading:
    """What all objects of one response share. `created`: Unix time in seconds."""

    id: str
    created: int
    model: str
    fingerprint: str
    service_tier: Literal["default"] | None = None
    """Echoed only if the request named a tier; there is only this one."""
    request_id: str = ""
    minimal: bool = False
    """Whether what was found out about the seeker stays out."""
    stages: bool = False
    """Whether a turn's answer shows what its stages made."""


def psychechat_object(reply: Reply, seconds: Mapping[str, float]) -> schemas.PsycheChat:
    """`psychechat` object: what was detected and how the turn was routed; not a diagnosis."""
    reading = reply.reading
    return {
        "mode": reply.decision.mode,
        "reason": reply.decision.reason,
        "session": reply.session,
        "emotions": emotions_object(reading.emotions),
        "valence": reading.valence,
        "shift": reading.shift,
        "risk": {
            **risk_object(reading.severity, reading.risk),
            "kind": reading.kind,
            "conversation": conversation_object(reading.conversation),
        },
        "review": {
            "rounds": reply.rounds,
            "passed": reply.passed,
            "fallback": reply.fallback,
            "cut": any(choice.cut for choice in reply.choices),
        },
        "guard": [finding for index, choice in enumerate(reply.choices) for finding in _findings(index, choice)],
        "resources": [_resource(row) for row in reply.resources],
        "timings": {str(stage): round(spent, 4) for stage, spent in seconds.items()},
    }


def _findings(index: int, choice: Choice) -> Iterator[schemas.GuardFinding]:
    if choice.cause:
        yield {"index": index, "cause": choice.cause, "blocked": choice.blocked}
    if choice.withheld:
        yield {"index": index, "cause": "contact", "blocked": True}


def _resource(row: Resource) -> schemas.Resource:
    return {
        "name": row.name,
        "contact": row.contact,
        "hours": row.hours,
        "locale": row.locale,
        "verified_at": row.verified_at.isoformat() if row.verified_at else None,
    }


def outcome_object(outcome: Outcome, heading: Heading) -> schemas.PsycheChat | schemas.MinimalPsycheChat:
    if heading.minimal:
        return {
            "request_id": heading.request_id,
            "resources": [_resource(row) for row in outcome.reply.resources],
            "finish_reasons": [choice.finish_reason for choice in outcome.reply.choices],
        }
    told = psychechat_object(outcome.reply, outcome.seconds)
    if outcome.task is not None:
        return {**told, "task": outcome.task}
    return {**told, "stages": stages_object(outcome.reply)} if heading.stages else told


def conversation_object(state: RiskState) -> schemas.ConversationRisk:
    return {
        "level": state.level.label,
        "peak": state.peak.label,
        "since_turns": state.since_turns,
        "trend": state.trend,
        "held": state.held,
    }


def logprobs_object(tokens: Sequence[TokenLogprob]) -> schemas.Logprobs:
    """https://platform.openai.com/docs/api-reference/chat/object#chat-object-choices-logprobs"""

    content: list[schemas.Token] = [
        {**_likely(token), "top_logprobs": [_likely(other) for other in token.top]} for token in tokens
    ]
    return {"content": content, "refusal": None}


def _likely(token: TokenLogprob) -> schemas.Likely:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes) or None}


def usage_object(usage: Usage) -> schemas.Usage:
    """Tokens of all stages of the turn together."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _choice(index: int, choice: Choice, reasoning: Mapping[int, str]) -> schemas.Choice:
    message: schemas.Message = {"role": "assistant", "content": choice.text, "refusal": None}
    if reasoning.get(index):
        message["reasoning_content"] = reasoning[index]
    return {
        "index": index,
        "message": message,
        "logprobs": None if choice.logprobs is None else logprobs_object(choice.logprobs),
        "finish_reason": choice.finish_reason,
    }


def _chunk_choice(
    index: int,
    delta: schemas.Delta,
    logprobs: schemas.Logprobs | None,
    finish_reason: schemas.FinishReason | None = None,
) -> schemas.ChunkChoice:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _around_choices(frame: schemas.ChatCompletionChunk) -> tuple[bytes, bytes]:
    """A chunk's event before its choice, and behind it, which all deltas of a stream have in common.

    What is looked for is in no string of the frame's: a quotation mark in one is escaped.
    """
    before, choices, behind = event(frame).partition(b'"choices":[')
    return before + choices, behind


class Completion:
    """One reply as a chat.completion, or as its chat.completion.chunk objects in the order of the methods."""

    def __init__(self, heading: Heading, body: ChatRequest) -> None:
        options = body.stream_options
        self._heading, self._include_usage = heading, options is not None and options.include_usage
        self._before, self._behind = _around_choices(self._frame())

    def whole(
        self, outcome: Outcome, reasoning: Mapping[int, str], moderation: schemas.TurnModeration | None
    ) -> schemas.ChatCompletion:
        heading = self._heading
        whole: schemas.ChatCompletion = {
            "id": heading.id,
            "object": "chat.completion",
            "created": heading.created,
            "model": heading.model,
            "system_fingerprint": heading.fingerprint,
            "choices": [_choice(index, choice, reasoning) for index, choice in enumerate(outcome.reply.choices)],
            "usage": usage_object(outcome.usage),
            "psychechat": outcome_object(outcome, heading),
        }
        if heading.service_tier is not None:
            whole["service_tier"] = heading.service_tier
        if moderation is not None:
            whole["moderation"] = moderation
        return whole

    def opening(self, choices: int) -> bytes:
        return b"".join(event(self._chunk(index, {"role": "assistant", "content": ""})) for index in range(choices))

    def delta(self, delta: ReplyDelta) -> bytes:
        wire: schemas.Delta = {}
        if delta.reasoning:
            wire["reasoning_content"] = delta.reasoning
        if delta.content:
            wire["content"] = delta.content
        choice = _chunk_choice(delta.index, wire, logprobs_object(delta.logprobs) if delta.logprobs else None)
        return self._before + orjson.dumps(choice) + self._behind

    def finish(self, outcome: Outcome, moderation: schemas.TurnModeration | None) -> bytes:
        """Finishing chunks, one per choice, the last with `psychechat`; then moderation and usage, if asked for."""
        chunks = [
            self._chunk(index, {}, None, choice.finish_reason) for index, choice in enumerate(outcome.reply.choices)
        ]
        chunks[-1]["psychechat"] = outcome_object(outcome, self._heading)
        if moderation is not None:
            chunks.append({**self._frame(), "moderation": moderation})
        if self._include_usage:
            chunks.append({**self._frame(), "usage": usage_object(outcome.usage)})
        return b"".join(map(event, chunks)) + DONE

    def broken_off(self, error: Exception) -> bytes:
        return broken_off(self._heading.request_id, error)

    def _chunk(
        self,
        index: int,
        delta: schemas.Delta,
        logprobs: schemas.Logprobs | None = None,
        finish_reason: schemas.FinishReason | None = None,
    ) -> schemas.ChatCompletionChunk:
        chunk = self._frame()
        chunk["choices"] = [_chunk_choice(index, delta, logprobs, finish_reason)]
        return chunk

    def _frame(self) -> schemas.ChatCompletionChunk:
        frame: schemas.ChatCompletionChunk = {
            "id": self._heading.id,
            "object": "chat.completion.chunk",
            "created": self._heading.created,
            "model": self._heading.model,
            "system_fingerprint": self._heading.fingerprint,
            "choices": [],
        }
        if self._heading.service_tier is not None:
            frame["service_tier"] = self._heading.service_tier
        if self._include_usage:
            frame["usage"] = None
        return frame
