"""The same is asked for at any load, and what was answered can be asked for again."""

import random
from collections import Counter

import pytest

from benchmarks.overload.conversations import CRISES, MODELS, MOST_TURNS, Conversation, Line, again, drawn, one_crisis
from tests.support.messages import ALARMING, ORDINARY, VEILED

CHANCE = 7


def lines(conversation: Conversation) -> list[Line]:
    said = []
    while not conversation.is_over:
        line, messages = conversation.say()
        conversation.hear(messages, "a reply")
        said.append(line)
    return said


@pytest.mark.parametrize("crises", [0.0, CRISES, 0.6, 1.0])
def test_crises_have_their_share_at_any_turn_half_of_each_kind(crises: float) -> None:
    chance = random.Random(CHANCE)
    plans = [lines(drawn(chance, crises)) for _ in range(8_000)]
    for turn in range(MOST_TURNS):
        kinds = Counter(plan[turn].kind for plan in plans if len(plan) > turn)
        for kind in ("phrase", "veiled"):
            assert kinds[kind] / kinds.total() == pytest.approx(crises / 2, abs=0.03)
    assert set(Counter(map(len, plans))) == set(range(1, MOST_TURNS + 1))


def test_a_conversation_is_in_one_language_and_says_no_ordinary_line_twice() -> None:
    chance = random.Random(CHANCE)
    for _ in range(500):
        said = lines(drawn(chance, 0.3))
        english = [line.text in (*ORDINARY["en"], *ALARMING["en"], *VEILED) for line in said]
        assert all(english) or not any(english)
        ordinary = [line.text for line in said if line.kind == "ordinary"]
        assert len(set(ordinary)) == len(ordinary)


def test_only_the_first_line_that_is_said_has_the_conversations_name() -> None:
    conversation = Conversation([Line("ordinary", "one"), Line("ordinary", "two")], MODELS[0], 5)
    _, messages = conversation.say()
    assert messages == [{"role": "user", "content": "one (5)"}]
    conversation.hear(messages, "a reply")
    assert [message["content"] for message in conversation.say()[1]] == ["one (5)", "a reply", "two"]


def test_a_line_after_one_without_a_reply_has_the_name() -> None:
    conversation = Conversation([Line("ordinary", "one"), Line("ordinary", "two")], MODELS[0], 5)
    conversation.say()
    assert conversation.say()[1] == [{"role": "user", "content": "two (5)"}]


def test_crises_that_are_compared_are_the_same_ones_each_time() -> None:
    first, second = (one_crisis(random.Random(seed)) for seed in (1, 2))
    said = [lines(first())[0] for _ in range(8)]
    assert said == [lines(second())[0] for _ in range(8)]
    assert Counter(line.kind for line in said) == {"phrase": 4, "veiled": 4}


def test_what_was_answered_is_asked_for_again_by_new_names() -> None:
    one, none, two = (Conversation([Line("ordinary", text)] * 2, MODELS[1], name) for name, text in enumerate("abc"))
    one.answered, two.answered = [Line("phrase", "a")], [Line("ordinary", "c"), Line("ordinary", "c")]
    draw = again([one, none, two], random.Random(CHANCE))
    repeated = [draw() for _ in range(4)]
    assert {each.model for each in repeated} == {MODELS[1]}
    names = {each.say()[1][0]["content"] for each in (draw(), draw())}
    assert all(name not in ("a (0)", "c (2)") for name in names)
    assert [[line.text for line in lines(each)] for each in repeated] == [["a"], ["c", "c"], ["a"], ["c", "c"]]
    assert one.answered == [Line("phrase", "a")]
    with pytest.raises(ValueError, match="nothing was answered"):
        again([none], random.Random(CHANCE))
