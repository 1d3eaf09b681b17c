"""Replies by how a seeker feels, each right for anything that somebody says who feels so: `models/data/felt`.

Nano has too few weights to read what a message is about. It is told how the seeker feels, and what it was taught to
answer holds whatever was said. Four kinds of messages are answered by their kind: a greeting, thanks, a question for
advice, and anger at the counselor.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from models.written import DATA
from psychechat.emotion import Group, Label, Language, valence
from psychechat.risk import CRISIS, Severity

UNKNOWN, INDICATOR, IN_CRISIS = "unknown", "indicator", "crisis"
KINDS: Mapping[str, str] = {
    "seeker_greeting": "greeting",
    "seeker_thanks": "thanks",
    "thanks_and_goodbye": "thanks",
    "asks_for_advice": "advice",
    "angry_at_counselor": "angry_at_you",
    "disappointed_by_counselor_reply": "angry_at_you",
}
"""The key of replies, by situation."""
KEYS = (*(group.value for group in Group), UNKNOWN, INDICATOR, IN_CRISIS, *sorted(set(KINDS.values())))
LINES = tuple(name for name in KINDS if name.startswith("seeker_"))
"""Keys of what seekers say."""


MOST = 16
"""Replies of a key that are taught: of three times as many, nano writes few by heart after an hour."""


@cache
def texts(language: Language) -> Mapping[str, Sequence[str]]:
    """By key: replies, and under LINES what seekers say."""
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


def key_of(situation: str, labels: Sequence[Label], severity: Severity) -> str:
    """`labels` and `severity`: as the classifier has read the message; no labels where it found nothing."""
    if severity >= CRISIS:
        return IN_CRISIS
    if severity > Severity.NONE and valence(labels) <= 0:
        return INDICATOR
    if situation in KINDS:
        return KINDS[situation]
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
    "greeting": "问候",
    "advice": "求助",
    "angry_at_you": "怪我",
}
