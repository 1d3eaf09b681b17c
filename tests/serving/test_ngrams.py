"""N-grams of a message, and what the shipped model tells by them."""

from typing import get_args

import pytest

from psychechat.help.subjects import Subject
from psychechat.ngrams import Told, ngrams, told
from psychechat.reply_bank import load


@pytest.mark.parametrize(
    ("message", "some", "none"),
    [
        ("Don’t CALL me!", {"don't", "call", "don't call", "^ don't", "! $"}, {"don't call me", "Don't"}),
        ("interviews", {"interviews", "inter*", "^ interviews"}, {"interview"}),
        ("我被辞退了", {"我", "被 辞", "被 辞 退", "^ 我 被"}, {"被辞退"}),
        ("老板 said no", {"板 said", "老 板 said", "said no"}, {"said no $"}),
        ("Ｗｏｒｋ\n work", {"work", "work work"}, set()),
        ("…", set(), {"^ $"}),
    ],
)
def test_which_ngrams_a_message_holds(message: str, some: set[str], none: set[str]) -> None:
    held = ngrams(message)
    assert some <= held
    assert not none & held


def test_only_the_beginning_of_a_long_message_is_read() -> None:
    assert "last" not in ngrams("a " * 1_000 + "last")


@pytest.mark.parametrize(
    ("message", "subject", "topic"),
    [
        ("They let me go on Friday, the whole team got the sack", "work", "dismissed"),
        ("my grandma died on sunday", "death", "grandparent_died"),
        ("我失眠好几天了，一直睡不着", "sleep", "sleeplessness"),
        ("高考成绩出来了，我没考上", "school", "exam"),
    ],
)
def test_what_words_tell(message: str, subject: Subject, topic: str) -> None:
    words = told(message)
    assert max(words.subjects, key=words.subjects.__getitem__) == subject
    assert max(words.topics, key=words.topics.__getitem__) == topic


def test_glad_words_and_sad_ones() -> None:
    assert told("we won!! the kids are over the moon").gladness > 0 > told("she left and took the dog").gladness
    assert told("我们赢了！太开心了").gladness > 0 > told("他走了，我哭了一晚上").gladness


def test_probabilities_leave_room_for_none() -> None:
    words = told("my boss")
    assert set(words.subjects) == set(get_args(Subject))
    assert 0 < sum(words.subjects.values()) < 1
    assert 0 < sum(words.topics.values()) < 1


@pytest.mark.parametrize("message", ["", "Ж" * 30, "…", "mein Hund ist gestorben und ich weiß nicht weiter"])
def test_where_no_word_is_known_nothing_is_told(message: str) -> None:
    assert told(message) == Told()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_topics_are_those_of_the_built_in_banks(language: str) -> None:
    assert set(told("my boss").topics) == set(load(language).topics)
