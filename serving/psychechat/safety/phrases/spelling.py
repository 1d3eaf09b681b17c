"""Spelling: reads letters set apart, words cut in two, leetspeak, slips of the fingers and pinyin.

Only into words of the phrases, so what is not about them stays as it is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from psychechat.safety.phrases.views import HAN, View, alternatives, changed

_Word = Annotated[str, Field(pattern=r"^[a-z]{2,20}$")]
_Character = Annotated[str, Field(min_length=1, max_length=1)]


class Spelling(BaseModel):
    """Spellings that the views read through. Every word is one of the phrases', or nothing comes of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    fillers: tuple[_Word, ...] = ()
    """Words that say how much, and no more: they may stand anywhere in a phrase."""
    close: tuple[_Word, ...] = ()
    """Long words that are also read with one slip: a letter missing, doubled, wrong, or two swapped."""
    grave: tuple[_Word, ...] = ()
    """Words for which it is worth to look into others: `iwanttodie`, `k*ll`."""
    misspelt: Mapping[_Word, tuple[str, ...]] = {}
    """Other slips, by the word that was meant."""
    look_alikes: Mapping[_Character, Annotated[str, Field(min_length=1, max_length=12)]] = {}
    """Characters and emojis written for another one, or for a word: 亖 for 死."""
    pinyin: Mapping[Annotated[str, Field(pattern=r"^[a-z]{2,6}$")], _Character] = {}
    """Syllables that are read as a character beside each other or beside one."""


class Speller:
    """Reads what was spelled so that it would not be found, or by a hand that shook."""

    def __init__(self, spelling: Spelling, words: frozenset[str]) -> None:
        self._words = words
        self._longest = max(map(len, words), default=0)
        self._grave = frozenset(spelling.grave)
        self._holds_grave = alternatives(spelling.grave)
        self._slips = {
            **{slip: word for word in spelling.close for slip in _slips(word) if slip not in words},
            **{slip: word for word, slips in spelling.misspelt.items() for slip in slips},
        }
        self._cut = _cut(word for word in spelling.close if len(word) > _SHORTEST_CUT)
        self._pinyin = spelling.pinyin
        syllable = f"(?:{'|'.join(sorted(spelling.pinyin, key=len, reverse=True)) or '(?!)'})"
        self._syllable = re.compile(syllable)
        self._syllables = re.compile(f"{syllable}{{2,12}}")
        self._in_pinyin = re.compile(
            rf"(?<![a-z]){syllable}(?: ?{syllable}){{1,11}}(?![a-z])"
            rf"|(?<=[{HAN}]){syllable}(?![a-z])|(?<![a-z]){syllable}(?=[{HAN}])"
        )

    def spelled(self, view: View) -> View:
        view = View(view.lines, False, view.steps)
        latin, chinese = _ANY_LATIN.search(view.lines), _ANY_HAN.search(view.lines)
        if latin:
            view = self._latin(view)
        if chinese:
            view = changed(view, _PARTED_HAN, _unparted)
            view = changed(view, _SINGLE_HAN, lambda match: _NO_HAN.sub("", match[0]))
        if latin and chinese:
            view = changed(view, _MIXED, lambda _: "")
        return changed(view, self._in_pinyin, self._characters) if latin and self._may_be_pinyin(view.lines) else view

    def _latin(self, view: View) -> View:
        if "\n" in view.lines:
            view = changed(view, _OVER_LINES, self._over_lines)
        view = changed(view, _SET_APART, self._set_apart)
        view = changed(view, _HESITATED, lambda _: " ")
        if self._cut is not None:
            view = changed(view, self._cut, _uncut)
        return changed(view, _CHUNK, self._chunk) if self._may_hide(view.lines) else view

    def _may_hide(self, lines: str) -> bool:
        """Whether some word is worth a look. In most texts none is."""
        unknown = set(lines.split()) - self._words
        together = " ".join(unknown)
        return (
            _ODD.search(together) is not None
            or (self._holds_grave is not None and self._holds_grave.search(together) is not None)
            or not self._slips.keys().isdisjoint(unknown)
            or not self._slips.keys().isdisjoint(chunk.strip(_EDGES) for chunk in unknown)
        )

    def _may_be_pinyin(self, lines: str) -> bool:
        words = set(lines.split())
        return (
            _ANY_HAN.search(lines) is not None
            or len(self._pinyin.keys() & words) > 1
            or any(map(self._syllables.fullmatch, (word.strip(_EDGES) for word in words)))
        )

    def _over_lines(self, match: re.Match[str]) -> str:
        """A word that a client cut: its parts came as parts of the content, which are joined by line breaks."""
        pieces = match[0].split("\n")
        read, place = [], 0
        while place < len(pieces):
            joined, until = pieces[place], place + 1
            best, best_until = joined, until
            while until < len(pieces) and len(joined) <= self._longest:
                joined, until = joined + pieces[until], until + 1
                if joined in self._words or joined in self._slips:
                    best, best_until = joined, until
            read.append(best)
            place = best_until
        return "\n".join(read)

    def _set_apart(self, match: re.Match[str]) -> str:
        """`s u i c i d e`, `k.i.l.l m-y-s-e-l-f`: letters set apart, if they make up words."""
        letters = _NO_LETTER.sub("", match[0])
        read = self._split(letters, whole=False)
        return " ".join(read) if any(len(word) > 2 for word in read) else match[0]

    def _split(self, letters: str, *, whole: bool) -> list[str]:
        """Into as few words as it can be. `whole`: nothing, where some letter is left over."""
        costs, firsts = [0] * (len(letters) + 1), [0] * (len(letters) + 1)
        for place in range(len(letters) - 1, -1, -1):
            costs[place], firsts[place] = min(
                (costs[until] + (1 if self._is_word(letters[place:until]) else _LEFT_OVER), until)
                for until in range(place + 1, min(len(letters), place + self._longest) + 1)
                if until == place + 1 or self._is_word(letters[place:until])
            )
        if whole and costs[0] >= _LEFT_OVER:
            return []
        read, place = [], 0
        while place < len(letters):
            read.append(letters[place : firsts[place]])
            place = firsts[place]
        return read

    def _is_word(self, letters: str) -> bool:
        return letters in self._words if len(letters) > 1 else letters in _LETTER_WORDS

    def _chunk(self, match: re.Match[str]) -> str:
        """One run of characters without a space, as it is but for the words that it hides."""
        chunk = match[0]
        if chunk in self._words:
            return chunk
        core = chunk.strip(_EDGES)
        if core.isalpha() and core.isascii():
            read = self._word(core)
        elif core in self._slips:
            read = self._slips[core]
        elif core.isdigit() or not core or _ANY_HAN.search(core):
            return chunk
        else:
            read = self._repaired(core)
        return chunk.replace(core, read, 1) if read else chunk

    def _word(self, word: str) -> str | None:
        if word in self._words:
            return None
        if word in self._slips:
            return self._slips[word]
        if _DRAWN_OUT.search(word):
            return next(filter(self._words.__contains__, _squeezed(word)), None)
        if len(word) > _SHORTEST_GLUED and self._holds_grave is not None and self._holds_grave.search(word):
            read = self._split(word, whole=True)
            return " ".join(read) if self._grave.intersection(read) else None
        return None

    def _repaired(self, core: str) -> str | None:
        """Leetspeak and letters left out: `su1cide`, `k!ll`, `**kill**`, `d*e`, `kill.myself`."""
        bare = _NO_LETTER.sub("", core)
        pieces = _NO_LETTERS.split(core)
        if bare in self._words and not (bare.isdigit() or len(bare) < _SHORTEST_BARE):
            return bare
        for read in _unleeted(core):
            if read in self._words or read in self._slips:
                return self._slips.get(read, read)
        if len(pieces) > 1 and all(map(self._is_word, filter(None, pieces))):
            return " ".join(filter(None, pieces))
        return self._uncensored(core)

    def _uncensored(self, core: str) -> str | None:
        if "*" not in core or not any(map(str.isalpha, core)):
            return None
        pattern = re.compile("".join("[a-z]" if sign == "*" else re.escape(sign) for sign in core))
        return next((word for word in sorted(self._grave) if pattern.fullmatch(word)), None)

    def _characters(self, match: re.Match[str]) -> str:
        return "".join(self._pinyin[syllable] for syllable in self._syllable.findall(match[0]))


_OVER_LINES = re.compile(r"(?<![a-z])[a-z]{1,20}(?:\n[a-z]{1,20})+(?![a-z])")
_SET_APART = re.compile(r"(?<![a-z0-9])[a-z](?:[^a-z0-9\n]{1,3}[a-z]){2,60}(?![a-z0-9])")
_HESITATED = re.compile(r"(?:… ?|, (?:like|um|uh|uhm|er|erm|well|so|idk|you know|i mean),? )(?=[a-z])")
_CHUNK = re.compile(r"[^ \n]{1,60}")
_EDGES = ',.!?;:"()…[]{}~'
_NO_LETTER = re.compile(r"[^a-z0-9]+")
_NO_LETTERS = re.compile(r"[^a-z]+")
_LETTER_WORDS = frozenset("ia")
_LEFT_OVER = 100
_ODD = re.compile(rf"([a-z])\1\1|[^\sa-z,.!?;:\"(){HAN}…][a-z]|[a-z][^\sa-z,.!?;:\"(){HAN}…]|[a-z][,.!?;:\"()…][a-z]")
"""In words that hide another: a letter held down, a sign in the middle."""
_DRAWN_OUT = re.compile(r"([a-z])\1\1")
_RUN = re.compile(r"([a-z])\1\1+")
_SHORTEST_CUT = 5
_SHORTEST_BARE = 3
_SHORTEST_GLUED = 6
"""Letters."""
_MOST_READINGS = 32

_ANY_HAN = re.compile(f"[{HAN}]")
_ANY_LATIN = re.compile("[a-z]")
_NO_HAN = re.compile(f"[^{HAN}]+")
_PARTED_HAN = re.compile(rf"(?:[^\w\s。！？；，、：,;:!?\"《》()…]{{1,8}}|\n)(?=[{HAN}])")
"""Signs and emojis between characters, and the line break that a client has put there."""


def _unparted(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1] if match.start() else " "
    return "" if _ANY_HAN.match(before) else match[0]


_SINGLE_HAN = re.compile(rf"(?<![{HAN}])(?:[{HAN}][^\w\n]{{1,2}}){{2,40}}[{HAN}](?![{HAN}])")

_MIXED = re.compile(rf" (?:(?<=[{HAN}] )(?=[a-z])|(?<=[a-z] )(?=[{HAN}]))")

_LEET: Mapping[str, str] = {
    "0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g",
    "@": "a", "$": "s", "!": "il", "|": "li", "+": "t", "(": "c", "€": "e", "£": "l", "¡": "i",
}  # fmt: skip


def _unleeted(core: str) -> Iterator[str]:
    """All that it may stand for, if it is more letters than signs."""
    choices = [sign if sign.isalpha() else _LEET.get(sign, "") for sign in core if sign not in "*_~`"]
    if sum(map(str.isalpha, core)) * 2 < len(core) - 1 or not all(choices):
        return
    for count, letters in enumerate(product(*choices)):
        if count == _MOST_READINGS:
            return
        yield "".join(letters)


def _squeezed(word: str) -> Iterator[str]:
    """With each letter that is held down read once or twice."""
    pieces, place = [], 0
    for match in _RUN.finditer(word):
        pieces += [(word[place : match.start()],), (match[1], match[1] * 2)]
        place = match.end()
    for count, read in enumerate(product(*pieces, (word[place:],))):
        if count == _MOST_READINGS:
            return
        yield "".join(read)


def _slips(word: str) -> Iterator[str]:
    """All that is one slip of the fingers away. A first letter is seldom wrong."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for place in range(1, len(word) + 1):
        before, after = word[:place], word[place:]
        yield from (before + letter + after for letter in letters)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in letters if letter != after[0])
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]


def _cut(words: Iterable[str]) -> re.Pattern[str] | None:
    """The words with spaces in them."""
    spaced = [" ?".join(word) for word in words]
    return re.compile(rf"(?:{'|'.join(spaced)})(?![a-z])") if spaced else None


def _uncut(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1] if match.start() else " "
    return match[0] if _ANY_LATIN.match(before) else match[0].replace(" ", "")
