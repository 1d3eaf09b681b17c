"""Rendering of a turn's outcome as OpenAI's chat objects.

https://platform.openai.com/docs/api-reference/chat/object and /chat/streaming
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from psychechat.api.http import schemas
from psychechat.api.http.responses import DONE, event
from psychechat.api.texts.rendering import emotions_object, risk_object
from psychechat.conversation import Choice, Reply, ReplyDelta, TokenLogprob
from psychechat.engines.base import Usage
from psychechat.help.resources import Resource
from psychechat.pipeline.request import Outcome
from psychechat.risk import RiskState

FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Heading:
    """Fields that all objects of one response share. `created`: Unix time in seconds."""

    id: str
    created: int
    model: str
    fingerprint: str
    service_tier: Literal["default"] | None = None
    """Echoed only if the request named a tier; there is only this one."""


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


def outcome_object(outcome: Outcome) -> schemas.PsycheChat:
    told = psychechat_object(outcome.reply, outcome.seconds)
    return told if outcome.task is None else {**told, "task": outcome.task}


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


def completion(
    outcome: Outcome, reasoning: Mapping[int, str], heading: Heading, moderation: schemas.TurnModeration | None
) -> schemas.ChatCompletion:
    """`reasoning`: thinking by choice, as far as the policy shows it."""
    whole: schemas.ChatCompletion = {
        "id": heading.id,
        "object": "chat.completion",
        "created": heading.created,
        "model": heading.model,
        "system_fingerprint": heading.fingerprint,
        "choices": [_choice(index, choice, reasoning) for index, choice in enumerate(outcome.reply.choices)],
        "usage": usage_object(outcome.usage),
        "psychechat": outcome_object(outcome),
    }
    if heading.service_tier is not None:
        whole["service_tier"] = heading.service_tier
    if moderation is not None:
        whole["moderation"] = moderation
    return whole


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


class Chunks:
    """Server-sent events of one reply: its chat.completion.chunk objects, in the order of the methods."""

    def __init__(self, heading: Heading, *, include_usage: bool) -> None:
        self._heading, self._include_usage = heading, include_usage

    def opening(self, choices: int) -> bytes:
        return b"".join(event(self._chunk(index, {"role": "assistant", "content": ""})) for index in range(choices))

    def delta(self, delta: ReplyDelta) -> bytes:
        wire: schemas.Delta = {}
        if delta.reasoning:
            wire["reasoning_content"] = delta.reasoning
        if delta.content:
            wire["content"] = delta.content
        return event(self._chunk(delta.index, wire, logprobs_object(delta.logprobs) if delta.logprobs else None))

    def finish(self, outcome: Outcome, moderation: schemas.TurnModeration | None) -> bytes:
        """Finishing chunks, one per choice, the last with `psychechat`; then moderation and usage, if asked for."""
        chunks = [
            self._chunk(index, {}, None, choice.finish_reason) for index, choice in enumerate(outcome.reply.choices)
        ]
        chunks[-1]["psychechat"] = outcome_object(outcome)
        if moderation is not None:
            chunks.append({**self._frame(), "moderation": moderation})
        if self._include_usage:
            chunks.append({**self._frame(), "usage": usage_object(outcome.usage)})
        return b"".join(map(event, chunks)) + DONE

    def _chunk(
        self,
        index: int,
        delta: schemas.Delta,
        logprobs: schemas.Logprobs | None = None,
        finish_reason: FinishReason | None = None,
    ) -> schemas.ChatCompletionChunk:
        chunk = self._frame()
        chunk["choices"] = [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}]
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
