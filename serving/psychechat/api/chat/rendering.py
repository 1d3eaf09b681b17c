"""From a turn's outcome to the bytes of OpenAI's chat objects.

https://platform.openai.com/docs/api-reference/chat/object and /chat/streaming
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psychechat.api.http.responses import DONE, event
from psychechat.api.texts.rendering import emotions_object, risk_object
from psychechat.conversation import Reply, ReplyDelta, TokenLogprob
from psychechat.engines.base import Usage
from psychechat.pipeline.request import Outcome


@dataclass(frozen=True, slots=True)
class Heading:
    """What every object of one reply begins with. `created` is Unix time in seconds."""

    id: str
    created: int
    model: str
    fingerprint: str
    service_tier: Literal["default"] | None = None
    """The only one there is, told to those who named one."""

    def of(self, kind: str) -> dict[str, Any]:
        tier = {} if self.service_tier is None else {"service_tier": self.service_tier}
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            **tier,
        }


def psychechat_object(reply: Reply, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What was found on the way to the reply. It says what was detected and where it was routed: no diagnosis."""
    reading = reply.reading
    return {
        "mode": reply.decision.mode,
        "reason": reply.decision.reason,
        "session": reply.session,
        "emotions": emotions_object(reading.emotions),
        "valence": reading.valence,
        "shift": reading.shift,
        "risk": risk_object(reading.severity, reading.risk),
        "review": {"rounds": reply.rounds, "passed": reply.passed, "fallback": reply.fallback},
        "guard": [
            {"index": index, "cause": choice.cause, "blocked": choice.finish_reason == "content_filter"}
            for index, choice in enumerate(reply.choices)
            if choice.cause
        ],
        "timings": {str(stage): round(spent, 4) for stage, spent in seconds.items()},
    }


def logprobs_object(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/chat/object#chat-object-choices-logprobs"""

    def one(token: TokenLogprob) -> dict[str, Any]:
        return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes) or None}

    content = [one(token) | {"top_logprobs": [one(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Tokens of all stages of the turn together."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def completion(
    outcome: Outcome, reasoning: Mapping[int, str], heading: Heading, moderation: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A chat.completion object. `reasoning` holds what policy lets out of each choice's thinking."""
    choices = []
    for index, choice in enumerate(outcome.reply.choices):
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        if reasoning.get(index):
            message["reasoning_content"] = reasoning[index]
        logprobs = None if choice.logprobs is None else logprobs_object(choice.logprobs)
        finish = choice.finish_reason
        choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
    return {
        **heading.of("chat.completion"),
        "choices": choices,
        "usage": usage_object(outcome.usage),
        **({} if moderation is None else {"moderation": moderation}),
        "psychechat": psychechat_object(outcome.reply, outcome.seconds),
    }


class Chunks:
    """The chat.completion.chunk objects of one reply, as server-sent events, in the order of its methods."""

    def __init__(self, heading: Heading, *, include_usage: bool) -> None:
        self._frame = heading.of("chat.completion.chunk")
        self._usage: dict[str, Any] = {"usage": None} if include_usage else {}
        self._include_usage = include_usage

    def opening(self, choices: int) -> bytes:
        return b"".join(self._chunk(i, {"role": "assistant", "content": ""}) for i in range(choices))

    def delta(self, delta: ReplyDelta) -> bytes:
        wire: dict[str, Any] = {}
        if delta.reasoning:
            wire["reasoning_content"] = delta.reasoning
        if delta.content:
            wire["content"] = delta.content
        return self._chunk(delta.index, wire, logprobs=logprobs_object(delta.logprobs) if delta.logprobs else None)

    def finish(self, outcome: Outcome, moderation: Mapping[str, Any] | None) -> bytes:
        """One finishing chunk a choice, the last with the `psychechat` object; then the moderation and the usage.

        The last two come if they were asked for.
        """
        found = {"psychechat": psychechat_object(outcome.reply, outcome.seconds)}
        last = len(outcome.reply.choices) - 1
        events = [
            self._chunk(index, {}, choice.finish_reason, found if index == last else {})
            for index, choice in enumerate(outcome.reply.choices)
        ]
        if moderation is not None:
            events.append(event({**self._frame, "choices": [], "moderation": moderation, **self._usage}))
        if self._include_usage:
            events.append(event(self._frame | {"choices": [], "usage": usage_object(outcome.usage)}))
        return b"".join(events) + DONE

    def _chunk(
        self,
        index: int,
        delta: Mapping[str, Any],
        finish_reason: str | None = None,
        extra: Mapping[str, Any] | None = None,
        *,
        logprobs: Mapping[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return event({**self._frame, "choices": [choice], **self._usage, **(extra or {})})
