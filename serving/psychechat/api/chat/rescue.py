"""The one place where a request that breaks a rule is read before its refusal leaves: a crisis in it is answered.

The turn is made of all that is legal in the request: a bound of -1 costs its reply a bound, and nobody an answer.
"""

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from psychechat.admission.lanes import estimate_tokens
from psychechat.api.chat.intake import Caller, turn_request
from psychechat.api.chat.protocol import NOTES, TOOLS, ChatRequest, all_text, role_meant
from psychechat.engines.base import Call
from psychechat.errors import InvalidRequest, Overloaded
from psychechat.logs import log_kind
from psychechat.pipeline.bulk_classify import BULK, classify_all
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.policy import MOST_MESSAGES
from psychechat.risk import CRISIS, Severity
from psychechat.safety import crisis
from psychechat.telemetry import SecondLook

logger = logging.getLogger(__name__)

_END = 32_000
"""Characters that are read at either end of a longer text."""
_SHARED = 400
"""Characters that two parts share, so that no sentence is cut in both."""


async def rescue(body: object, pipeline: Pipeline, caller: Caller) -> tuple[ChatRequest, TurnRequest] | None:
    """The turn of a crisis, from what is legal in the body. None: no crisis was found, and the refusal stands.

    `body`: any value of JSON. The words that it brings are looked through for phrases; if there are none, the
    classifier reads them once, behind every turn, unless the key's minute or the door is full.
    """
    found = await _look(_newest(body), pipeline, caller)
    pipeline.metrics.second_looks.labels(found.look).inc()
    if found.severity < CRISIS:
        return None
    return _legal(body if isinstance(body, dict) else {}, found, pipeline, caller)


@dataclass(frozen=True, slots=True)
class _Found:
    look: SecondLook
    words: str = ""
    """Those that say so, no more than one message may have."""
    severity: Severity = Severity.NONE


def _newest(body: object) -> str:
    """All that the seeker said since the counselor's last reply, in messages of whatever make."""
    said = body.get("messages") if isinstance(body, dict) else body if isinstance(body, list) else []
    messages = said[-MOST_MESSAGES:] if isinstance(said, list) else [said]
    since: list[str] = []
    for message in reversed(messages):
        role, text = _read_message(message)
        if not text.strip() or role in (*NOTES, *TOOLS):
            continue
        if role == "assistant":
            if since:
                break
        else:
            since.append(text)
    return "\n".join(reversed(since))


def _read_message(message: object) -> tuple[str, str]:
    """Role and text; what names no role is the seeker's."""
    if not isinstance(message, dict):
        return "user", all_text(message)
    role = message.get("role")
    return role_meant(role) if isinstance(role, str) else "user", all_text(message.get("content"))


async def _look(newest: str, pipeline: Pipeline, caller: Caller) -> _Found:
    policy = pipeline.policy
    most = policy.limits.message_characters
    if not newest:
        return _Found("silent")
    if len(newest) > 2 * _END:
        newest = f"{newest[:_END]}\n{newest[-_END:]}"
    alarming = await crisis.alarming_part(newest, policy.crisis.backstop, most)
    if alarming is not None:
        return _Found("phrase", alarming, CRISIS)
    try:
        return await _read(list(_parts(newest, most)), pipeline, caller)
    except Overloaded:
        return _Found("unread")
    except Exception as error:
        log_kind(logger, caller.request_id, error, "refused unread")
        return _Found("unread")


def _parts(text: str, most: int) -> Iterator[str]:
    """The text in parts of so many characters, of which each begins a little before the last one ended."""
    shared = min(_SHARED, most // 2)
    for first in range(0, max(1, len(text) - shared), most - shared):
        yield text[first : first + most]


async def _read(parts: Sequence[str], pipeline: Pipeline, caller: Caller) -> _Found:
    """What the classifier finds, counted to the key's minute. Raises Overloaded if that or the door is full."""
    policy, quotas = pipeline.policy, pipeline.quotas
    quotas.check(caller.tenant)
    quotas.count(caller.tenant)
    quotas.charge(caller.tenant, sum(map(estimate_tokens, parts)))
    seconds = policy.limits.classify_seconds
    call = Call(
        caller.request_id, caller.request_id, caller.tenant, priority=BULK, deadline=pipeline.wall_clock() + seconds
    )
    reading = classify_all(pipeline.classifier, pipeline.admission.classification, parts, lambda: call)
    async with asyncio.timeout(seconds), aclosing(reading) as assessments:
        severities = [assessment.severity(policy.risk.by_severity) async for assessment in assessments]
    gravest = max(severities)
    return _Found("crisis" if gravest >= CRISIS else "calm", parts[severities.index(gravest)], gravest)


def _legal(
    body: Mapping[str, Any], found: _Found, pipeline: Pipeline, caller: Caller
) -> tuple[ChatRequest, TurnRequest]:
    """Request and turn without the fields that an error names, and the found words where it names the messages."""
    least = {"model": "psychechat", "messages": [{"role": "user", "content": found.words}]}
    fields = {name: body[name] for name in ChatRequest.model_fields if name in body}
    while True:
        try:
            request = ChatRequest.model_validate(least | fields)
            return request, replace(turn_request(request, pipeline, caller), found=found.severity)
        except (ValidationError, InvalidRequest) as error:
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


def _fields(error: ValidationError | InvalidRequest) -> Iterator[str]:
    """Names of the request's fields and headers that the error is about."""
    if isinstance(error, ValidationError):
        yield from (
            str(place["loc"][0]) for place in error.errors(include_url=False, include_input=False) if place["loc"]
        )
    elif error.param is not None:
        yield re.split(r"[.\[]", error.param)[0]
