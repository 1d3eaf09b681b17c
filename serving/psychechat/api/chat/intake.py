"""Validation of a chat request and its headers into a TurnRequest, or an error that names the field."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan, nan

from psychechat.api.chat.protocol import MAX_CHOICES, MAX_STOP, MODELS, ChatMessage, ChatRequest
from psychechat.api.http.limits import MAX_SESSION, check_length, is_session
from psychechat.conversation import Conversation, Utterance
from psychechat.errors import InvalidRequest, UnknownModel, UnsupportedParameter
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Limits, Policy
from psychechat.safety import crisis
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


async def turn_request(body: ChatRequest, pipeline: Pipeline, caller: Caller) -> TurnRequest:
    """TurnRequest of the body. Raises UnknownModel, UnsupportedParameter or InvalidRequest.

    An invalid request whose newest message raises the alarm is not refused: that message alone is answered.
    """
    policy = pipeline.policy
    try:
        return _turn_request(body, policy.limits, caller)
    except InvalidRequest:
        alarming = await _alarming(body.messages, policy)
        if alarming is None:
            raise
        return TurnRequest(
            Conversation((Utterance("seeker", alarming),)),
            "auto",
            caller.request_id,
            seconds=inf if isnan(seconds := _number(caller.timeout)) else seconds,
            tenant=caller.tenant,
            session=_session(body, caller),
            end_user=body.safety_identifier or body.user,
            locale=(body.metadata or {}).get("locale"),
            moderation=_moderation(body),
        )


async def _alarming(messages: Sequence[ChatMessage], policy: Policy) -> str | None:
    """Part, of allowed length, of what the seeker said since the last reply that holds a phrase of the backstop."""
    spoken = (message for message in reversed(messages) if message.content.strip())
    since = itertools.takewhile(lambda message: message.role != "assistant", spoken)
    newest = "\n".join(reversed([message.content for message in since if message.role == "user"]))
    return await crisis.alarming_part(newest, policy.crisis.backstop, policy.limits.message_characters)


def _turn_request(body: ChatRequest, limits: Limits, caller: Caller) -> TurnRequest:
    if body.model not in MODELS:
        raise UnknownModel(", ".join(MODELS))
    _check_names(body, caller)
    _check_stop(body.stop or ())
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("'stream_options' is only for 'stream': true.", param="stream_options")
    requested = MODELS[body.model]
    if requested != "llm":
        _only_for_llm(body)
    asked = {
        "max_tokens": body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "stop": tuple(body.stop) if body.stop else None,
        "seed": body.seed,
        "logprobs": _alternatives(body),
    }
    return TurnRequest(
        conversation=_conversation(body.messages, limits),
        requested=requested,
        request_id=caller.request_id,
        seconds=_seconds(caller.timeout),
        sampling={name: value for name, value in asked.items() if value is not None},
        choices=_choices(body),
        think=body.thinks,
        tenant=caller.tenant,
        session=_session(body, caller),
        end_user=body.safety_identifier or body.user,
        locale=(body.metadata or {}).get("locale"),
        moderation=_moderation(body),
    )


def _session(body: ChatRequest, caller: Caller) -> str | None:
    """Session id of the request: `prompt_cache_key`, else `x-session-id`, if valid."""
    if body.prompt_cache_key is not None and is_session(body.prompt_cache_key):
        return body.prompt_cache_key
    return caller.session if _is_header(caller.session) else None


def _is_header(name: str | None) -> bool:
    return name is not None and is_session(name) and name.isascii()


def _check_names(body: ChatRequest, caller: Caller) -> None:
    if body.prompt_cache_key is not None and not is_session(body.prompt_cache_key):
        why = f"'prompt_cache_key' must have 1 to {MAX_SESSION} characters, none of them a control character."
        raise InvalidRequest(why, param="prompt_cache_key")
    if caller.session is not None and not _is_header(caller.session):
        why = f"'x-session-id' must have 1 to {MAX_SESSION} ASCII characters; 'prompt_cache_key' takes any."
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


def _seconds(timeout: str | None) -> float:
    seconds = _number(timeout)
    if isnan(seconds):
        raise InvalidRequest("'x-request-timeout' must be a number of seconds above 0.", param="x-request-timeout")
    return seconds


def _number(timeout: str | None) -> float:
    """Seconds in the header: infinite without one, NaN if it is invalid."""
    if timeout is None:
        return inf
    try:
        seconds = float(timeout)
    except ValueError:
        return nan
    return seconds if 0 < seconds < inf else nan


def _conversation(messages: list[ChatMessage], limits: Limits) -> Conversation:
    if len(messages) > limits.messages:
        raise InvalidRequest(f"'messages' holds more than {limits.messages} messages.", param="messages")
    for index, message in enumerate(messages):
        check_length(f"messages[{index}].content", message.content, limits)
    # Operators may put their notes last; what counts is who spoke last.
    spoken = [index for index, message in enumerate(messages) if message.role in ("user", "assistant")]
    last = spoken[-1] if spoken else len(messages) - 1
    if messages[last].role != "user":
        why = "The last message must be the seeker's: give it the role 'user'."
        raise InvalidRequest(why, param=f"messages[{last}].role")
    if not messages[last].content.strip():
        raise InvalidRequest("The seeker's last message is empty.", param=f"messages[{last}].content")
    notes = tuple(m.content for m in messages if m.role in ("system", "developer") and m.content.strip())
    if sum(map(len, notes)) > limits.operator_characters:
        raise InvalidRequest(
            f"System and developer messages may hold {limits.operator_characters} characters in all.",
            param="messages",
            code="string_above_max_length",
        )
    utterances = tuple(
        Utterance("seeker" if m.role == "user" else "counselor", m.content)
        for m in messages
        if m.role in ("user", "assistant") and m.content.strip()
    )
    conversation = Conversation(utterances, notes)
    check_length("messages", conversation.newest, limits)
    return conversation
