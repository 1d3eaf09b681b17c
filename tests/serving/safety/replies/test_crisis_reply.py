import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml

from psychechat.conversation import Conversation, Utterance
from psychechat.emotion import Language
from psychechat.policy import OutputGuard
from psychechat.safety.replies.crisis_reply import Unfit, check

GUARD = OutputGuard()
PHRASES = ("act", "method", "goodbye", "thanks", "celebration", "praise")
SEEKER: dict[Language, str] = {
    "en": "I cannot do this any more. Everything is too much.",
    "zh": "我撑不下去了，什么都太难了。",
}


@cache
def replies() -> dict[str, dict[Language, list[str]]]:
    table: dict[str, dict[Language, list[str]]] = yaml.safe_load(
        Path(__file__).with_name("crisis_replies.yaml").read_text("utf-8")
    )
    return table


def written(*kinds: str) -> Iterator[tuple[str, Language, str]]:
    for kind in kinds:
        for language, texts in replies()[kind].items():
            yield from ((kind, language, text) for text in texts)


def talk(*lines: str) -> Conversation:
    """The seeker speaks first, then the two take turns."""
    return Conversation(tuple(Utterance("counselor" if at % 2 else "seeker", line) for at, line in enumerate(lines)))


def judged(text: str, language: Language, conversation: Conversation | None = None) -> Unfit | None:
    return check(text, language=language, conversation=conversation or talk(SEEKER[language]), guard=GUARD)


# ------------------------------------------------------------------------------------------------ what is said


def test_what_a_careful_counselor_says_may_leave() -> None:
    texts = list(written("fit"))
    assert len(texts) >= 160
    assert [text for _, language, text in texts if judged(text, language)] == []


def test_what_celebrates_praises_parts_thanks_pushes_or_names_a_method_stays() -> None:
    texts = list(written(*PHRASES, "unfit"))
    assert len(texts) >= 300
    assert [text for _, language, text in texts if judged(text, language) not in PHRASES] == []


def test_most_reasons_are_told_as_they_were_meant() -> None:
    """Where a text has two, either may be told."""
    texts = list(written(*PHRASES))
    meant = [kind == judged(text, language) for kind, language, text in texts]
    assert sum(meant) >= 0.9 * len(meant)


@pytest.mark.parametrize("kind", ["empty", "broken", "repetition", "unfinished", "questions", "sentences", "guard"])
def test_what_is_wrong_with_its_shape_stays(kind: str) -> None:
    for _, language, text in written(kind):
        assert judged(text, language) == kind, text


def test_every_reason_has_its_texts() -> None:
    assert {*replies()} - {"fit", "unfit"} == {*get_args(Unfit)} - {"topic"}


@pytest.mark.parametrize(
    "text",
    [
        "ENJOY THIS MOMENT.",
        "Ｅｎｊｏｙ this moment.",
        "Good-bye, and rest.",
        "Con\u00adgrat\u200bulations.",
        "I am not sure, but enjoy this evening.",  # "not" holds for its clause alone
        "This is not easy but I am happy for you.",
        "I have never been happier for anyone.",
        "I am glad you told me about your good idea.",
        "Thank you for telling me. Thank you for your plan.",
        "You have told me, now do it.",
    ],
)
def test_no_spelling_and_no_kind_word_beside_it_lets_a_phrase_pass(text: str) -> None:
    assert judged(text, "en") in PHRASES


def test_traditional_characters_are_read_as_simplified_ones() -> None:
    assert judged("好好享受這一刻，說再見吧。", "zh") in PHRASES
    assert judged("謝謝你願意告訴我。", "zh") is None


# --------------------------------------------------------------------------------------------- whose topic it is


ASKED = talk("Work is too much.", "Do you think about suicide, or have you made a plan?", "No, I baked bread today.")
DENIED = talk("Work is too much.", "Do you think about suicide?", "No, I don't think about suicide. I cannot go on.")
SAID = talk("I think about suicide all the time.", "Since when do you think about suicide?", "Since May.")
ASKED_ZH = talk("工作太累了。", "你想过自杀吗？有没有计划？", "没有，我今天烤了面包。")
SAID_ZH = talk("我一直在想自杀。", "从什么时候开始想自杀的？", "五月开始。")


@pytest.mark.parametrize(
    ("conversation", "text"),
    [
        (ASKED, "Your suicide weighs so heavily on you."),
        (ASKED, "I hear how much the thought of suicide is with you."),
        (ASKED, "You are planning to leave us."),
        (DENIED, "I hear how close your suicide is."),
        (DENIED, "You think about suicide, and I am worried."),
        (talk("I cannot go on.", "How is your sister?", "I cannot go on."), "Your sister must be worried. I am here."),
    ],
)
def test_nothing_is_said_of_the_seeker_that_only_the_counselor_has_said(conversation: Conversation, text: str) -> None:
    assert judged(text, "en", conversation) in ("topic", "praise")
    assert judged("I am worried about you, and I am here.", "en", conversation) is None


@pytest.mark.parametrize(
    ("conversation", "text"),
    [
        (ASKED, "Are you thinking about suicide right now?"),
        (DENIED, "May I ask again whether you think about suicide?"),
        (SAID, "You have been thinking about suicide since May, and that is a long time."),
        (ASKED, "Your work has become too much to bear."),
        (ASKED, "Is there anyone who could be at your side tonight?"),
    ],
)
def test_a_question_may_ask_again_and_what_the_seeker_has_said_may_be_said(
    conversation: Conversation, text: str
) -> None:
    assert judged(text, "en", conversation) is None


def test_topics_are_told_apart_in_chinese() -> None:
    assert judged("你的自杀念头让我很担心。", "zh", ASKED_ZH) == "topic"
    assert judged("你一直在想自杀，我很担心。", "zh", ASKED_ZH) == "topic"
    assert judged("你现在是在想自杀吗？", "zh", ASKED_ZH) is None
    assert judged("你从五月就一直在想自杀，一定很煎熬。", "zh", SAID_ZH) is None
    assert judged("你的工作让你太累了。", "zh", ASKED_ZH) is None


# ------------------------------------------------------------------------------------------------------ limits


def test_an_operator_who_switches_the_guard_off_switches_nothing_else_off() -> None:
    off = OutputGuard(mode="off")
    conversation = talk(SEEKER["en"])
    assert check("Enjoy this moment.", language="en", conversation=conversation, guard=off) == "celebration"
    assert check("You have bipolar disorder.", language="en", conversation=conversation, guard=off) is None


@pytest.mark.parametrize("piece", ["not ", "glad you ", "你不", "a, ", "your ", "thank you for ", "。", '"'])
def test_the_time_grows_with_the_text_alone(piece: str) -> None:
    text = piece * (4_000 // len(piece))
    begun = time.thread_time()
    judged(text, "en", talk(text, text, text))
    assert time.thread_time() - begun < 5
