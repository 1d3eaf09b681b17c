"""Phrases that the classifier overrules: a listed phrase is there, and what it stands in is no crisis.

Only a phrase that was found as typed, so that the classifier has read it too; never an act under way, means in hand or
a plan with a time; and only where it is all but sure of the very sentence, and of it with its neighbours. An overruled
phrase remains an indicator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from psychechat.conversation import Assessment, Reading
from psychechat.engines.sentences import around, spans
from psychechat.help import languages
from psychechat.risk import CRISIS, Kind, Severity
from psychechat.safety.phrases import Hit

MOST = 4
"""Phrases that are asked about. A message with more of them is a crisis."""

_NEVER: Sequence[Kind | None] = ("under_way", "plan_or_means")


def may_be(hits: Sequence[Hit]) -> bool:
    """Whether all that makes a crisis of the text may be overruled."""
    grave = {(hit.start, hit.end): hit for hit in hits if hit.severity >= CRISIS}
    allowed = all(hit.may_be_overruled and hit.kind not in _NEVER for hit in hits if hit.severity >= CRISIS)
    return allowed and 0 < len(grave) <= MOST


def passages(text: str, hits: Sequence[Hit]) -> tuple[str, ...]:
    """What the classifier is asked about: each phrase's sentence, and it with its neighbours. Empty: nothing."""
    if not may_be(hits) or languages.detect(text) not in ("en", "zh", None):
        return ()
    sentences = spans(text)
    read = (around(text, sentences, hit.start, hit.end) for hit in hits if hit.severity >= CRISIS)
    return tuple(dict.fromkeys(passage for both in read for passage in both))


def overruled(reading: Reading, assessments: Mapping[str, Assessment], below: float, *, held: bool) -> Reading:
    """The reading, without its alarm if the classifier overrules it. `assessments`: by passage, where there is one.

    `held`: whether a crisis holds the conversation; then nothing is overruled.
    """
    if held or not reading.doubted or not all(passage in assessments for passage in reading.doubted):
        return reading
    if any(assessments[passage].at_least(CRISIS) >= below for passage in reading.doubted):
        return reading
    return replace(reading, alarm=False, overruled=True, kind=None, phrase_severity=Severity.INDICATOR)
