"""Plutchik's wheel as PsychēChat uses it: eight groups of three intensities, 24 labels, and the valence they add up to.

Source: PsychēChat (arXiv 2601.12392), section 3; the valence weights are those of its evaluation.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import log
from types import MappingProxyType
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]
Intensity = Literal[1, 2, 3]

MAX_LABELS = 3
"""A turn carries one to three labels, all of different groups."""

ABSENT = 0
"""The first of a group's four columns: the emotion is not there. Columns 1, 2, 3 are low, mid, high."""


class Group(StrEnum):
    JOY = "joy"
    TRUST = "trust"
    FEAR = "fear"
    SURPRISE = "surprise"
    SADNESS = "sadness"
    DISGUST = "disgust"
    ANGER = "anger"
    ANTICIPATION = "anticipation"


class Label(NamedTuple):
    """One of the 24: a group at an intensity of 1 (low), 2 (mid) or 3 (high)."""

    group: Group
    intensity: Intensity

    def name(self, language: Language = "en") -> str:
        return _NAMES[language][self.group][self.intensity - 1]

    @property
    def valence(self) -> int:
        return _VALENCE[self.group][self.intensity - 1]

    @classmethod
    def parse(cls, name: str) -> "Label":
        """The label with this English or Chinese name. Raises ValueError for any other text."""
        try:
            return _BY_NAME[name.strip().casefold()]
        except KeyError:
            raise ValueError("not one of the 24 emotion labels") from None


class Emotion(NamedTuple):
    """A label found in an utterance, with the calibrated probability that its group is present."""

    label: Label
    probability: float


_NAMES: Mapping[Language, Mapping[Group, tuple[str, str, str]]] = MappingProxyType(
    {
        "en": {
            Group.JOY: ("calm", "happy", "ecstatic"),
            Group.TRUST: ("accepting", "trusting", "admiring"),
            Group.FEAR: ("worried", "afraid", "terrified"),
            Group.SURPRISE: ("puzzled", "surprised", "amazed"),
            Group.SADNESS: ("down", "sad", "grieving"),
            Group.DISGUST: ("bored", "disgusted", "loathing"),
            Group.ANGER: ("annoyed", "angry", "furious"),
            Group.ANTICIPATION: ("caring", "expectant", "vigilant"),
        },
        "zh": {
            Group.JOY: ("平静", "快乐", "狂喜"),
            Group.TRUST: ("接受", "信任", "崇敬"),
            Group.FEAR: ("担心", "恐惧", "惊悚"),
            Group.SURPRISE: ("不解", "惊讶", "惊诧"),
            Group.SADNESS: ("伤感", "悲伤", "悲痛"),
            Group.DISGUST: ("厌倦", "厌恶", "憎恨"),
            Group.ANGER: ("烦躁", "生气", "暴怒"),
            Group.ANTICIPATION: ("关心", "期待", "警惕"),
        },
    }
)

_POSITIVE, _NEGATIVE = (1, 2, 3), (-1, -2, -3)
_VALENCE: Mapping[Group, tuple[int, int, int]] = MappingProxyType(
    {group: _POSITIVE if group in (Group.JOY, Group.TRUST) else _NEGATIVE for group in Group}
    | {Group.ANTICIPATION: (1, 2, 0)}
)

POSITIVE = frozenset({Group.JOY, Group.TRUST, Group.ANTICIPATION})
"""Groups with a label of a valence above 0."""

LABELS: tuple[Label, ...] = tuple(Label(group, intensity) for group in Group for intensity in (1, 2, 3))
_BY_NAME: Mapping[str, Label] = {label.name(language): label for label in LABELS for language in _NAMES}


def label_names(language: Language) -> list[str]:
    return [label.name(language) for label in LABELS]


def valence(labels: Iterable[Label]) -> int:
    """A turn's score: the sum over its labels, from -9 to +9."""
    return sum(label.valence for label in labels)


def negative(labels: Iterable[Label]) -> tuple[Label, ...]:
    return tuple(label for label in labels if label.group not in POSITIVE)


Tone = Literal["hard", "afraid", "angry", "glad"]
"""How a message sounds. `hard` is all that is unpleasant, where it is not known what."""

GLAD = (Group.JOY, Group.TRUST)
_TONES: Mapping[Group, Tone] = MappingProxyType(
    {Group.SADNESS: "hard", Group.DISGUST: "hard", Group.FEAR: "afraid", Group.ANGER: "angry"}
)
HURTING = tuple(_TONES)
_NEITHER = (Group.ANTICIPATION, Group.SURPRISE)
_FLOOR, _WORDS, _SURELY_GLAD, _LIKELY_HARD = 0.02, 0.8, 1.6, -1.8
"""Of the logarithm of the likeliest glad feeling's probability over the likeliest hurting one's, and what the same by
the words adds to it. Sadness that is answered as joy hurts, the other way round it does not: of 416 such messages for
development 8 are taken for glad."""
_LEAST, _CLEAR = 0.35, 2.0
"""Least probability of a feeling that is told, and how much likelier than the next one it is where it is named."""


class Felt(NamedTuple):
    """How a message sounds, and the feeling that stands out in it. Either may be unknown."""

    tone: Tone | None = None
    group: Group | None = None
    leans: float = 0.0
    """Logarithm of the odds that it is glad rather than that it hurts, as far as known."""


def felt(groups: Mapping[Group, Sequence[float]], gladness: float = 0.0) -> Felt:
    """What can be said of a message with some certainty. `groups`: as for `decode`; `gladness`: by its own words, the
    logarithm of the odds that it is glad rather than that it hurts."""
    present = {group: 1.0 - columns[ABSENT] for group, columns in groups.items()}
    glad, hard = max(present[group] for group in GLAD), max(present[group] for group in _TONES)
    leans = log(glad + _FLOOR) - log(hard + _FLOOR) + _WORDS * gladness
    if leans >= _SURELY_GLAD and glad >= max(_LEAST, hard):
        return Felt("glad", max(GLAD, key=present.__getitem__), leans)
    if leans <= _LIKELY_HARD and hard >= _LEAST:
        first, second = sorted(_TONES, key=present.__getitem__, reverse=True)[:2]
        is_clear = present[first] >= _CLEAR * present[second]
        return Felt(_TONES[first], first, leans) if is_clear else Felt("hard", leans=leans)
    first = max(_NEITHER, key=present.__getitem__)
    stands_out = present[first] >= max(_LEAST, _CLEAR * glad, _CLEAR * hard)
    return Felt(group=first if stands_out else None, leans=leans)


def distinct(labels: Iterable[Label]) -> list[Label]:
    """At most three labels of distinct groups, in the order given; of two from one group the stronger one stays."""
    strongest: dict[Group, Label] = {}
    for label in labels:
        held = strongest.get(label.group)
        if held is None or label.intensity > held.intensity:
            strongest[label.group] = label
    return list(strongest.values())[:MAX_LABELS]


def decode(groups: Mapping[Group, Sequence[float]], thresholds: Mapping[Group, float]) -> list[Emotion]:
    """At most three emotions of distinct groups whose presence reaches the group's threshold, the most probable first.

    `groups` holds each group's four probabilities (absent, low, mid, high). The intensity is the most probable
    of the three that mean presence.
    """
    present = [
        Emotion(Label(group, max((1, 2, 3), key=columns.__getitem__)), 1.0 - columns[ABSENT])
        for group, columns in groups.items()
        if 1.0 - columns[ABSENT] >= thresholds[group]
    ]
    present.sort(key=lambda emotion: emotion.probability, reverse=True)
    return present[:MAX_LABELS]
