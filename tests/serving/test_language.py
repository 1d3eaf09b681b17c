import pytest

from psychechat.conversation import Conversation, Speaker, Utterance
from psychechat.emotion import Language
from psychechat.language import choose, detect


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I lost my job", "en"),
        ("我丢了工作", "zh"),
        ("我最近在 Google 上班", "zh"),  # Chinese with a foreign name
        ("ok", None),  # one word is a greeting in any language
        ("", None),
        ("12345 !?", None),
        ("My teacher said 加油 to me", None),  # mixed
        ("Я очень устал", None),
    ],
)
def test_detect_speaks_only_when_it_is_clear(text: str, expected: Language | None) -> None:
    assert detect(text) == expected


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        (("我很累",), "zh"),
        (("我很累", "ok"), "zh"),  # an unclear message changes nothing
        (("我很累", "Let us speak English please"), "en"),
        (("我很累，睡不着", "ok thanks"), "zh"),  # two words are no whole message
        (("ok thanks",), "en"),  # but enough to start with
        (("hi",), "en"),  # the default
        (("在",), "zh"),
        (("……",), "zh"),
        (("OK，",), "en"),
        (("Hello", "……"), "en"),
        (("はい。", "死"), "en"),  # Japanese, which has no pack
        (("...",), "en"),
        (("I am tired", "今天好一点了", "…"), "zh"),
    ],
)
def test_a_conversation_keeps_its_language_until_a_whole_message_is_in_the_other(
    spoken: tuple[str, ...], expected: Language
) -> None:
    utterances: list[Utterance] = []
    for text in spoken:
        seeker: Speaker = "seeker"
        utterances += [Utterance(seeker, text), Utterance("counselor", "What else? 还有呢？")]
    assert choose(Conversation(tuple(utterances[:-1])), "en") == expected
