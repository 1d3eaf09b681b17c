"""The fifth head of the demo's classifier on what people write first and last: what each does, or that it tells."""

from pathlib import Path

import pytest

from models.readings import assessments

SAID = {
    "greeting": ["hi", "Hello there!", "good evening", "is anybody there?", "你好", "在吗", "晚上好"],
    "thanks": ["thank you so much", "thanks, that helps", "谢谢你", "多谢，好多了", "真的很感谢"],
    "goodbye": ["goodnight, talk tomorrow", "ok bye for now", "晚安", "我先去睡了，拜拜", "下次再聊"],
    "small_talk": ["I'm so bored", "what's the weather like with you", "好无聊啊", "今天吃了火锅"],
    "advice": ["what should I do about my landlord?", "any tips for an interview?", "怎么跟爸妈开口？", "失眠怎么办"],
    "anger": ["you're useless, you don't even listen", "that was a stupid answer", "你根本不懂我", "说的全是废话"],
}
TOLD = [
    "my grandma died on Sunday",
    "hi, my boyfriend left me last night and I can't stop crying",
    "I failed my driving test again",
    "I got the job!!",
    "my boss yelled at me in front of everyone",
    "I said goodbye to my dog this morning",
    "my mother never thanks me for anything",
    "外婆走了",
    "老板当着大家的面骂我",
    "我考上研究生了！",
    "他昨天跟我说了再见，再也没回来",
    "我爸从来不听我说话",
]


@pytest.mark.engine
def test_most_are_heard_and_what_tells_of_something_is_none(demo_classifier: Path) -> None:
    wanted = [(text, act) for act, texts in SAID.items() for text in texts]
    heard = [found.act for found in assessments(demo_classifier, [text for text, _ in wanted])]
    right = sum(act == expected for act, (_, expected) in zip(heard, wanted, strict=True))
    assert right >= 0.7 * len(wanted)
    assert sum(found.act is not None for found in assessments(demo_classifier, TOLD)) <= 2
