"""What the table of phrases is made of, and what is found with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from psychechat.risk import Kind, Severity
from psychechat.safety.phrases.spelling import Spelling


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase in a text. `start`, `end`: characters of the text as it came."""

    phrase_id: str
    start: int
    end: int
    severity: Severity
    kind: Kind | None
    """None below a crisis."""
    as_typed: bool
    """Whether it stands there as it is spelled, width, case and spacing apart: so that a model can read it too."""
    final: bool
    """Whether nothing may overrule it: an act under way, means in hand, a plan with a time; or another language."""

    @property
    def may_be_overruled(self) -> bool:
        return self.as_typed and not self.final


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Lines = tuple[str, ...]
"""`lines` says how one is read."""


class Entry(Part):
    """Phrases that mean the same."""

    id: Annotated[str, Field(pattern=r"^[\w -]{1,80}$")]
    says: Lines = ()
    sounds: Lines = ()
    """How it is written by someone who does not want it to be found: by sound, by a code word."""
    unless: Lines = ()
    """Where one of these lies over the phrase, it is not meant."""
    severity: Literal["indicator", "ideation", "behavior", "attempt"] = "ideation"
    kind: Kind | None = "thoughts"
    final: bool = False
    topic: bool = False
    """Whether it is also a word for what films, studies and the news are about."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.says and not self.sounds:
            raise ValueError(f"the phrase {self.id!r} has no line under 'says' or 'sounds'")
        if self.severity == "indicator" and (self.final or self.kind is not None):
            raise ValueError(f"the phrase {self.id!r} is an indicator: give it 'kind: null', and not 'final'")
        return self


def _entry(value: object) -> object:
    """A bare string is a phrase of thoughts."""
    return {"id": re.sub(r"[^\w -]", "", value)[:80] or "phrase", "says": (value,)} if isinstance(value, str) else value


Entries = tuple[Annotated[Entry, BeforeValidator(_entry)], ...]


class Context(Part):
    """What stands around a phrase and changes what it means."""

    becomes: Literal["nothing", "indicator", "ideation", "other_person"]
    """What is left of it. `ideation`: of an act under way, which is over then. `other_person`: all but the kind."""
    before: Lines = ()
    after: Lines = ()
    over: Lines = ()
    """Over the phrase itself."""
    around: Lines = ()
    """Anywhere in its sentence."""
    next: Lines = ()
    """At the beginning of the sentence that follows."""
    between: tuple[str, ...] = ()
    """Words that may stand between `before` or `after` and the phrase."""
    parted_by: tuple[str, ...] = ()
    """Instead: words that may not. Everything else may."""
    unless: Lines = ()
    """Anywhere in its sentence: all stays as it is."""
    undone: Lines = ()
    """The same, if it comes after the phrase."""
    topics: bool = False
    """Whether it is about topics alone."""


class Table(Part):
    """The phrases with all that is known of how they are spelled and where they stand."""

    words: Mapping[str, tuple[str, ...]]
    """Lists that a line names as `<name>`."""
    spelling: Spelling
    harmless: Lines
    """Where one of these lies over any phrase, it is not meant."""
    still: tuple[str, ...]
    """Chinese words that go on over the end of a phrase and mean the same."""
    contexts: Mapping[str, Context]
    en: Entries
    zh: Entries

    @property
    def entries(self) -> tuple[Entry, ...]:
        return (*self.en, *self.zh)
