"""The judge of coherence can say no."""

import pytest

from benchmarks.coherence import judge
from psychechat.emotion import Language

EN, ZH = "My dog died on Sunday.", "我的狗星期天死了，家里好安静。"


@pytest.mark.parametrize(
    ("message", "reply", "finish", "language", "failed"),
    [
        (EN, "I am sorry about your dog. What do you miss most?", "stop", "en", set()),
        (ZH, "星期天之后，家里一定变了很多。你最想念什么？", "stop", "zh", set()),
        (EN, "I am sorry about your dog. What do you", "length", "en", {"stops"}),
        (EN, "That sounds hard. What do you miss most?", "stop", "en", {"shares_a_content_word"}),
        (ZH, "这一定很难。你现在怎么样？", "stop", "zh", {"shares_a_content_word"}),
        (EN, "Your dog, your dog, your dog, your dog.", "stop", "en", {"no_4_gram_twice"}),
        (ZH, "I am sorry to hear that.", "stop", "zh", {"language", "shares_a_content_word"}),
    ],
)
def test_judge(message: str, reply: str, finish: str, language: Language, failed: set[str]) -> None:
    assert {name for name, good in judge(message, reply, finish, language).items() if not good} == failed
