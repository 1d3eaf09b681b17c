"""Languages: which of the two a conversation is in, and the characters that either is written with."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain

from psychechat.conversation import Conversation
from psychechat.emotion import Language


def detect(text: str, least: int = 2) -> Language | None:
    """Language in which the text as a whole is clearly written, or None.

    Clearly Chinese: at least half of its letters are Han. Clearly English: none are, and some are plain Latin. Either
    way at least `least` Han characters or words are needed: a greeting, a name or a mixture gives None.
    """
    letters = [character for character in text if character.isalpha()]
    han = sum("一" <= character <= "鿿" for character in letters)
    if han >= least and 2 * han >= len(letters):
        return "zh"
    if not han and len(text.split()) >= least and any(character.isascii() for character in letters):
        return "en"
    return None


_TO_SWITCH = 4
"""Fewest words or Han characters of a message that may change the language of a conversation."""


def choose(conversation: Conversation, default: Language) -> Language:
    """Language of the first seeker message that has one, until a later message of some length is clearly in another."""
    spoken = [utterance.text for utterance in conversation.utterances if utterance.speaker == "seeker"]
    clear = (detect(text, _TO_SWITCH) for text in reversed(spoken))
    hinted = (detect(text) for text in spoken)
    unclear: Language = "zh" if _is_chinese_at_all("".join(spoken)) else default
    return next(filter(None, chain(clear, hinted)), unclear)


def _is_chinese_at_all(text: str) -> bool:
    """Whether there is nothing but a Han character or two, or marks as Chinese has them."""
    letters = [character for character in text if character.isalpha()]
    return all("一" <= letter <= "鿿" for letter in letters) and bool(letters or _CHINESE_MARKS.search(text))


def is_within(text: str, *, words: int, han: int) -> bool:
    """Whether a text has no more Han characters than these, and beside them no more words."""
    return len(_HAN.findall(text)) <= han and len(_HAN.sub(" ", text).split()) <= words


SCRIPTS: Mapping[Language, frozenset[str]] = {"en": frozenset({"LATIN"}), "zh": frozenset({"LATIN", "HAN"})}
"""What a text in the language is written in, as `scripts` names it."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What steers a terminal or the direction of writing."""
PRIVATE = re.compile("[\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff]")
"""Code points without a meaning."""

_HAN = re.compile("[一-鿿㐀-䶿]")
_CHINESE_MARKS = re.compile("[。，！？；、]|……")
_PLAIN = re.compile("[\x00-\x7f一-鿿]+")


def scripts(text: str) -> frozenset[str]:
    """The scripts of a text's letters, by the first word of their Unicode names; emoji, digits and marks have none."""
    names = {name for name in map(script, set(_PLAIN.sub("", text))) if name}
    if _HAN.search(text):
        names.add("HAN")
    if re.search("[A-Za-z]", text):
        names.add("LATIN")
    return frozenset(names)


@lru_cache(maxsize=4096)
def script(character: str) -> str:
    """Empty where it has none. What is only another shape of a letter (ℹ, ª, ｆｕｌｌ ｗｉｄｔｈ) is that letter's."""
    plain = "" if character == "µ" else unicodedata.normalize("NFKC", character)[:1]
    if not plain or unicodedata.category(plain)[0] != "L":
        return ""
    name = unicodedata.name(plain, "").split()
    first = name[0] if name else ""
    return {"CJK": "HAN", "IDEOGRAPHIC": "HAN", "KATAKANA-HIRAGANA": "KATAKANA", "MODIFIER": ""}.get(first, first)
