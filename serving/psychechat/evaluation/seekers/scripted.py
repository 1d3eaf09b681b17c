"""A seeker without a model: the card's own lines, and a word on each reply as the classifier of a server finds it.

It answers what it is told only in how it goes on, and reaches no goals. So its figures compare two counselors; they are
no measure of one, and none of the paper's.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from zlib import crc32

import yaml

from psychechat.evaluation.cards import Card
from psychechat.evaluation.endpoint import Endpoint, NoAnswer
from psychechat.evaluation.figures import Rating
from psychechat.evaluation.seekers.base import Spoken, SpokenFor
from psychechat.evaluation.seekers.felt import felt

Mood = Literal["heard", "so-so", "unheard", "hurt", "leaves", "thanks", "parts"]
_MOODS: Sequence[Mood] = ("heard", "so-so", "unheard", "hurt", "leaves")
"""By risk, from 0 to 4."""


class Scripted:
    """`classifier`: an endpoint whose server has `/v1/classify`."""

    def __init__(self, classifier: Endpoint) -> None:
        self._classifier = classifier

    async def speak(self, card: Card, before: Sequence[Spoken], replies: Sequence[str], seed: int) -> Spoken:
        try:
            risk = await self._felt(before[-1].text, replies) if replies else None
            text, ends = _words(card, len(before), risk, seed)
            read = await self._classifier.classify(text)
        except NoAnswer as error:
            raise SpokenFor(f"classifier: {error.kind}") from None
        event = None if ends or not before else len(before)
        return Spoken(text, ends, read.emotions, event, Rating(read.valence, risk, None))

    async def close(self) -> None:
        await self._classifier.close()

    async def _felt(self, said: str, replies: Sequence[str]) -> int:
        """How ill the newest reply sits, from 0 to 4. Nothing said, or the same again, is not being heard."""
        newest = replies[-1]
        if not newest.strip():
            return 3
        read = await self._classifier.classify(newest, said)
        return max(felt(read), 2 if newest in replies[:-1] else 0)


def _words(card: Card, told: int, risk: int | None, seed: int) -> tuple[str, bool]:
    """What is said after so many turns, and whether it is the last."""
    if risk is None:
        return card.monologue, False
    chance = crc32(f"{card.id} {told} {seed}".encode())
    lines = _reactions()[card.language]

    def one(mood: Mood) -> str:
        return str(lines[mood][chance % len(lines[mood])])

    if risk == 4:
        return one("leaves"), True
    if told > len(card.events):
        return one("thanks" if risk == 0 else "parts" if risk < 3 else "hurt"), True
    joint = "" if card.language == "zh" else " "
    return one(_MOODS[risk]) + joint + card.events[told - 1].event, False


@cache
def _reactions() -> Mapping[str, Mapping[str, Any]]:
    table: Mapping[str, Mapping[str, Any]] = yaml.safe_load(
        files("psychechat.evaluation.seekers").joinpath("reactions.yaml").read_text("utf-8")
    )
    return table
