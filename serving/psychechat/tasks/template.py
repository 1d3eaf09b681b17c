"""Templates of background tasks: what stands before the quoted history, what after it, and what is asked for.

Known templates are kept as digests, so that nobody's text is copied. White space counts as one space wherever there is
any, and every date as the same date.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from psychechat import fast_yaml
from psychechat.conversation import TaskKind

HISTORY = "{{history}}"
"""Stands for the quoted history in a template."""

_DATES = {
    "{{CURRENT_DATETIME}}": "0000-00-00 00:00:00 AM",
    "{{CURRENT_DATE}}": "0000-00-00",
    "{{CURRENT_TIME}}": "00:00:00 AM",
}
"""Variables that may stand beside the history: what they become always has as many characters."""
_DATE, _TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2} [AP]M")
_VARIABLE = re.compile(r"\{\{[^{}]*\}\}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Edge(_Part):
    """Text on one side of the history, by its length and digest once `flat` and `undated`."""

    length: Annotated[int, Field(ge=0)]
    """In characters."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    def is_of(self, text: str) -> bool:
        """`text`: already flat."""
        return len(text) == self.length and _digest(text) == self.sha256


Returns = Mapping[str, Literal["text", "texts"]]
"""Fields of a JSON object, each a text or a list of them."""


class TaskTemplate(_Part):
    """A template as digests. `psychechat tasks digest FILE` makes one."""

    name: str = ""
    """Whose it is, and of which versions: for people."""
    kind: TaskKind
    before: Edge
    after: Edge
    closes: str | None = None
    """First word after the history. What holds it before its end is no history quoted by this template."""
    returns: Returns | None = None
    """The JSON object that it asks for, to which the answer is held. None: it asks for text."""

    @model_validator(mode="after")
    def _begins_with_an_instruction(self) -> Self:
        if not self.before.length:
            raise ValueError("a task's template needs an instruction before the history: else any message would match")
        return self


class WrittenTemplate(_Part):
    """A template of the operator's own, as text."""

    kind: TaskKind
    text: str
    """With `{{history}}` where the page puts the conversation, and no other variable but dates and times."""
    returns: Returns | None = None
    """The JSON object that it asks for, e.g. `{title: text}` or `{tags: texts}`. None: it asks for text."""

    @model_validator(mode="after")
    def _can_be_digested(self) -> Self:
        self.digested()
        return self

    def digested(self) -> TaskTemplate:
        return digested("", self.kind, self.text, returns=self.returns)


def digested(
    name: str, kind: TaskKind, text: str, history: str = HISTORY, returns: Returns | None = None
) -> TaskTemplate:
    """Template of the text, in which `history` stands for the quoted conversation.

    Raises ValueError unless it is there once, after an instruction, and any other variable is a date or a time.
    """
    before, *after = text.split(history)
    if len(after) != 1:
        raise ValueError(f"a task's template needs {history} in it, once")
    for variable, date in _DATES.items():
        before, after[0] = before.replace(variable, date), after[0].replace(variable, date)
    if others := sorted(set(_VARIABLE.findall(before + after[0]))):
        raise ValueError(f"a task's template may hold no variable but {history}, dates and times: {', '.join(others)}")
    closing = after[0].split()
    return TaskTemplate(
        name=name,
        kind=kind,
        before=_edge(before),
        after=_edge(after[0]),
        closes=unicodedata.normalize("NFC", closing[0]) if closing else None,
        returns=returns,
    )


@cache
def known() -> tuple[TaskTemplate, ...]:
    """The templates of chat pages that the package knows."""
    table = fast_yaml.load(files("psychechat").joinpath("tasks", "known.yaml").read_text("utf-8"))
    return tuple(TaskTemplate.model_validate(entry) for entry in table["templates"])


def flat(text: str) -> str:
    """Text with one space for all white space in a row, none at its ends, in the composed form (NFC)."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _edge(text: str) -> Edge:
    written = flat(text)
    return Edge(length=len(written), sha256=_digest(written))


def _digest(text: str) -> str:
    undated = _TIME.sub("00:00:00 AM", _DATE.sub("0000-00-00", text))
    return hashlib.sha256(undated.encode("utf-8", "surrogatepass")).hexdigest()
