"""The one place where a request that breaks a rule is read before its refusal leaves: a crisis in it is answered.

The turn is made of all that is legal in the request: a bound of -1 costs its reply a bound, and nobody an answer.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from psychechat.api.chat.history import legible
from psychechat.api.chat.intake import Caller, turn_request
from psychechat.api.chat.protocol import NOTES, TOOLS, ChatRequest, all_text, role_meant, spoken
from psychechat.api.chat.second_look import look
from psychechat.conversation import Conversation, Utterance
from psychechat.errors import InvalidRequest
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.policy import MOST_MESSAGES, Limits


async def rescue(body: object, pipeline: Pipeline, caller: Caller) -> tuple[ChatRequest, TurnRequest] | None:
    """The turn of a crisis, or of a conversation that one holds, from what is legal in the body. None: it is neither,
    and the refusal stands.

    `body`: any value of JSON.
    """
    looks, said = pipeline.metrics.second_looks, _heard(body)
    if not said.utterances:
        looks.labels("silent").inc()
        return None
    request, turn = _legal(body if isinstance(body, dict) else {}, said, pipeline, caller)
    seen = await look(turn, said.newest, pipeline)
    looks.labels(seen.look).inc()
    return (request, replace(seen.turn, found=seen.severity)) if seen.is_answered else None


def _heard(body: object) -> Conversation:
    """Both speakers' words up to the seeker's last, in messages of whatever make."""
    said: object = body if isinstance(body, list) else []
    if isinstance(body, dict):
        said = spoken(body, ("messages", "input", "prompt"))
    messages = said[-MOST_MESSAGES:] if isinstance(said, list) else [said]
    utterances = [utterance for message in messages if (utterance := _utterance(message)) is not None]
    while utterances and utterances[-1].speaker == "counselor":
        utterances.pop()
    return Conversation(tuple(utterances))


def _utterance(message: object) -> Utterance | None:
    """What names no role is the seeker's."""
    named, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, message)
    role, text = role_meant(named) if isinstance(named, str) else "user", all_text(content)
    if role in (*NOTES, *TOOLS):
        return None
    utterance = Utterance("counselor", text) if role == "assistant" else Utterance("seeker", legible(text))
    return utterance if utterance.text.strip() else None


def _legal(
    body: Mapping[str, Any], said: Conversation, pipeline: Pipeline, caller: Caller
) -> tuple[ChatRequest, TurnRequest]:
    """Request and turn without the fields that an error names; messages that it names give way to what was said."""
    least = {"model": "psychechat", "messages": _fitting(said, pipeline.policy.limits)}
    fields = dict(body)
    while True:
        try:
            request = ChatRequest.model_validate(least | fields)
            return request, turn_request(request, pipeline, caller)
        except (ValidationError, InvalidRequest) as error:
            if isinstance(error, InvalidRequest) and error.param == "metadata.session_id":
                fields["metadata"] = {name: value for name, value in fields["metadata"].items() if name != "session_id"}
                continue  # the locale stays
            illegal = set(_fields(error))
            if not illegal & {*fields, _SESSION, _TIMEOUT}:
                raise
            fields = {name: value for name, value in fields.items() if name not in illegal}
            caller = replace(
                caller,
                session=None if _SESSION in illegal else caller.session,
                timeout=None if _TIMEOUT in illegal else caller.timeout,
            )


_SESSION, _TIMEOUT = "x-session-id", "x-request-timeout"
_ROLES = {"seeker": "user", "counselor": "assistant"}


def _fitting(said: Conversation, limits: Limits) -> Sequence[Mapping[str, str]]:
    """As much of what was said, from its end, as messages may hold; the newest words as one of them."""
    newest, most, earlier = Utterance("seeker", said.newest), limits.message_characters, said.answered
    kept = (*earlier[max(0, len(earlier) - limits.messages + 1) :], newest)
    return [{"role": _ROLES[utterance.speaker], "content": utterance.text.strip()[-most:]} for utterance in kept]


def _fields(error: ValidationError | InvalidRequest) -> Iterator[str]:
    """Names of the request's fields and headers that the error is about."""
    if isinstance(error, ValidationError):
        yield from (
            str(place["loc"][0]) for place in error.errors(include_url=False, include_input=False) if place["loc"]
        )
    elif error.param is not None:
        yield re.split(r"[.\[]", error.param)[0]
