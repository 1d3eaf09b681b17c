"""Replies by how a seeker feels, each right for anything that somebody says who feels so: `models/data/felt`.

Nano has too few weights to read what a message is about. It is told how the seeker feels, and what it was taught to
answer holds whatever was said. A message that only greets, thanks, bids farewell, chats, asks for advice or is angry at
the counselor is answered by that, which it is told as well: what it had to tell by itself, it mixed up.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import get_args

from models.written import DATA
from psychechat.conversation import Act
from psychechat.emotion import Group, Label, Language, valence
from psychechat.risk import CRISIS, Severity

UNKNOWN, INDICATOR, IN_CRISIS = "unknown", "indicator", "crisis"
ACTS: Mapping[str, Act] = {
    **{act: act for act in get_args(Act)},
    "thanks_and_goodbye": "thanks",
    "asks_for_advice": "advice",
    "angry_at_counselor": "anger",
    "disappointed_by_counselor_reply": "anger",
}
"""The dialogue act, by situation of the bank or by itself."""
AT_YOU = "angry_at_you"
"""Key of replies to anger at the counselor; `anger` is the feeling."""
KEYS = (*(group.value for group in Group), UNKNOWN, INDICATOR, IN_CRISIS, *sorted({*get_args(Act)} - {"anger"}), AT_YOU)


MOST = 16
"""Replies of a key that are taught: of three times as many, nano writes few by heart after an hour."""


@cache
def texts(language: Language) -> Mapping[str, Sequence[str]]:
    """Replies by key."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in (DATA / "felt" / f"{language}.tsv").read_text("utf-8").splitlines():
        key, text = row.split("\t")
        found[key].append(text)
    return found


def replies(language: Language, key: str) -> Sequence[str]:
    """MOST of the key's."""
    return texts(language)[key][:MOST]


def named(language: Language, key: str) -> str:
    """The key, as the model names it before it writes the reply, which hangs on it."""
    return key.replace("_", " ") if language == "en" else _CHINESE[key]


def key_of(act: Act | None, labels: Sequence[Label], severity: Severity) -> str:
    """All as the classifier has read the message; no labels where it found nothing."""
    if severity >= CRISIS:
        return IN_CRISIS
    if severity > Severity.NONE and valence(labels) <= 0:
        return INDICATOR
    if act:
        return AT_YOU if act == "anger" else act
    if not labels:
        return UNKNOWN
    hurts = valence(labels) < 0
    return next((label for label in labels if (label.valence < 0) == hurts), labels[0]).group.value


_CHINESE: Mapping[str, str] = {
    "joy": "喜悦",
    "trust": "信任",
    "fear": "恐惧",
    "surprise": "惊讶",
    "sadness": "悲伤",
    "disgust": "厌烦",
    "anger": "愤怒",
    "anticipation": "期待",
    "unknown": "不明",
    "indicator": "灰暗",
    "crisis": "危急",
    "thanks": "道谢",
    "goodbye": "告别",
    "small_talk": "闲聊",
    "greeting": "问候",
    "advice": "求助",
    "angry_at_you": "怪我",
}
