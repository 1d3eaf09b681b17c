"""Crisis found without a model: by the phrases of the backstop."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from psychechat import language
from psychechat.conversation import Reading
from psychechat.emotion import Language
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Kind
from psychechat.safety import overruling, phrases
from psychechat.safety.phrases import Hit, Phrases

Backstop = Mapping[Language, tuple[str, ...]]

_PART, _SHARED = 4_000, 600
"""Characters that are looked through at once, and that two parts share."""


def hits(text: str, backstop: Backstop) -> tuple[Hit, ...]:
    """The phrases in the text, of any language, whatever the conversation is held in.

    A long text is read in parts that overlap, up to the first with a crisis in it that nothing overrules: a wall of
    phrases would take a second of the event loop.
    """
    table = _table(tuple(backstop.items()))
    phrase_hits: dict[Hit, None] = {}
    for first in range(0, max(1, len(text) - _SHARED), _PART - _SHARED):
        for hit in phrases.find(text[first : first + _PART], table):
            phrase_hits[replace(hit, start=hit.start + first, end=hit.end + first)] = None
        if any(hit.severity >= CRISIS for hit in phrase_hits) and not overruling.may_be(tuple(phrase_hits)):
            break
    return tuple(phrase_hits)


def read(reading: Reading, text: str, backstop: Backstop) -> Reading:
    """The reading with what the phrases say of the text."""
    phrase_hits = hits(text, backstop)
    grave = [hit.kind for hit in phrase_hits if hit.severity >= CRISIS]
    return replace(
        reading,
        alarm=bool(grave),
        doubted=overruling.passages(text, phrase_hits),
        phrase_severity=max((hit.severity for hit in phrase_hits), default=None),
        kind=next((kind for kind in _GRAVEST_FIRST if kind in grave), None),
    )


_GRAVEST_FIRST: Sequence[Kind] = ("under_way", "plan_or_means", "thoughts", "other_person")


def read_text(text: str, policy: Policy) -> Reading:
    """What the phrases say of a text that is no turn's."""
    return read(Reading(language.detect(text) or "en", policy.thresholds), text, policy.crisis.backstop)


def alarm(text: str, backstop: Backstop) -> bool:
    """Whether the text holds a phrase of a crisis."""
    return any(hit.severity >= CRISIS for hit in hits(text, backstop))


@lru_cache(maxsize=8)  # a policy is swapped rarely; no message is ever kept
def _table(backstop: tuple[tuple[Language, tuple[str, ...]], ...]) -> Phrases:
    """The shipped table for the shipped lists; an operator's own lists are looked for in the same contexts."""
    if dict(backstop) == Policy().crisis.backstop:
        return phrases.shipped()
    return Phrases.model_validate({language: list(lines) for language, lines in backstop})


def plain(text: str) -> str:
    """Text with case, width, marks, apostrophes and spacing folded, so that a phrase is found however it was typed.

    Folded character by character, in linear time: Unicode normalization of a run of marks is quadratic.
    """
    return _BETWEEN_HAN.sub("", " ".join(text.translate(_FOLDED).split()))


class _Folded(dict[int, str]):
    """Cache of folded characters by code point, filled on first use."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if unicodedata.category(chr(code)) not in ("Cn", "Co"):  # unassigned or private use: too many to keep
            self[code] = folded
        return folded


def _fold(character: str) -> str:
    if character in _APOSTROPHES:
        return ""
    wide = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    folded = "".join(part for part in wide if part.isspace() or unicodedata.category(part) not in _UNSEEN)
    return folded if len(folded) <= _LONGEST_FOLD else character


_FOLDED = _Folded()
_APOSTROPHES = "'‘’‚‛′‵`´ʹʻʼʽˈˊˋ＇｀"
_UNSEEN = ("Mn", "Me", "Cf", "Cc")
"""Unicode categories that are dropped: marks on letters, format and control characters. Phrases lose theirs as well."""
_LONGEST_FOLD = 4
"""Longest expansion of one character; a ligature that stands for a whole sentence is left as it is."""


_BETWEEN_HAN = re.compile(r"(?<=[一-鿿]) (?=[一-鿿])")
