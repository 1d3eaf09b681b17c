"""The check of a task's answer: a page shows it to the seeker too, beside the conversation."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from psychechat.conversation import Cause
from psychechat.policy import OutputGuard
from psychechat.safety import output_guard
from psychechat.safety.output_guard import ReplyContext
from psychechat.safety.replies import crisis_reply


@dataclass(frozen=True, slots=True)
class Finding:
    """Why the answer is not shown."""

    cause: Cause | None = None
    fault: Literal["contact", "broken"] | None = None
    """With neither, words that are unfit where a crisis is quoted."""


def finding(answer: str, guard: OutputGuard, context: ReplyContext, *, in_crisis: bool) -> Finding | None:
    """What is wrong with the answer: what the guard stops, broken text, a contact that nobody gave the model; and where
    the quoted lines are `in_crisis`, words that celebrate, praise, say goodbye and the like. None: it may be shown.
    """
    for text in _texts(answer):
        screened = output_guard.screen(text, guard, context)
        if screened.cause or screened.broken:
            return Finding(screened.cause, None if screened.cause else "broken")
        if screened.withheld:
            return Finding(fault="contact")
        if in_crisis and crisis_reply.unfit_words(text, guard):
            return Finding()
    return None


_FENCE = re.compile(r"```(?:json)?")


def _texts(answer: str) -> Iterator[str]:
    """What a person may read of it: of an answer in JSON each text, and what stands around the object."""
    begin, end = answer.find("{"), answer.rfind("}") + 1
    try:
        value = json.loads(answer[begin:end]) if 0 <= begin < end else None
    except (ValueError, RecursionError):
        value = None
    if value is None:
        yield answer
        return
    yield from (_FENCE.sub("", around) for around in (answer[:begin], answer[end:]))
    yield from _strings(value)


def _strings(value: object) -> Iterator[str]:
    """Each by itself: five questions may well begin with the same words."""
    left = [value]
    while left:
        match left.pop():
            case str() as text:
                yield text
            case dict() as fields:
                left += fields.values()
            case list() as values:
                left += values
