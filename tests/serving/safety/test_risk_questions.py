"""Short answers to questions about risk: what they affirm, what they deny, and when nobody but a model can tell."""

import pytest

from psychechat.risk import Severity
from psychechat.safety.risk_questions import Answered, answer, answered, is_short, severity

NONE, INDICATOR, IDEATION, BEHAVIOR, ATTEMPT = Severity


@pytest.mark.parametrize(
    ("question", "text", "held", "level"),
    [
        ("Have you been having thoughts of suicide?", "Yes.", False, IDEATION),
        ("Have you been having thoughts of suicide?", "yeah, most nights", False, IDEATION),
        ("Have you been having thoughts of suicide?", "mm-hm", False, IDEATION),
        ("Have you been having thoughts of suicide?", "No, honestly not.", False, NONE),
        ("Have you been having thoughts of suicide?", "never", False, NONE),
        ("Do you sometimes wish to die?", "sometimes", False, IDEATION),
        ("Do you want to end your life?", "I don't know", False, None),
        ("Do you want to end your life?", "no idea", False, None),
        ("Do you want to end your life?", "purple", False, None),
        ("Have you hurt yourself this week?", "twice", False, BEHAVIOR),
        ("Have you hurt yourself this week?", "I haven't", False, NONE),
        ("How would you do it?", "with my pills", False, BEHAVIOR),
        ("How would you do it?", "not doing it", False, NONE),
        ("Do you have a plan?", "yes", False, None),
        ("Do you have a plan?", "yes", True, IDEATION),
        ("Do you have a plan?", "the railway", True, IDEATION),
        ("Do you have a plan?", "no", True, NONE),
        ("Do you feel safe tonight?", "no", True, IDEATION),
        ("Do you feel safe tonight?", "yes", True, NONE),
        ("Is anyone with you?", "no one", True, IDEATION),
        ("Is anyone with you?", "yes, my mum", True, NONE),
        ("Is anyone with you?", "no one", False, None),
        ("How was the concert?", "yes", True, None),
        ("你有没有想过自杀？", "有", False, IDEATION),
        ("你有没有想过自杀？", "嗯，经常", False, IDEATION),
        ("你有没有想过自杀？", "没有", False, NONE),
        ("你有没有想过自杀？", "从来没有过", False, NONE),
        ("你打算怎么做？", "用绳子", False, BEHAVIOR),
        ("你现在安全吗？", "不安全", True, IDEATION),
        ("家里有别人在吗？", "没有人", True, IDEATION),
        ("家里有别人在吗？", "我妈在", True, None),
        ("周末过得怎么样？", "有", True, None),
    ],
)
def test_what_an_answer_says_with_its_question(question: str, text: str, held: bool, level: Severity | None) -> None:
    assert severity(Answered(question, text), held=held) is level


@pytest.mark.parametrize(
    ("question", "text", "read"),
    [
        ("I see. Do you have a plan?", "yes", "Do you have a plan?"),
        ("Do you have a plan?\n", "yes", "Do you have a plan?"),
        ("Do you have a plan? I am here.", "yes", None),
        ("Tell me more.", "yes", None),
        ("Do you have a plan?", "yes and I would like to tell you all about it now", None),
        ("谢谢你。你有计划吗？", "有", "你有计划吗？"),
        ("你有计划吗？", "我今天去了公司然后又去了超市买东西", None),
    ],
)
def test_only_a_short_answer_is_read_with_the_last_question(question: str, text: str, read: str | None) -> None:
    pair = answered(question, text)
    assert (pair and pair.question) == read


def test_a_long_question_is_read_from_its_end() -> None:
    pair = answered("a" * 1_000 + "?", "yes")
    assert pair is not None
    assert len(pair.question) == 200


def test_a_first_message_answers_nothing() -> None:
    assert answered(None, "yes") is None


@pytest.mark.parametrize(("text", "short"), [("", True), ("one two three four five", True), ("a " * 8, False)])
def test_what_is_short(text: str, short: bool) -> None:
    assert is_short(text) is short


@pytest.mark.parametrize("text", ["...yes", "— yes", " Yes!", "YES"])
def test_an_answer_begins_after_what_is_no_word(text: str) -> None:
    assert answer(text) == "affirms"
