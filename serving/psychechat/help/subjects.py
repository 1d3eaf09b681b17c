"""What a message is about: by the classifier's sixth head, and by its own words."""

from collections.abc import Mapping
from math import exp, log
from typing import Literal, get_args

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

HEAD, WORDS = 0.7, 0.8
"""What a logarithm of either's probability counts where both tell. They err in different messages (decision 0051)."""

CERTAIN, CERTAIN_OF_DEATH = 0.5, 0.65
"""Probability from which on a subject is told: of half of 462 messages for a test, four fifths of them rightly; and a
death, since condolences to somebody who has lost nobody are worse than none."""

_LEAST = 1e-6


def known(name: str | None) -> Subject | None:
    """The subject of this name, if there is one."""
    return next((subject for subject in get_args(Subject) if subject == name), None)


def weighed(heard: Mapping[Subject, float], words: Mapping[Subject, float]) -> Mapping[Subject, float]:
    """Probability of each subject by what the head has heard and what the words tell; of the two one may be empty, and
    then the other's. What is missing to 1 is that it is about none."""
    if not heard or not words:
        return heard or words
    kept: dict[Subject | None, float] = {
        subject: HEAD * log(heard.get(subject, 0.0) + _LEAST) + WORDS * log(words.get(subject, 0.0) + _LEAST)
        for subject in get_args(Subject)
    }
    kept[None] = HEAD * log(_rest(heard) + _LEAST) + WORDS * log(_rest(words) + _LEAST)
    total = sum(map(exp, kept.values()))
    return {subject: exp(weight) / total for subject, weight in kept.items() if subject is not None}


def _rest(told: Mapping[Subject, float]) -> float:
    return max(0.0, 1.0 - sum(told.values()))


def likely(about: Mapping[Subject, float]) -> Subject | None:
    """What a message is about with some certainty. None: nothing is, or nobody has told."""
    likeliest = max(about, key=about.__getitem__, default=None)
    least = CERTAIN_OF_DEATH if likeliest == "death" else CERTAIN
    return likeliest if likeliest and about[likeliest] >= least else None
