"""Whether a request is a background task: one message of the user's that a template matches from end to end."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from psychechat.conversation import TaskKind
from psychechat.tasks.template import Returns, TaskTemplate, flat


class Written(Protocol):
    """A message of a request."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Task:
    kind: TaskKind
    history: str
    """The conversation that the request quotes, as it was written."""
    before: str = ""
    """The instruction before the history, and after it."""
    after: str = ""
    returns: Returns | None = None
    """The JSON object that it asks for; None: text."""


def recognise(messages: Sequence[Written], templates: Iterable[TaskTemplate]) -> Task | None:
    """The task that the messages ask for; None if they are a seeker's, as whatever no template matches whole."""
    if len(messages) != 1 or messages[0].role != "user":
        return None
    written = unicodedata.normalize("NFC", messages[0].content)
    text = flat(written)
    for template in templates:
        first, last = template.before.length, len(text) - template.after.length
        if first >= last or not (template.after.is_of(text[last:]) and template.before.is_of(text[:first])):
            continue
        if not text[first:last].strip() or (template.closes and template.closes in text[first:last]):
            continue
        begin, end = _place(written, first), _place(written, last)
        return Task(
            kind=template.kind,
            history=written[begin:end].strip(),
            before=written[:begin].strip(),
            after=written[end:].strip(),
            returns=template.returns,
        )
    return None


_WORD = re.compile(r"\S+")


def _place(written: str, index: int) -> int:
    """Index in the text as written of what is at this index of it once it is flat."""
    for word in _WORD.finditer(written):
        if index <= len(word[0]):
            return word.start() + index
        index -= len(word[0]) + 1
    return len(written)
