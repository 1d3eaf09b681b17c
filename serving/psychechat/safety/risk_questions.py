"""Short answers to a counselor's question about risk: what an affirmation affirms, and what a denial denies.

Of itself "yes" says nothing. The classifier reads it together with the question; this tells what both say where that
needs no model, and what a denial must not be taken for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from psychechat import fast_yaml
from psychechat.language import is_within
from psychechat.risk import CRISIS, Kind, Severity

SHORT_WORDS, SHORT_HAN = 7, 11
"""An answer of no more words or Han characters is read with its question."""
QUESTION_CHARACTERS = 200
"""Of a counselor's line: what is read of its last sentence."""

_ENDS = re.compile(r"[.!?。！？\n]")


@dataclass(frozen=True, slots=True)
class Answered:
    """A seeker's line with the question that it answers."""

    question: str
    text: str

    @property
    def together(self) -> str:
        """As the classifier reads both."""
        return f"{self.question} {self.text}"


Answer = Literal["alone", "denies", "affirms", "open"]


def is_short(text: str) -> bool:
    """Whether the line alone says too little to be read alone."""
    return is_within(text, words=SHORT_WORDS, han=SHORT_HAN)


def answered(before: str | None, text: str) -> Answered | None:
    """A line with its question; None if it is long, or the counselor's line before it ends in no question."""
    if before is None or not is_short(text):
        return None
    said = before.rstrip()[-QUESTION_CHARACTERS - 1 :]
    if not said.endswith(("?", "？")):
        return None
    ends = [mark.end() for mark in _ENDS.finditer(said, 0, len(said) - 1)]
    return Answered(said[ends[-1] if ends else 0 :].strip()[-QUESTION_CHARACTERS:], text.strip())


def severity(pair: Answered, *, held: bool) -> Severity | None:
    """What the answer says of risk together with its question; None: the rules cannot tell, and the models may.

    A denial is NONE: by itself it is no crisis. `held`: more questions are about risk in a conversation that is held.
    """
    group = _group(pair, held)
    if group is None:
        return None
    kind = answer(pair.text)
    if kind in group.met_by:
        return Severity[group.level.upper()]
    return None if kind == "open" else Severity.NONE


def kind(pair: Answered, said: Severity | None) -> Kind | None:
    """What the crisis is about that a short answer has told, by its question; `said`: its `severity`."""
    if said is None or said < CRISIS:
        return None
    if _OTHERS.search(pair.question.casefold()):
        return "other_person"
    return "thoughts" if said is CRISIS else "plan_or_means"


_OTHERS = re.compile(
    r"\b(she|he|her|him|his|they|your (friend|mother|mum|mom|father|dad|son|daughter|child|sister|brother|partner|wife|"
    r"husband|girlfriend|boyfriend|roommate|colleague|neighbour)s?)\b|[他她]|(?<![a-z])ta(?![a-z])|对方|那个人|朋友"
)


def is_about_risk(pair: Answered, *, held: bool) -> bool:
    """Whether the question is. `held` as in `severity`."""
    return _group(pair, held) is not None


def _group(pair: Answered, held: bool) -> "_Group | None":
    asked = pair.question.casefold()
    return next((group for group in _table().questions if group.asks(asked, held)), None)


def answer(text: str) -> Answer:
    """How a short answer begins."""
    begun = text.casefold().lstrip(" \t\n.,!…~-—，。！")
    kinds = (kind for kind, patterns in _table().answers.items() if any(p.match(begun) for p in patterns))
    return next(kinds, "open")


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Literal["ideation", "behavior"]
    met_by: frozenset[Answer]
    only_held: bool = False
    patterns: tuple[re.Pattern[str], ...]

    def asks(self, question: str, held: bool) -> bool:
        return (held or not self.only_held) and any(pattern.search(question) for pattern in self.patterns)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: tuple[_Group, ...]
    answers: Mapping[Answer, tuple[re.Pattern[str], ...]]
    """In the order in which they are tried."""


@cache
def _table() -> _Table:
    text = files("psychechat").joinpath("safety", "risk_questions.yaml").read_text("utf-8")
    return _Table.model_validate(fast_yaml.load(text))
