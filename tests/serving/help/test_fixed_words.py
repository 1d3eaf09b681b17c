import re
from collections.abc import Iterator
from itertools import pairwise
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from psychechat.emotion import Group, Label, Language
from psychechat.help.fixed_words import Mood, Words, mood, shipped, words
from psychechat.policy import OutputGuard
from psychechat.risk import Kind
from psychechat.safety.output_guard import check

LANGUAGES = ("en", "zh", "es", "de", "fr", "ja")
DENSITY = {"zh": 2.5, "ja": 2.0}
"""How many letters of English one of theirs is worth, for it is a word or a syllable."""

NEVER = {
    "en": r"understand|know how you feel|promise|everything will|it gets better|pill|rope|bridge|blade|dose|glad",
    "zh": r"理解|明白你|懂你|我知道你|保证|一定会好|都会好|药|绳|刀|楼|桥|太好了|恭喜",
    "es": r"entiendo|comprendo|sé cómo|prometo|todo saldrá|pastilla|soga|puente|dosis|me alegr",
    "de": r"verstehe|kann nachvollziehen|verspreche|alles wird|tablette|strick|brücke|dosis|freut mich|toll",
    "fr": r"comprends|je sais ce que|promets|tout ira|cachet|corde|\bpont|dose|ravi|content",
    "ja": r"わかります|分かります|理解|約束|きっと良く|大丈夫|薬|ロープ|橋|刃|うれし",
}
"""No claim to understand, no promise, no method, no joy."""
EMERGENCY = {
    "en": "emergency number",
    "zh": "急救或报警电话",
    "es": "número de emergencias",
    "de": "Notruf",
    "fr": "numéro d’urgence",
    "ja": "緊急通報の番号",
}


def texts(language: str) -> Iterator[tuple[str, str]]:
    found = shipped()[language]
    for part in ("opening", "listening"):
        yield from ((f"{part} {name}", text) for name, text in getattr(found, part).model_dump().items())
    yield from ((f"held {number}", text) for number, text in enumerate(found.held))
    yield from ((name, getattr(found, name)) for name in ("template", "introduction", "cut"))


EVERY = [
    pytest.param(language, text, id=f"{language} {name}") for language in LANGUAGES for name, text in texts(language)
]


def test_every_language_has_its_words_and_nobody_has_reviewed_any() -> None:
    assert tuple(shipped()) == LANGUAGES
    assert not any(found.reviewed for found in shipped().values())
    assert {*get_args(Kind), "generic", "unsure"} == set(words("en").opening.model_dump())
    assert set(get_args(Mood)) == set(words("en").listening.model_dump())
    assert set(get_args(Language)) <= set(shipped())


@pytest.mark.parametrize(("language", "text"), EVERY)
def test_the_words_are_plain(language: str, text: str) -> None:
    assert not re.search(r"\d|[{}\n<>*_]", text), "no number, no template, one paragraph"
    assert not re.search(NEVER[language], text, re.IGNORECASE)
    assert re.search(r"[.?。？:：]$", text), "ends in a sentence"
    assert "!" not in text
    assert "！" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_words_are_short(language: str) -> None:
    for name, text in texts(language):
        longest = 700 if name.startswith("opening") else 420
        longest = 130 if name.startswith(("held", "listening")) or name == "introduction" else longest
        assert len(text) * DENSITY.get(language, 1) <= longest, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_crisis_names_the_next_step_and_asks_nothing(language: str) -> None:
    opening = shipped()[language].opening.model_dump()
    assert len(set(opening.values())) == len(opening)
    for text in (*opening.values(), shipped()[language].template):
        assert EMERGENCY[language] in text
        assert not re.search("[?？]", text), "what is asked here nobody may answer"


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_listening_ask_one_thing_and_are_not_those_of_a_crisis(language: str) -> None:
    for text in shipped()[language].listening.model_dump().values():
        assert len(re.findall("[?？]|か。", text)) == 1
        assert EMERGENCY[language] not in text
        assert len(re.findall("[.?。？]", text)) <= 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_line_about_help_is_another_one_each_turn_and_points_to_people(language: str) -> None:
    found = shipped()[language]
    lines = [found.held_line(turn) for turn in range(8)]
    assert len(set(lines)) == len(found.held) == 4
    assert all(before != after for before, after in pairwise(lines))
    people = "someone|people|person|人|alguien|persona|cercana|jemand|Mensch|quelqu’un|personne"
    assert all(re.search(people, line) for line in lines)


@pytest.mark.parametrize("language", get_args(Language))
def test_the_output_guard_finds_nothing_in_them(language: str) -> None:
    for name, text in texts(language):
        assert check(text, OutputGuard()) is None, name


def test_a_language_without_words_gets_english_ones() -> None:
    assert words("pt") is words("und") is words(None) is words("en")
    assert words("ja").opening.of("under_way") != words("en").opening.of("under_way")
    assert words("de").opening.of(None) == words("de").opening.generic


def test_words_of_a_language_are_whole_or_refused() -> None:
    whole = words("en").model_dump()
    assert TypeAdapter(Words).validate_python(whole) == words("en")
    for broken in (
        {**whole, "held": []},
        {**whole, "template": ""},
        {**whole, "opening": {"generic": "Thank you."}},
        {**whole, "closing": "Bye."},
    ):
        with pytest.raises(ValidationError):
            TypeAdapter(Words).validate_python(broken)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "neutral"),
        ([], "neutral"),
        ([Label(Group.SURPRISE, 2)], "neutral"),
        ([Label(Group.JOY, 3)], "glad"),
        ([Label(Group.JOY, 3), Label(Group.SADNESS, 1)], "low"),  # never glad beside what weighs down
        ([Label(Group.ANGER, 1), Label(Group.FEAR, 1)], "angry"),  # the surest comes first
        ([Label(Group.FEAR, 2)], "worried"),
        ([Label(Group.DISGUST, 2)], "low"),
        ([Label(Group.ANTICIPATION, 1), Label(Group.TRUST, 1)], "neutral"),
    ],
)
def test_the_mood_is_that_of_what_was_found(labels: list[Label] | None, expected: Mood) -> None:
    assert mood(labels) == expected
