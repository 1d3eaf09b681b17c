"""Synthetic conversations by number."""

import random

from models.counselor.corpus import lexicon
from models.counselor.corpus.story import Story, TurnRecord, greeting, opening
from psychechat.emotion import Language

RISKY, GOOD, GREETED = 0.15, 0.3, 0.03
LENGTHS = (1, 1, 1, 2, 2, 3, 4)


def conversation(language: Language, seed: int, number: int) -> list[TurnRecord]:
    """The turns of one synthetic conversation: always the same for the same language, seed and number."""
    words = lexicon.load(language)
    rng = random.Random(f"{language}-{seed}-{number}")
    good = rng.random() < GOOD
    topic = rng.choice([topic for topic in words.topics if topic.good == good])
    told = opening(rng, words, topic, risky=not good and rng.random() < RISKY)
    first = greeting(rng, words) if rng.random() < GREETED else told
    return list(Story(rng, words, first, told).turns(rng.choice(LENGTHS)))
