import time

import pytest

from psychechat.policy import Policy
from psychechat.safety.crisis import alarm, plain

CRISIS = Policy().crisis


@pytest.mark.parametrize(
    "text",
    [
        "I want to die",
        "i  WANT\nto die.",  # case and spacing
        "I don’t want to be alive",  # typographic apostrophes
        "I don‘t want to live",
        "I don´t want to live",
        "I don`t want to live",
        "I donʼt want to live",
        "I don＇t want to live",
        "I want to d\u0336i\u0336e\u0336",  # struck through
        "I w\u0300\u0489\u0315a\u0334n\u035ft to di\u0301e",
        "我想\u0336死\u0336",
        "I want to d\x00ie",
        "ｉ ｗａｎｔ ｔｏ ｄｉｅ",  # full width
        "I want to d\u200bie",  # a zero-width space
        "I keep thinking about suicide",
        "I want to end it all",
        "最近总想死",
        "不想 活 了",  # spaces between characters
        "我覺得不想活了",
    ],
)
def test_the_alarm_finds_a_phrase_however_it_was_typed(text: str) -> None:
    assert alarm(text, CRISIS.backstop)


@pytest.mark.parametrize(
    "text",
    ["This homework is killing me", "我今天累得要命", "", "I want to diet", "I want to dié\u0301t", "Tôi mệt quá"],
)
def test_the_alarm_is_quiet_otherwise(text: str) -> None:
    assert not alarm(text, CRISIS.backstop)


def test_a_letter_is_the_same_with_its_mark_in_it_or_beside_it() -> None:
    assert plain("cafe\u0301 naïve") == plain("café nai\u0308ve") == "cafe naive"


def test_a_run_of_marks_takes_no_longer_than_other_text() -> None:
    """Its square would be minutes."""
    begun = time.process_time()
    assert plain("a" + "\u0301\u0316" * 150_000) == "a"
    assert time.process_time() - begun < 10


def test_folding_makes_no_text_much_longer() -> None:
    assert len(plain("\ufdfa" * 1_000)) == 1_000  # a whole sentence in one character
