"""Sentences of a text, in whatever language: where each one begins and ends."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from sentencex import get_sentence_boundaries

Span = tuple[int, int]
"""First character, and the one after the last."""

_QUOTES = str.maketrans(dict.fromkeys('"“”„‟«»‹›「」『』〝〞＂()（）[]【】《》〈〉‘’', " "))
"""A splitter looks for what closes each of them before it ends a sentence. In a chat many are never closed."""
_LINES = re.compile(r"[^\n]*+\n\s*+|[^\n]++")
"""Each with the blank ones after it: the splitter costs by the call."""
_SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON allows one alone; the splitter does not."""
_PIECE = 2_000
"""Characters that are split at once; a line without an end is cut there."""


def spans(text: str) -> list[Span]:
    """One after another, without gaps, from the first character to the last; none for an empty text.

    A line break ends a sentence. What holds neither letter nor digit belongs to the sentence before it.
    """
    sentences: list[Span] = []
    for start, end in _pieces(text):
        if not sentences or any(map(str.isalnum, text[start:end])):
            sentences.append((start, end))
        else:
            sentences[-1] = sentences[-1][0], end
    return sentences


def _pieces(text: str) -> Iterator[Span]:
    at = 0
    for line in _LINES.findall(_SURROGATE.sub(" ", text).translate(_QUOTES)):
        for first in range(0, len(line), _PIECE):
            # In English's rules are the full stops of other languages too, and a Chinese text holds no abbreviations.
            for boundary in get_sentence_boundaries("en", line[first : first + _PIECE]):
                yield at + first + boundary["start_index"], at + first + boundary["end_index"]
        at += len(line)


def around(text: str, found: Sequence[Span], start: int, end: int) -> tuple[str, str]:
    """The sentence that holds these characters, or the sentences that they lie in; and it with its neighbours.

    `found`: the text's `spans`.
    """
    starts = [first for first, _ in found]
    first, last = bisect_right(starts, start) - 1, bisect_right(starts, max(start, end - 1)) - 1
    alone = text[found[first][0] : found[last][1]]
    return alone.strip(), text[found[max(0, first - 1)][0] : found[min(len(found), last + 2) - 1][1]].strip()
