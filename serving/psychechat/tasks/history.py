"""The quoted history of a background task, as a conversation: who said which line."""

import re

from psychechat.conversation import Conversation, Speaker, Utterance

_SPEAKER = re.compile(
    r"^[ \t]*(?:(?P<seeker>user|human|用户|来访者)|(?P<counselor>assistant|ai|bot|助手|助理|咨询师)|system|tool)"
    r"[ \t]*[:：][ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
"""Names at the start of a line, as chat pages write them."""


def conversation(quoted: str) -> Conversation:
    """What is not marked as anyone's is the seeker's. What is marked as the system's or a tool's is nobody's."""
    utterances: list[Utterance] = []
    speaker: Speaker | None = "seeker"
    begin = 0
    for mark in _SPEAKER.finditer(quoted):
        _add(utterances, speaker, quoted[begin : mark.start()])
        speaker = "seeker" if mark["seeker"] else "counselor" if mark["counselor"] else None
        begin = mark.end()
    _add(utterances, speaker, quoted[begin:])
    return Conversation(tuple(utterances))


def _add(utterances: list[Utterance], speaker: Speaker | None, text: str) -> None:
    if speaker is not None and text.strip():
        utterances.append(Utterance(speaker, text.strip()))
