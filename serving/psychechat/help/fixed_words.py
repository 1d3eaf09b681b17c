"""The words that no model writes, in each language that has any: of a crisis, of an ordinary turn without a reply."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from psychechat import fast_yaml
from psychechat.emotion import Group, Label
from psychechat.help.entry import Entry
from psychechat.risk import Kind

Mood = Literal["neutral", "low", "glad", "angry", "worried"]
"""How a message sounds. `neutral` also where nobody could tell."""
Text = Annotated[str, Field(min_length=1)]

FALLBACK = "en"
"""The language of those whose own has no fixed words."""


class Openings(Entry):
    """The first words of a crisis reply, by its kind. Resources follow them as one piece with them."""

    generic: Text
    """Where the kind is not known."""
    unsure: Text | None = None
    """Where nothing but the classifier's guess tells of a crisis. None: `generic`."""
    thoughts: Text
    plan_or_means: Text
    under_way: Text
    """With the resources the whole reply: no model speaks."""
    other_person: Text
    """For the one who helps."""

    def of(self, kind: Kind | None, *, is_sure: bool = True) -> str:
        if kind is None:
            return self.generic if is_sure or self.unsure is None else self.unsure
        words: str = getattr(self, kind)
        return words


class Listening(Entry):
    """The reply to an ordinary turn for which no model has one, by mood."""

    neutral: Text
    low: Text
    glad: Text
    angry: Text
    worried: Text

    def of(self, mood: Mood) -> str:
        words: str = getattr(self, mood)
        return words


class WhoAnswers(Entry):
    """The answer to someone who asks whether a person or a program answers, or who wants a person."""

    program: Text
    """What answers, and what it is not."""
    alone: Text
    """Follows it where nothing else was said."""
    person: Text
    """Follows it where the seeker wants a person; the rows of people to turn to come next."""


class Words(Entry):
    """The fixed words of one language."""

    reviewed: bool = False
    """Whether a clinician who speaks the language has read them."""
    opening: Openings
    template: Text
    """The safe template: the reply when no model's reply may leave."""
    introduction: Text
    """The line before the resources."""
    listening: Listening
    held: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Of each reply for a while after a crisis, its last line."""
    cut: Text
    """Ends a reply that broke off in the middle."""
    who_answers: WhoAnswers = Field(default_factory=lambda: _english())
    """Of an operator's language that has none: the English ones."""

    def held_line(self, turn: int) -> str:
        """Another one each turn, so that it is still read. `turn` may count anything that grows by one."""
        return self.held[turn % len(self.held)]


@cache
def shipped() -> Mapping[str, Words]:
    """By language, as the package has them."""
    table = fast_yaml.load(files("psychechat").joinpath("help", "fixed_words.yaml").read_text("utf-8"))
    return MappingProxyType(TypeAdapter(dict[str, Words]).validate_python(table))


def _english() -> WhoAnswers:
    return shipped()[FALLBACK].who_answers


def words(language: str | None, table: Mapping[str, Words] | None = None) -> Words:
    """The language's, else English ones."""
    known = shipped() if table is None else table
    return known.get(language or FALLBACK) or known[FALLBACK]


_MOODS: Mapping[Group, Mood] = MappingProxyType(
    {
        Group.JOY: "glad",
        Group.TRUST: "glad",
        Group.FEAR: "worried",
        Group.SADNESS: "low",
        Group.DISGUST: "low",
        Group.ANGER: "angry",
    }
)
"""Surprise and anticipation may be of either kind."""


def mood(labels: Sequence[Label] | None) -> Mood:
    """Of the surest label, which comes first. Joy beside what weighs down is not answered as joy."""
    moods = [_MOODS.get(label.group, "neutral") for label in labels or ()]
    weighing = (found for found in moods if found in ("low", "angry", "worried"))
    return next(weighing, next(iter(moods), "neutral"))
