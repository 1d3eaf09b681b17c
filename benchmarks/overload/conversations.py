"""What is said: conversations of one to four turns, each line of which may be a crisis."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

from tests.support.messages import ALARMING, LANGUAGES, ORDINARY, VEILED

Kind = Literal["ordinary", "phrase", "veiled"]
"""`phrase`: a crisis with a phrase of the backstop. `veiled`: one that only the classifier can tell."""

CRISES = 0.1
"""Their share of the lines, half of each kind."""
MOST_TURNS = 4
MODELS = ("psychechat", "psychechat-llm")


@dataclass(frozen=True)
class Line:
    kind: Kind
    text: str


class Conversation:
    """Lines that are said one after the other, each with all that was said before.

    A line that gets no whole reply is as if it had not been said: the next one follows all the same, so that of the
    conversations as many turns are asked for at any load.
    """

    def __init__(self, lines: Sequence[Line], model: str, name: int) -> None:
        """`name`: stands in the first line, so that no two conversations share more than the system prompt."""
        self.model = model
        self.answered: list[Line] = []
        """Lines that engines have answered, or fixed words as it should be."""
        self._lines, self._name, self._said = lines, name, 0
        self._messages: list[dict[str, str]] = []

    @property
    def is_over(self) -> bool:
        return self._said == len(self._lines)

    @property
    def turn(self) -> int:
        """Number of the next line, from 1."""
        return self._said + 1

    def say(self) -> tuple[Line, list[dict[str, str]]]:
        """The next line, and the messages to send for it."""
        line = self._lines[self._said]
        text = line.text if self._messages else f"{line.text} ({self._name})"
        self._said += 1
        return line, [*self._messages, {"role": "user", "content": text}]

    def hear(self, messages: Sequence[dict[str, str]], reply: str) -> None:
        """Whole reply to the messages that were sent."""
        self._messages = [*messages, {"role": "assistant", "content": reply}]


Draw = Callable[[], Conversation]
"""The next conversation to begin."""


def drawn(chance: random.Random, crises: float = CRISES, turns: int = MOST_TURNS) -> Conversation:
    """A conversation of up to so many turns, each number as often, with this share of crises at any of them.

    In both languages alike, but that veiled lines are English and a conversation with one is, too.
    """
    kinds = [_kind(chance, crises) for _ in range(chance.randint(1, turns))]
    language = "en" if "veiled" in kinds else chance.choice(LANGUAGES)
    ordinary = iter(chance.sample(ORDINARY[language], len(kinds)))
    lines = [
        Line(kind, next(ordinary) if kind == "ordinary" else _crisis(chance, kind, language == "en")) for kind in kinds
    ]
    return Conversation(lines, chance.choice(MODELS), chance.randrange(10**6))


def _kind(chance: random.Random, crises: float) -> Kind:
    if chance.random() >= crises:
        return "ordinary"
    return chance.choice(("phrase", "veiled"))


def _crisis(chance: random.Random, kind: Kind, english: bool) -> str:
    return chance.choice(VEILED if kind == "veiled" else ALARMING["en" if english else "zh"])


def one_crisis(chance: random.Random) -> Draw:
    """Conversations of one crisis turn each, of both kinds in turn and all in one mode: a median of two modes' times,
    or of another mix of kinds, says nothing. None tells of an act under way, to which no model replies.
    """
    lines = (
        Line("phrase", ALARMING["en"][0]),
        Line("veiled", VEILED[0]),
        Line("phrase", ALARMING["zh"][0]),
        Line("veiled", VEILED[1]),
    )
    following = cycle(lines)
    return lambda: Conversation([next(following)], MODELS[0], chance.randrange(10**6))


def again(conversations: Sequence[Conversation], chance: random.Random) -> Draw:
    """Of these, in their order and then again, what was answered, as conversations of new names.

    Raises ValueError if nothing was.
    """
    answered = [conversation for conversation in conversations if conversation.answered]
    if not answered:
        raise ValueError("nothing was answered that could be asked again")
    following = cycle(answered)

    def draw() -> Conversation:
        one = next(following)
        return Conversation(one.answered.copy(), one.model, chance.randrange(10**6))

    return draw


def body(conversation: Conversation, messages: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Streamed, as chat interfaces do it."""
    return {
        "model": conversation.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
