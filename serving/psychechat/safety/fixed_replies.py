"""Replies that no model writes: of a crisis, at unknown risk, in a held conversation, and of listening."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

from psychechat.conversation import Conversation, Reading
from psychechat.emotion import Language
from psychechat.help import languages, who_answers
from psychechat.help.fixed_words import Words, mood, words
from psychechat.help.resources import Help, Resource, find
from psychechat.help.who_answers import Asked
from psychechat.policy import Crisis

_CONTACT_LINES = 6
"""Of the counselor's: the last ones, in which contacts need no repetition."""


@dataclass(frozen=True, slots=True)
class FixedText:
    """Words of the policy, and the rows of its table that are in them."""

    text: str
    resources: tuple[Resource, ...] = ()
    words: str = ""
    """Of the text what a model's words follow as one with it: the opening of a crisis."""


class FixedReplies:
    """Of one turn: in the seeker's language, with whom to turn to in their place."""

    def __init__(self, table: Crisis, conversation: Conversation, locale: str | None, *, truthful: bool = True) -> None:
        """`locale`: the client's, if it sent one. `truthful`: whether who asks is told that a program answers."""
        self._table, self._conversation, self._locale = table, conversation, locale
        self._truthful = truthful

    def asked(self, reading: Reading) -> Asked | None:
        """What the newest message asks about who answers, by its words or the classifier; None too where that is left
        to models."""
        if not self._truthful:
            return None
        return self._asked_in_words or (reading.assessment.asked if reading.assessment else None)

    @cached_property
    def _asked_in_words(self) -> Asked | None:
        return who_answers.asked(self._conversation.newest)

    @cached_property
    def other_language(self) -> str | None:
        """Language of the newest message where it is surely neither English nor Chinese; `und` if only that is sure."""
        language = languages.detect(self._conversation.newest)
        return None if language in get_args(Language) else language

    def place(self, reading: Reading) -> str:
        """Key of the table's rows for this seeker."""
        return self._help(reading).place

    def crisis(self, reading: Reading, *, is_sure: bool = True) -> FixedText:
        """The first piece of a crisis reply, which may be all of it: opening words by kind, then the resources.

        `is_sure`: whether it is more than the classifier's guess.
        """
        told = self._words(reading)
        opening = told.opening.of(reading.kind_so_far, is_sure=is_sure)
        if self.asked(reading) and reading.kind != "under_way":
            opening = _joined(opening, told.who_answers.program)
        return replace(self._with_resources(opening, reading), words=opening)

    def unknown_risk(self, reading: Reading) -> FixedText:
        return self._with_resources(self._words(reading).template, reading)

    def who_answers(self, reading: Reading) -> FixedText:
        """For an ordinary turn that asks who answers: the truth; then whom to turn to, or words of listening."""
        told = self._words(reading)
        said = told.who_answers
        if self.asked(reading) == "person":
            rows = self._help(reading).in_crisis()
            return FixedText(f"{said.program}\n\n{rows.text(said.person)}", rows.rows)
        if reading.severity is None:
            return self._with_resources(_joined(said.program, told.template), reading)
        is_all = who_answers.is_all(self._conversation.newest)
        return FixedText(_joined(said.program, said.alone if is_all else told.listening.of(mood(reading.labels))))

    def listening(self, reading: Reading) -> FixedText:
        """For an ordinary turn to which no model has a reply."""
        return FixedText(self._words(reading).listening.of(mood(reading.labels)))

    def help_line(self, reading: Reading) -> FixedText:
        """Ends every reply while a crisis holds the conversation. With the resources, unless one of the counselor's
        last lines has a contact of them.
        """
        told, rows = self._words(reading), self._help(reading).in_crisis()
        line = told.held_line(reading.conversation.since_turns or 0)
        said = [u.text for u in self._conversation.utterances if u.speaker == "counselor"][-_CONTACT_LINES:]
        if any(row.names_one and row.contact in text for row in rows.rows for text in said):
            return FixedText(line)
        return FixedText(f"{line}\n\n{rows.text(told.introduction)}", rows.rows)

    def cut(self, reading: Reading) -> str:
        """Ends a reply that broke off within a sentence."""
        return words(reading.language, self._table.words).cut

    def contacts(self, reading: Reading) -> list[str]:
        """Texts with the contacts that a reply may name: of the seeker's place, whatever the topic."""
        return [row.line for row in self._help(reading).rows]

    def _words(self, reading: Reading) -> Words:
        return words(self.other_language or reading.language, self._table.words)

    def _help(self, reading: Reading) -> Help:
        spoken = (self.other_language,) if self.other_language else ()
        return find(self._table.resources, self._locale, *spoken, reading.language)

    def _with_resources(self, text: str, reading: Reading) -> FixedText:
        rows = self._help(reading).in_crisis(emergency_first=reading.kind == "under_way")
        return FixedText(f"{text}\n\n{rows.text(self._words(reading).introduction)}", rows.rows)


def _joined(first: str, then: str) -> str:
    """Two sentences: Chinese and Japanese ones stand beside each other without a space."""
    return f"{first}{'' if first.endswith('。') else ' '}{then}"
