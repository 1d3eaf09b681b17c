"""Stretches of a text: where each begins and where it ends."""

from bisect import bisect_left
from collections.abc import Sequence

Span = tuple[int, int]


def longest(spans: list[Span]) -> list[Span]:
    """Sorted, and of those that overlap one: from where the first begins, the longest that begins there."""
    kept: list[Span] = []
    for span in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
        elif span[1] > kept[-1][1]:
            kept[-1] = (kept[-1][0], span[1])
    return kept


def overlapping(spans: Sequence[Span], span: Span) -> bool:
    """Whether one of the spans, which are sorted and apart, shares a character with this one."""
    place = bisect_left(spans, (span[1], 0)) - 1
    return place >= 0 and spans[place][1] > span[0]
