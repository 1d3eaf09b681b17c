"""What any seeker is asked for: the next words, and how the last reply was felt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from psychechat.evaluation.cards import Card
from psychechat.evaluation.figures import Rating

END = "END"
"""In the seeker's words: this is the last of them."""


class SpokenFor(Exception):
    """A seeker who could not speak. `kind` says why, in no word of anybody's."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Spoken:
    """One turn of a seeker. `text` is without END, and may be empty where `ends`."""

    text: str
    ends: bool
    emotions: tuple[str, ...]
    """Labels in English."""
    event: int | None
    rating: Rating
    tries: int = 1


class Seeker(Protocol):
    """Of many dialogues: it keeps nothing between two calls."""

    async def speak(self, card: Card, before: Sequence[Spoken], replies: Sequence[str], seed: int) -> Spoken:
        """The next turn. `before` are the earlier ones, each with the counselor's reply beside it.

        Raises SpokenFor.
        """

    async def close(self) -> None:
        """Lets go of connections."""
