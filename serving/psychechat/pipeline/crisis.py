"""The part of a crisis that needs no model: the phrases that raise the alarm and the words that are fixed."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from psychechat.emotion import Language
from psychechat.policy import Crisis


def alarm(text: str, phrases: Mapping[Language, tuple[str, ...]]) -> bool:
    """Whether the text holds one of the phrases, of any language, whatever the conversation is held in."""
    return _finder(tuple(phrases.values())).search(plain(text)) is not None


@lru_cache(maxsize=8)  # a policy is swapped rarely; no message is ever kept
def _finder(groups: tuple[tuple[str, ...], ...]) -> re.Pattern[str]:
    phrases = "|".join(re.escape(plain(phrase)) for group in groups for phrase in group)
    return re.compile(f"(?<![a-z])(?:{phrases})(?![a-z])" if phrases else "(?!)")


def plain(text: str) -> str:
    """Case, width, apostrophes and spacing folded, so that a phrase is found however it was typed."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("'", "")
    spaced = " ".join("".join(c for c in folded if unicodedata.category(c) != "Cf").split())
    return _BETWEEN_HAN.sub("", spaced)


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
