"""Where a phrase stands: whether it is a word there, and what is around it."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Literal

from psychechat.safety.phrases.entries import Context
from psychechat.safety.phrases.folding import plain
from psychechat.safety.phrases.spans import Span, overlapping
from psychechat.safety.phrases.views import HAN, View

SENTENCE = 240
"""Characters before and after a phrase that may be its sentence."""
AROUND = 12
"""Characters before and after a phrase that are segmented."""

Place = Literal["before", "after", "over", "around", "next", "unless", "undone"]
Role = tuple[str, int]
"""What a line is there for (says, sounds, unless, harmless, or a place of a context), and of which."""


class Around:
    """A context, with what may stand between its lines and a phrase."""

    def __init__(self, context: Context) -> None:
        self.context = context
        bridge = _any_of(context.between)
        self._bridge = re.compile(rf"(?:[ ,、\"]|{bridge})*")
        self._parted = re.compile(_any_of(context.parted_by)) if context.parted_by else None

    def reaches(self, between: str) -> bool:
        if self._parted is not None:
            return self._parted.search(between) is None
        if between.lstrip(' "').startswith(","):
            return False
        return self._bridge.fullmatch(between) is not None


def _any_of(words: Sequence[str]) -> str:
    listed = [plain(word) for word in words]
    latin = "|".join(re.escape(word) for word in listed if word.isascii())
    chinese = "|".join(re.escape(word) for word in listed if not word.isascii())
    return f"(?<![a-z])(?:{latin or '(?!)'})(?![a-z])|(?:{chinese or '(?!)'})"


_SIGNS = frozenset(f"context {place}" for place in ("before", "after", "over", "around", "next"))


@dataclass(frozen=True)
class Standing:
    """A view with every line that was found in it."""

    view: View
    text: str
    spans: Mapping[Role, list[Span]]
    still: frozenset[str]

    @cached_property
    def contexts(self) -> list[int]:
        """Those of which some line stands here."""
        return sorted({number for role, number in self.spans if role in _SIGNS})

    def is_excused(self, entry: int, span: Span) -> bool:
        """Whether it only looks like the phrase."""
        return (
            overlapping(self.spans.get(("unless", entry), []), span)
            or overlapping(self.spans.get(("harmless", 0), []), span)
            or self._is_titled(span)
            or _runs_over_words(self.text, span, self.still)
        )

    def _is_titled(self, span: Span) -> bool:
        start, end = span
        opened = self.text.rfind("《", max(0, start - _TITLE), start)
        return opened >= 0 and "》" not in self.text[opened:start] and "》" in self.text[end : end + _TITLE]

    def is_in(self, number: int, around: Around, span: Span, sentence: Span) -> bool:
        first, last = sentence
        if self._any("unless", number, first, last) or self._any("undone", number, span[1], last):
            return False
        if overlapping(self.spans.get(("context over", number), []), span):
            return True
        if self._any("around", number, first, last) or self._any("next", number, last, last + _INTO_NEXT):
            return True
        start, end = span
        before = self._within("before", number, first, start)
        after = self._within("after", number, end, last)
        return any(around.reaches(self.text[until:start]) for _, until in before if until <= start) or any(
            around.reaches(self.text[end:begin]) for begin, _ in after
        )

    def _any(self, place: Place, number: int, first: int, last: int) -> bool:
        return any(True for _ in self._within(place, number, first, last))

    def _within(self, place: Place, number: int, first: int, last: int) -> Iterator[Span]:
        """The lines that begin there."""
        spans = self.spans.get((f"context {place}", number), [])
        begin = bisect_left(spans, (first, 0))
        return takewhile(lambda span: span[0] < last, spans[begin : begin + _MOST_CUES])

    def sentence(self, span: Span) -> Span:
        start, end = span
        floor = max(0, start - SENTENCE)
        first = max(self.view.lines.rfind(sign, floor, start) for sign in _ENDS) + 1
        last = _END.search(self.view.lines, end, end + SENTENCE)
        return max(first, floor), last.start() if last else min(len(self.text), end + SENTENCE)


_BY_CHANCE = 5
_TITLE = 40
_INTO_NEXT = 4
_MOST_CUES = SENTENCE * 2
_ENDS = ".!?;。！？；\n"
_END = re.compile(f"[{_ENDS}]")
_HAN = re.compile(f"[{HAN}]")


def _runs_over_words(text: str, span: Span, still: frozenset[str]) -> bool:
    """Whether the characters belong to other words there: 后事 in 然后事情.

    Only if that leaves no single character over. 今晚上吊 may be cut as 晚上 and 吊; then it is the phrase.
    What is long is not there by chance.
    """
    start, end = span
    if end - start > _BY_CHANCE:
        return False
    if not _HAN.match(text[start]) and not _HAN.match(text[end - 1]):
        return False
    first = max(0, start - AROUND)
    over, inside = [], []
    for word, begin, until in cut(text[first : end + AROUND]):
        begin, until = begin + first, until + first
        if begin < start < until <= end or start < begin < end < until:
            over.append(word)
        elif start <= begin and until <= end:
            inside.append(word)
    return bool(over) and not still.intersection(over) and (not inside or any(len(word) > 1 for word in inside))


def cut(text: str) -> list[tuple[str, int, int]]:
    """The words of the text, by its dictionary alone, and where they are."""
    from rjieba import tokenize  # loads its dictionary when it is first imported

    return tokenize(text, "default", False)
