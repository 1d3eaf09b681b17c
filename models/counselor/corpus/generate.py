"""Synthetic conversations by number."""

import random

from models.counselor.corpus import lexicon
from models.counselor.corpus.story import Message, Story, TurnRecord, greeting, opening, scene
from psychechat.emotion import Language

RISKY, GOOD, GREETED, SCENES = 0.24, 0.3, 0.03, 0.35
LENGTHS = (1, 1, 1, 2, 2, 3, 4)


def conversation(language: Language, seed: int, number: int) -> list[TurnRecord]:
    """The turns of one synthetic conversation: always the same for the same language, seed and number."""
    words = lexicon.load(language)
    rng = random.Random(f"{language}-{seed}-{number}")
    told = first_message(language, rng)
    first = greeting(rng, words) if rng.random() < GREETED else told
    return list(Story(rng, words, first, told).turns(rng.choice(LENGTHS)))


def first_message(language: Language, rng: random.Random) -> Message:
    """An opening on a topic, or a scene."""
    words = lexicon.load(language)
    if rng.random() < SCENES:
        return scene(rng, words)
    good = rng.random() < GOOD
    topic = rng.choice([topic for topic in words.topics if topic.good == good])
    return opening(rng, words, topic, risky=not good and rng.random() < RISKY)
