"""Which topic of a bank a message is about, by n-grams, the words that name topics, and what else is heard."""

from dataclasses import replace
from typing import Any

import pytest

from psychechat.emotion import Emotion, Label
from psychechat.engines.scripted import assessment, reading
from psychechat.help.subjects import Subject
from psychechat.ngrams import Told
from psychechat.reply_bank import topics
from psychechat.reply_bank.bank import Bank
from psychechat.risk import Severity


def topic(subject: Subject, *words: str, **more: Any) -> dict[str, Any]:
    return {"subject": subject, "words": words, "any": ["I see."], **more}


BANK = Bank.model_validate(
    {
        "language": "en",
        "crisis": {"unknown": ["Stay."]},
        "heavy": ["That is heavy."],
        "open": ["Go on."],
        "topics": {
            "boss": topic("work", "boss"),
            "overtime": topic("work", "overtime"),
            "exam": topic("school", "exam"),
            "dog_died": topic("death", "dog died"),
            "rain": topic("talking", "rain", chat=True),
            "ours": topic("money", "ledger"),
        },
    }
)
NAMES = {id(value): name for name, value in BANK.topics.items()}
NONE = dict.fromkeys(("boss", "overtime", "exam", "dog_died", "rain"), 0.02)


def likely(message: str, subjects: dict[Subject, float], told: dict[str, float], *feelings: Emotion) -> str | None:
    heard = replace(assessment(*feelings), subjects=subjects)
    read = replace(reading(), assessment=heard, words=Told(topics=told))
    found = topics.likely(BANK, message, read)
    return NAMES[id(found)] if found else None


@pytest.mark.parametrize(
    ("message", "subjects", "told", "name"),
    [
        pytest.param("he shouted", {"work": 0.6}, NONE | {"boss": 0.6}, "boss", id="by n-grams alone"),
        pytest.param("he shouted", {"work": 0.6}, NONE | {"boss": 0.1}, None, id="none where it is unsure"),
        pytest.param("the boss again", {"work": 0.6}, NONE | {"boss": 0.1}, "boss", id="a word that names it adds"),
        pytest.param("he shouted", {"school": 0.9}, NONE | {"boss": 0.3, "exam": 0.28}, "exam", id="subject decides"),
        pytest.param("exam, my boss", {"work": 0.6}, {}, "boss", id="words alone, of a subject that is heard"),
        pytest.param("exam, my boss", {"health": 0.6}, {}, None, id="words alone, of none that is heard"),
        pytest.param("the ledger", {"money": 0.5}, NONE | {"boss": 0.6}, "ours", id="what n-grams do not know"),
        pytest.param(
            "the ledger", {"money": 0.1, "work": 0.5}, NONE | {"boss": 0.6}, "boss", id="only where it is heard"
        ),
        pytest.param(
            "my dog died, says my boss",
            {"work": 0.5, "death": 0.5},
            NONE | {"boss": 0.6},
            "dog_died",
            id="a death first",
        ),
        pytest.param(
            "ill", {"death": 0.1, "work": 0.5}, {"rain": 0.8, "dog_died": 0.1}, None, id="no death by what is left"
        ),
        pytest.param("gone", {"death": 0.5}, NONE | {"dog_died": 0.3}, None, id="a death must be surer"),
        pytest.param("gone", {"death": 0.9}, NONE | {"dog_died": 0.8}, "dog_died", id="and may be"),
        pytest.param("sacked", {"work": 0.9}, {"dismissed": 0.9, "boss": 0.05}, None, id="of a topic not in the bank"),
        pytest.param("rain again", {}, {}, "rain", id="chat, where nothing is the matter"),
        pytest.param("rain", {"mood": 0.8}, NONE | {"rain": 0.9}, None, id="no chat by n-grams where something is"),
        pytest.param("rain again", {"work": 0.8}, {}, None, id="no chat where something is"),
    ],
)
def test_which_topic(message: str, subjects: dict[Subject, float], told: dict[str, float], name: str | None) -> None:
    assert likely(message, subjects, told) == name


def test_a_hint_of_risk_is_no_chat() -> None:
    read = replace(reading((), Severity.INDICATOR), words=Told(topics=NONE | {"rain": 0.9}))
    assert topics.likely(BANK, "rain again", read) is None


def test_nobody_is_chatted_with_who_is_hurt() -> None:
    told = NONE | {"rain": 0.6}
    assert likely("all wet", {}, told) == "rain"
    assert likely("all wet", {}, told, Emotion(Label.parse("sad"), 0.9)) is None
