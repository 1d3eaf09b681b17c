"""What may be written in a language, token by token: whole characters of its scripts, and none that means nothing.

Byte-level vocabularies write a rare character, or an emoji, in several tokens, none of which is a text. So what may
come next depends on the bytes of a character that has been begun: these are the states of a small automaton, and its
table says for each of them what is forbidden and which state follows.
"""

import codecs
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain

import numpy as np
import numpy.typing as npt

from psychechat.emotion import Language
from psychechat.language import CONTROL, PRIVATE, SCRIPTS, scripts

ANYTHING = 0
"""The state of a text of no language: nothing is forbidden, and it stays so."""
LEAST_TOKENS = 1000
"""Fewest whole tokens that a language must leave; with fewer the vocabulary is not one for it."""
LONGEST = 3
"""Tokens that a character may have begun with before its last one."""

_LAST = "\U0001ffff"
"""Behind the emoji are planes of Han that hardly anybody can read."""

_CONTINUING = bytes(range(0x80, 0xC0))
"""Bytes of which no character is the first."""


@dataclass(frozen=True)
class Table:
    """Tokens of the same kind are forbidden in the same states."""

    kinds: npt.NDArray[np.int64]
    """Kind of each token of the vocabulary."""
    wholes: int
    """Kinds below this end with a whole character, whatever was before them."""
    forbidden: npt.NDArray[np.bool_]
    """[states, kinds]"""
    after: npt.NDArray[np.int32]
    """State that follows [states, kinds]."""
    starts: Mapping[Language, int]
    """State in which no character has been begun, of each language that the vocabulary can write."""


def table(vocabulary: Sequence[bytes], never: Set[int], always: Set[int]) -> Table:
    """`vocabulary`: the bytes of each token. `never` and `always`: tokens of which the bytes do not decide, such as
    those of a template and the one that ends a text. `always` holds between characters only.
    """
    languages = list(SCRIPTS)
    wholes = 2 ** len(languages)
    kinds = np.zeros(len(vocabulary), np.int64)
    parts: dict[bytes, int] = {}
    for token, written in enumerate(vocabulary):
        if token in always:
            kinds[token] = wholes - 1
        elif written and token not in never:
            text = _decoded(written)
            if text is None:
                kinds[token] = parts.setdefault(written, wholes + len(parts))
            else:
                kinds[token] = sum(_is_writable(text, language) << bit for bit, language in enumerate(languages))
    counts = np.bincount(kinds, minlength=wholes + len(parts))[:wholes]
    forbidden, after = [np.zeros(wholes + len(parts), np.bool_)], [np.full(wholes + len(parts), ANYTHING, np.int32)]
    starts: dict[Language, int] = {}
    for bit, language in enumerate(languages):
        allowed = np.arange(wholes) >> bit & 1 == 1
        if always and counts[allowed].sum() >= LEAST_TOKENS:
            starts[language] = len(forbidden)
            for banned, following in _states(parts, language, len(forbidden), ~allowed):
                forbidden.append(banned)
                after.append(following)
    return Table(kinds, wholes, np.stack(forbidden), np.stack(after), starts)


def _states(
    parts: Mapping[bytes, int], language: Language, start: int, banned_wholes: npt.NDArray[np.bool_]
) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32]]]:
    """By kind what is forbidden and the state that follows, of each state of the language from `start` on."""
    wholes = len(banned_wholes)
    numbers = {b"": start}

    def number(left: bytes | None) -> int:
        return start if left is None else numbers.setdefault(left, start + len(numbers))

    # After what is forbidden the state is that of the token's own end: so a few tokens tell it, whatever was before.
    ends = {kind: number(_left(written.lstrip(_CONTINUING), language)) for written, kind in parts.items()}
    anyway = np.array([start] * wholes + [ends[kind] for kind in parts.values()], np.int32)
    done = 0
    while done < len(numbers):
        begun = list(numbers)[done]
        done += 1
        banned, following = np.ones(wholes + len(parts), np.bool_), anyway.copy()
        if not begun:
            banned[:wholes] = banned_wholes
        for written, kind in parts.items():
            if (written[0] in _CONTINUING) is bool(begun) and (left := _left(begun + written, language)) is not None:
                banned[kind], following[kind] = False, number(left)
        yield banned, following


def _left(written: bytes, language: Language) -> bytes | None:
    """The part of a character that such a text ends with; None if it is not to be written."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(written)
    except UnicodeDecodeError:
        return None
    left, _ = decoder.getstate()
    return left if _is_writable(text, language) and (not left or left in _beginnings()[language]) else None


@cache
def _beginnings() -> Mapping[Language, Set[bytes]]:
    """The first bytes of each language's characters, of those that are written in several."""
    beginnings: dict[Language, set[bytes]] = {language: set() for language in SCRIPTS}
    for code in chain(range(0x80, 0xD800), range(0xE000, ord(_LAST) + 1)):
        character = chr(code).encode()
        for language in _languages(chr(code)):
            beginnings[language].update(character[:size] for size in range(1, len(character)))
    return beginnings


def _decoded(written: bytes) -> str | None:
    try:
        return written.decode()
    except UnicodeDecodeError:
        return None


def _is_writable(text: str, language: Language) -> bool:
    return all(language in _languages(character) for character in text)


@lru_cache(maxsize=1 << 14)
def _languages(character: str) -> Sequence[Language]:
    """Those that it is written in. Emoji, signs and digits are of every language."""
    if CONTROL.match(character) or PRIVATE.match(character) or character == "\ufffd" or character > _LAST:
        return ()
    if unicodedata.category(character) == "Cn":
        return ()
    character_scripts = scripts(character)
    return [language for language, its_own in SCRIPTS.items() if character_scripts <= its_own]
