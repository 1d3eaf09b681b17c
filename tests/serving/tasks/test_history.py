"""Who said what in a quoted history."""

import pytest

from psychechat.tasks.history import conversation


@pytest.mark.parametrize(
    ("quoted", "said"),
    [
        ("USER: a\nASSISTANT: b\nUSER: c", [("seeker", "a"), ("counselor", "b"), ("seeker", "c")]),
        ("User: a\n\nmore\nAI: b", [("seeker", "a\n\nmore"), ("counselor", "b")]),
        ("SYSTEM: be kind\nUSER: a", [("seeker", "a")]),
        ("before\nassistant: b", [("seeker", "before"), ("counselor", "b")]),
        ("用户：我睡不着\n助手：多久了？", [("seeker", "我睡不着"), ("counselor", "多久了？")]),
        ("I said to my user: go away", [("seeker", "I said to my user: go away")]),
        ("no marks\nat all", [("seeker", "no marks\nat all")]),
        ("USER: \nASSISTANT: b", [("counselor", "b")]),
        ("", []),
    ],
    ids=["open webui", "librechat", "system", "unmarked", "zh", "inside a line", "none", "empty line", "nothing"],
)
def test_speakers(quoted: str, said: list[tuple[str, str]]) -> None:
    spoken = [(utterance.speaker, utterance.text) for utterance in conversation(quoted).utterances]
    assert spoken == said
