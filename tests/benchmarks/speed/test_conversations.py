"""What is replayed, and what a client of vLLM's servers makes of what streams in."""

import pytest

from benchmarks.speed.conversations import chained, pick, session
from benchmarks.speed.parts.agent import lengths
from benchmarks.speed.parts.shipped import Sentences


def test_a_row_becomes_turns() -> None:
    found = session(
        {
            "id": "a",
            "turns": [
                {"role": "counselor", "text": "Welcome."},  # a reply to nothing
                {"role": "seeker", "text": "I cannot sleep."},
                {"role": "seeker", "text": "It is the exam."},
                {"role": "counselor", "text": "What about it?"},
                {"role": "seeker", "text": "Failing."},
                {"role": "counselor", "text": "I see."},
            ],
        }
    )
    assert [turn.newest for turn in found.turns] == ["I cannot sleep.\nIt is the exam.", "Failing."]
    assert [message["role"] for message in found.turns[1].messages()] == ["user", "assistant", "user"]
    assert found.turns[1].prompt[0]["role"] == "system"


def test_the_same_conversations_for_the_same_seed() -> None:
    every = [session({"id": str(n), "turns": [{"role": "seeker", "text": "x" * n}]}) for n in range(1, 9)]
    chosen = pick(every, 10, 2, seed="a", characters=5)
    assert [s.name for s in chosen] == [s.name for s in pick(every, 10, 2, seed="a", characters=5)]
    assert {s.name for s in chosen} == {"1", "2", "3", "4", "5"}
    assert [s.name for s in chosen] != [s.name for s in pick(every, 10, 2, seed="b", characters=5)]


def test_long_conversations_are_chained() -> None:
    turns = [{"role": role, "text": f"我很担心 {n}"} for n in range(5) for role in ("seeker", "counselor")]
    every = [session({"id": str(n), "turns": turns}) for n in range(6)]
    chained_twice = chained(every, 10, 2)
    assert [len(s.turns) for s in chained_twice] == [10, 10]
    last = chained_twice[0].turns[9].conversation
    assert [u.speaker for u in last.utterances] == ["seeker", "counselor"] * 9 + ["seeker"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_sentences_of_a_reply_without_its_thinking(size: int) -> None:
    text = "<think>A plan. Two.</think>\n\nI see. What now?\n好的。再说"
    sentences, found = Sentences(), []
    for start in range(0, len(text), size):
        found += sentences.feed(text[start : start + size])
    assert [*found, sentences.rest()] == ["I see.", "What now?", "好的。", "再说"]


def test_a_turns_tokens_are_shared_out_over_its_calls() -> None:
    shares = {"emotion": 0.25, "draft": 0.25, "simulation": 0.2, "review": 0.3}
    found = lengths(333, 2, shares)
    assert found == {"emotion": [83], "draft": [42, 41], "simulation": [34, 33], "review": [50, 50]}
    assert sum(sum(calls) for calls in found.values()) == 333
