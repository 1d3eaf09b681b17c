"""What a message is about, by its own words and by a head's probabilities."""

import pytest

from psychechat.help.subjects import Subject, likely, named


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("My girlfriend left me", {"love"}),
        ("i cant sleep before my exams", {"sleep", "school"}),
        ("I CAN’T SLEEP", {"sleep"}),
        ("Somebody examined the window", set()),
        ("老板当众骂我", {"work"}),
        ("明天手术，我很害怕", {"health"}),
        ("今天下雨", set()),
    ],
)
def test_which_subjects_words_name(message: str, names: set[Subject]) -> None:
    assert named(message) == names


@pytest.mark.parametrize(
    ("heard", "words", "subject"),
    [
        ({"work": 0.7, "money": 0.1}, (), "work"),
        ({"work": 0.6, "money": 0.1}, (), None),
        ({"work": 0.4, "money": 0.3}, (), None),
        ({"work": 0.4, "money": 0.3}, ("money",), "money"),
        ({"work": 0.9, "money": 0.01}, ("money",), "work"),
        ({"work": 0.1, "money": 0.1}, ("work", "money"), None),
        ({"work": 0.01, "money": 0.01}, ("work",), None),
        ({}, ("work",), None),
    ],
)
def test_words_and_the_classifier_are_weighed(
    heard: dict[Subject, float], words: tuple[Subject, ...], subject: Subject | None
) -> None:
    assert likely(heard, words) == subject
