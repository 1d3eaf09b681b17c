"""Validation of a chat request and its headers into a TurnRequest, or an error that names the field."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from psychechat.api.chat.history import conversation
from psychechat.api.chat.protocol import MAX_CHOICES, MAX_STOP, MODELS, ChatRequest
from psychechat.api.http.body.limits import MAX_SESSION, is_session
from psychechat.errors import InvalidRequest, UnknownModel, UnsupportedParameter
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.safety.reply_moderation import Judging


@dataclass(frozen=True, slots=True)
class Caller:
    """Values of a request's headers."""

    request_id: str
    tenant: str = ""
    session: str | None = None
    """`x-session-id`"""
    timeout: str | None = None
    """`x-request-timeout`: seconds that the client will wait, not yet parsed."""


def turn_request(body: ChatRequest, pipeline: Pipeline, caller: Caller) -> TurnRequest:
    """TurnRequest of the body. Raises UnknownModel, UnsupportedParameter or InvalidRequest, which name the field."""
    model = pipeline.policy.model(body.model)
    if model not in MODELS:
        raise UnknownModel(", ".join(pipeline.policy.names))
    _check_names(body, caller)
    _check_stop(body.stop or ())
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("'stream_options' is only for 'stream': true.", param="stream_options")
    requested = MODELS[model]
    if requested != "llm":
        _only_for_llm(body)
    logprobs = _alternatives(body)
    seconds, choices = timeout_seconds(caller.timeout), _choices(body)
    said, left_out = conversation(body.messages, pipeline.policy.limits)
    for what, messages in left_out.items():
        pipeline.metrics.left_out.labels(what).inc(messages)
    return TurnRequest(
        conversation=said,
        requested=requested,
        request_id=caller.request_id,
        seconds=seconds,
        streamed=bool(body.stream),
        sampling=sampling(body) | ({} if logprobs is None else {"logprobs": logprobs}),
        choices=choices,
        think=body.thinks,
        tenant=caller.tenant,
        session=_session(body) or caller.session,
        end_user=body.safety_identifier or body.user,
        locale=(body.metadata or {}).get("locale"),
        moderation=_moderation(body),
    )


def sampling(body: ChatRequest) -> dict[str, Any]:
    """Fields of `Sampling` that the client set, but for log probabilities."""
    asked = {
        "max_tokens": body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": None if body.top_k is None else max(body.top_k, 0),
        "min_p": body.min_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "repetition_penalty": body.repetition_penalty,
        "stop": tuple(body.stop) if body.stop else None,
        "seed": body.seed,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _session(body: ChatRequest) -> str | None:
    return (body.metadata or {}).get("session_id")


def _is_header(name: str | None) -> bool:
    return name is not None and is_session(name) and name.isascii()


def _check_names(body: ChatRequest, caller: Caller) -> None:
    session = _session(body)
    if session is not None and not is_session(session):
        why = f"'metadata.session_id' must have 1 to {MAX_SESSION} characters, none of them a control character."
        raise InvalidRequest(why, param="metadata.session_id")
    if caller.session is not None and not _is_header(caller.session):
        why = f"'x-session-id' must have 1 to {MAX_SESSION} ASCII characters; 'metadata.session_id' takes any."
        raise InvalidRequest(why, param="x-session-id")


def _check_stop(strings: Sequence[str]) -> None:
    for index, stop in enumerate(strings):
        if not 0 < len(stop) <= MAX_STOP:
            why = f"'stop[{index}]' must have 1 to {MAX_STOP} characters."
            raise InvalidRequest(why, param=f"stop[{index}]")


def _choices(body: ChatRequest) -> int:
    choices = body.n or 1
    if choices > MAX_CHOICES:
        raise InvalidRequest(f"'n' may be {MAX_CHOICES} at most.", param="n")
    return choices


def _only_for_llm(body: ChatRequest) -> None:
    """Refuses what Agent Mode lacks, for `psychechat` too: else risk would decide whether a request is valid."""
    if (body.n or 1) > 1:
        raise UnsupportedParameter("n", "only 'psychechat-llm' gives more than one choice")
    if body.logprobs:
        raise UnsupportedParameter("logprobs", "only 'psychechat-llm' gives token probabilities")


def _alternatives(body: ChatRequest) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs is not None:
        raise InvalidRequest("'top_logprobs' is only for 'logprobs': true.", param="top_logprobs")
    return None


def _moderation(body: ChatRequest) -> Judging | None:
    if body.moderation is None:
        return None
    return "block" if body.moderation.withholds else "score"


def timeout_seconds(timeout: str | None) -> float:
    """Seconds in the header; infinite without one."""
    try:
        seconds = inf if timeout is None else float(timeout)
    except ValueError:
        seconds = 0.0
    if timeout is not None and not 0 < seconds < inf:
        raise InvalidRequest("'x-request-timeout' must be a number of seconds above 0.", param="x-request-timeout")
    return seconds
