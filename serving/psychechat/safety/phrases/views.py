"""Views: a text as it reads after some foldings, and the way back to the text as it came."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

HAN = "\u3400-\u9fff"
"""As a character class."""

Edit = tuple[int, int, int]
"""Where something stood, up to where, and how long it is now."""


class Step:
    """One folding of a text, and the way back over it."""

    def __init__(self, edits: Callable[[], Iterable[Edit]]) -> None:
        self._list = edits

    @cached_property
    def _edits(self) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Where each edit begins in the folded text; where it ends there; what it was made from."""
        begins, places, grown = [], [], 0
        for start, end, length in self._list():
            begins.append(start + grown)
            places.append((start + grown + length, start, end))
            grown += length - (end - start)
        return begins, places

    def back(self, place: int) -> tuple[int, int]:
        """The characters before this step that the one at `place` came from."""
        begins, places = self._edits
        index = bisect_right(begins, place) - 1
        if index < 0:
            return place, place + 1
        until, start, end = places[index]
        if place < until:
            return start, end
        return end + place - until, end + place - until + 1


@dataclass(frozen=True, slots=True)
class View:
    """A text as phrases are looked for in it."""

    lines: str
    """With the line breaks that it came with."""
    as_typed: bool
    steps: tuple[Step, ...]

    @property
    def text(self) -> str:
        """As long as `lines`; a line break is a space, for a phrase may go over it."""
        return self.lines.replace("\n", " ")

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where these characters are in the text as it came."""
        last = end - 1
        for step in reversed(self.steps):
            start, last = step.back(start)[0], step.back(last)[1] - 1
        return start, last + 1


class Characters(dict[int, str]):
    """What is read for a character, by code point, worked out when it is first met."""

    def __init__(self, read: Callable[[str], str]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, code: int) -> str:
        read = self._read(chr(code))
        if unicodedata.category(chr(code)) not in ("Cn", "Co"):  # nobody writes those; they are too many to keep
            self[code] = read
        return read


def translated(view: View, characters: "Characters") -> View:
    text = view.lines
    step = Step(lambda: _edits_of(text, characters))
    return View(text.translate(characters), view.as_typed, (*view.steps, step))


def _edits_of(text: str, characters: "Characters") -> Iterator[Edit]:
    for place, character in enumerate(text):
        length = len(characters[ord(character)])
        if length != 1:
            yield place, place + 1, length


def changed(view: View, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> View:
    lines, step = substituted(pattern, replace, view.lines)
    return view if lines == view.lines else View(lines, view.as_typed, (*view.steps, step))


def substituted(pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str) -> tuple[str, Step]:
    edits: list[Edit] = []

    def replaced(match: re.Match[str]) -> str:
        new = replace(match)
        if len(new) != len(match[0]):
            edits.append((match.start(), match.end(), len(new)))
        return new

    return pattern.sub(replaced, text), Step(lambda: edits)


def alternatives(words: Iterable[str], before: str = "", after: str = "") -> re.Pattern[str] | None:
    listed = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.compile(f"{before}(?:{listed}){after}") if listed else None
