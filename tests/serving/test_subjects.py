"""What a message is about, by its own words' and a head's probabilities."""

import pytest

from psychechat.help.subjects import Subject, likely, weighed


@pytest.mark.parametrize(
    ("heard", "words", "subject"),
    [
        ({"work": 0.7, "money": 0.1}, {}, "work"),
        ({"work": 0.45, "money": 0.1}, {}, None),
        ({"death": 0.6, "family": 0.1}, {}, None),
        ({"death": 0.7, "family": 0.1}, {}, "death"),
        ({}, {"money": 0.6, "work": 0.3}, "money"),
        ({"work": 0.4, "money": 0.3}, {"money": 0.8, "work": 0.05}, "money"),
        ({"work": 0.3, "money": 0.3}, {"work": 0.3, "money": 0.3}, None),
        ({"work": 0.7}, {"work": 0.01, "money": 0.02}, None),
        ({"work": 0.01}, {"work": 0.01}, None),
        ({}, {}, None),
    ],
)
def test_words_and_the_classifier_are_weighed(
    heard: dict[Subject, float], words: dict[Subject, float], subject: Subject | None
) -> None:
    assert likely(weighed(heard, words)) == subject


def test_where_both_say_the_same_it_is_surer_than_either() -> None:
    one: dict[Subject, float] = {"work": 0.6, "money": 0.1}
    assert weighed(one, one)["work"] > 0.6


def test_what_is_missing_to_one_is_that_it_is_about_none() -> None:
    assert sum(weighed({"work": 0.3}, {"work": 0.3}).values()) < 0.4
