"""What is refused is read as its turn would be: with its question, its conversation, and what overrules phrases."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from psychechat.admission.lanes import Rank
from psychechat.errors import EngineUnavailable
from tests.serving.api.chat.conftest import (
    ASKED,
    HISTORY,
    PHRASE,
    SEEN,
    Ears,
    after,
    assert_crisis,
    looks,
    post,
    refused_crises,
    said,
)
from tests.serving.api.conftest import Served

Serving = Callable[..., AbstractContextManager[Served]]

QUESTION = {"role": "assistant", "content": "Do you have a plan to end your life?"}
WRONG: list[dict[str, Any]] = [
    {"tool_choice": "required"},
    {"temperature": 9},
    {"messages": [{"role": None, "content": "hello"}]},
]
"""The last one breaks the messages themselves."""


def wrong(text: str, *history: Any, **more: Any) -> bytes:
    return after(text, *more.pop("messages", ()), *history, **more)


@pytest.mark.parametrize("more", WRONG, ids=["tool", "temperature", "messages"])
def test_an_answer_is_read_with_its_question(served: Served, ears: Ears, more: dict[str, Any]) -> None:
    found = assert_crisis(post(served, wrong("yes", *HISTORY[:1], QUESTION, **more)))
    assert found["psychechat"]["risk"]["level"] == "behavior"
    assert post(served, wrong("no", *HISTORY[:1], QUESTION, **more)).status_code == 400
    assert post(served, wrong("yes", *HISTORY, **more)).status_code == 400


@pytest.mark.parametrize("more", WRONG, ids=["tool", "temperature", "messages"])
@pytest.mark.parametrize("text", [PHRASE, SEEN], ids=["phrase", "classifier"])
def test_a_held_conversation_is_answered_where_no_memory_tells(
    served: Served, ears: Ears, text: str, more: dict[str, Any]
) -> None:
    """As the same words are in a legal request: with help, and no crisis of their own."""
    answer = post(served, wrong("whatever, fine", {"role": "user", "content": text}, ASKED, **more))
    assert answer.status_code == 200
    found = answer.json()["psychechat"]
    assert (found["reason"], found["risk"]["level"]) == ("held", "none")
    assert found["risk"]["conversation"]["held"]
    assert "findahelpline.com" in answer.json()["choices"][0]["message"]["content"]


def test_a_hold_in_memory_is_known_with_the_door_full(serving: Serving) -> None:
    """No line of the seeker's that was sent tells of it: the client has trimmed what was said."""
    with serving(admission={"tokens": 100, "door_seconds": 0.05}) as served:
        served.pipeline.classifier = ears = Ears()
        named = {"metadata": {"session_id": "mine"}}
        trimmed = assert_crisis(post(served, said(SEEN, **named)))["choices"][0]["message"]
        asked = len(ears.asked)
        held = asyncio.run(served.pipeline.admission.classification.acquire(Rank.ORDINARY, 100))
        answer = post(served, after("whatever, fine", trimmed, n=200, **named))
        held.close()
        assert answer.status_code == 200
        assert answer.json()["psychechat"]["risk"]["conversation"]["held"]
        assert "helpline" in answer.json()["choices"][0]["message"]["content"]
        assert len(ears.asked) == asked
        assert looks(served) == {"held": 1}
        assert post(served, after("whatever, fine", *HISTORY, n=200)).status_code == 400


def test_a_hold_that_is_over_refuses_again(served: Served, ears: Ears) -> None:
    calm = [m for n in range(3) for m in (ASKED, {"role": "user", "content": f"I read a whole book on day {n}"})]
    assert (
        post(
            served, after("and cooked some rice", {"role": "user", "content": PHRASE}, *calm, ASKED, n=200)
        ).status_code
        == 400
    )
    answer = post(served, after("and cooked some rice", {"role": "user", "content": PHRASE}, *calm[:2], ASKED, n=200))
    assert answer.json()["psychechat"]["reason"] == "held"


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_a_hold_that_the_policy_does_not_want_answers_nothing(serving: Serving, mode: str) -> None:
    with serving(risk={"conversation": mode}) as served:
        history = {"role": "user", "content": PHRASE}, ASKED
        assert post(served, after("whatever, fine", *history, n=200)).status_code == 400


JOKE, ACT = "This exam makes me want to die, haha", "I am going to kill myself tonight"


def test_a_phrase_that_the_classifier_overrules_leaves_the_refusal(serving: Serving) -> None:
    with serving(risk={"veto_below": 0.05}) as served:
        served.pipeline.classifier = ears = Ears()
        assert post(served, said(JOKE)).json()["psychechat"]["risk"]["level"] == "indicator"
        assert post(served, said(JOKE, temperature=9)).status_code == 400
        assert looks(served) == {"calm": 1}
        assert_crisis(post(served, said(ACT, temperature=9)))
        assert_crisis(post(served, said(f"{JOKE}. " + "So it goes. " * 4_000 + PHRASE[:-3] + "kill myself tonight")))
        held = post(served, after(JOKE, {"role": "user", "content": ACT}, ASKED, temperature=9))
        assert_crisis(held)
        ears.failure = EngineUnavailable("gone")
        assert_crisis(post(served, said(JOKE, temperature=9)))
        assert refused_crises(served) == 0


def test_a_phrase_that_nothing_may_overrule_is_a_crisis(serving: Serving) -> None:
    """The heads are not the shipped ones, and nobody has set what overrules."""
    with serving(risk={"veto_below": 0.0}) as served:
        served.pipeline.classifier = ears = Ears()
        assert_crisis(post(served, said(JOKE, temperature=9)))
        assert len(ears.asked) == 1  # the turn's own
