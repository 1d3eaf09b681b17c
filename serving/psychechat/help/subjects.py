"""What a message is about: by the classifier's sixth head, and by what its own words name (`subjects.yaml`)."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from psychechat import fast_yaml
from psychechat.help.plain import plain

Subject = Literal[
    "death",
    "love",
    "family",
    "friends",
    "loneliness",
    "work",
    "school",
    "health",
    "sleep",
    "money",
    "self",
    "future",
    "mood",
    "talking",
]
"""`mood` is a feeling without a cause, `talking` this conversation."""

MOST_CHARACTERS = 2_000
"""Of a message: its beginning is looked at."""

EVIDENCE = 20.0
"""By what a word that names a subject multiplies its odds: 85 to 90 % of those found name the right one."""

CERTAIN, HEARD = 0.65, 0.3
"""Share of the odds, and the head's own probability, from which on a subject is told: who speaks of work may name a
mother by the way."""


def known(name: str | None) -> Subject | None:
    """The subject of this name, if there is one."""
    return next((subject for subject in get_args(Subject) if subject == name), None)


def named(message: str) -> frozenset[Subject]:
    """The subjects that the message's words name: more or fewer than one, as people speak of their mother's work."""
    text = plain(message[:MOST_CHARACTERS])
    return frozenset(s for s, patterns in _patterns().items() if any(pattern.search(text) for pattern in patterns))


def likely(heard: Mapping[Subject, float], words: Collection[Subject]) -> Subject | None:
    """What a message is about with some certainty, by the head's probabilities and its own words.

    None: nothing is, or no head has told.
    """
    weighed = {subject: p * (EVIDENCE if subject in words else 1.0) for subject, p in heard.items()}
    total = sum(weighed.values()) + max(0.0, 1.0 - sum(heard.values()))
    certain = (subject for subject, p in weighed.items() if p >= CERTAIN * total)
    return next((subject for subject in certain if heard[subject] >= HEARD), None)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    en: Mapping[Subject, Sequence[str]]
    """Whole words; `*` is any ending."""
    zh: Mapping[Subject, Sequence[str]]
    """Found anywhere."""

    def patterns(self, subject: Subject) -> Sequence[re.Pattern[str]]:
        """Apart: an alternative that begins with a border of words makes all others in its pattern slow."""
        english = "|".join(re.escape(words).replace(r"\*", r"\w*") for words in self.en[subject])
        chinese = "|".join(re.escape(words.casefold()) for words in self.zh[subject])
        return re.compile(rf"\b(?:{english})\b"), re.compile(chinese)


@cache
def _patterns() -> Mapping[Subject, Sequence[re.Pattern[str]]]:
    table = _Table.model_validate(
        fast_yaml.load(files("psychechat").joinpath("help", "subjects.yaml").read_text("utf-8"))
    )
    return {subject: table.patterns(subject) for subject in get_args(Subject)}
