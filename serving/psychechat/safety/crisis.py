"""The part of a crisis that needs no model: the phrases that raise the alarm and the words that are fixed."""

import asyncio
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from psychechat.emotion import Language
from psychechat.policy import Crisis


def alarm(text: str, phrases: Mapping[Language, tuple[str, ...]]) -> bool:
    """Whether the text holds one of the phrases, of any language, whatever the conversation is held in."""
    return _finder(tuple(phrases.values())).search(plain(text)) is not None


async def alarming_part(text: str, phrases: Mapping[Language, tuple[str, ...]], most: int) -> str | None:
    """The first part of at most `most` characters that holds a phrase. Parts overlap, for a phrase may be cut.

    Somebody else's turn may run between any two, however long the text is.
    """
    for first in range(0, len(text), most - min(_OVERLAP, most // 2)):
        part = text[first : first + most]
        if alarm(part, phrases):
            return part
        await asyncio.sleep(0)
    return None


_OVERLAP = 4_000
"""Characters: a phrase with a hundred marks on each of its letters."""


@lru_cache(maxsize=8)  # a policy is swapped rarely; no message is ever kept
def _finder(groups: tuple[tuple[str, ...], ...]) -> re.Pattern[str]:
    phrases = "|".join(re.escape(plain(phrase)) for group in groups for phrase in group)
    return re.compile(f"(?<![a-z])(?:{phrases})(?![a-z])" if phrases else "(?!)")


def plain(text: str) -> str:
    """Case, width, marks, apostrophes and spacing folded, so that a phrase is found however it was typed.

    Character by character, so in time that grows with the text alone: to normalize a run of marks takes its square.
    """
    return _BETWEEN_HAN.sub("", " ".join(text.translate(_FOLDED).split()))


class _Folded(dict[int, str]):
    """By code point, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if unicodedata.category(chr(code)) not in ("Cn", "Co"):  # nobody writes those; they are too many to keep
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
"""Marks on a letter, through it or around it, and what has no shape. Phrases lose theirs in the same way."""
_LONGEST_FOLD = 4
"""A ligature of a whole sentence stays one character."""


_BETWEEN_HAN = re.compile(r"(?<=[一-鿿]) (?=[一-鿿])")


def place(crisis: Crisis, language: Language, locale: str | None) -> str:
    """The table's entry for the locale's language and region, else for its language, else the conversation's.

    `locale` may be a BCP 47 tag or a POSIX one: `zh-Hant-TW`, `en_US.UTF-8`.
    """
    names = {name.casefold(): name for name in crisis.resources}
    spoken, *subtags = re.split(r"[-_.@]", (locale or "").casefold())
    regions = [f"{spoken}-{subtag}" for subtag in subtags]
    return next(names[name] for name in (*regions, spoken, language) if name in names)


def resources(crisis: Crisis, language: Language, locale: str | None) -> str:
    entries = crisis.resources[place(crisis, language, locale)]
    return "\n".join([crisis.introduction[language], *(f"- {entry.name}: {entry.contact}" for entry in entries)])


def with_resources(text: str, crisis: Crisis, language: Language, locale: str | None) -> str:
    return f"{text}\n\n{resources(crisis, language, locale)}"


def safe_template(crisis: Crisis, language: Language, locale: str | None) -> str:
    """The whole reply where no model's reply may leave."""
    return with_resources(crisis.template[language], crisis, language, locale)
