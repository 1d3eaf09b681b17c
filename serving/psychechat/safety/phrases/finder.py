"""Looks for the phrases of a table: for parts of them all at once, then for the whole of each, then around it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import get_args

from ahocorasick_rs import AhoCorasick, Implementation

from psychechat.risk import CRISIS, Severity
from psychechat.safety.phrases.entries import Context, Entry, Hit, Table
from psychechat.safety.phrases.folding import Folder
from psychechat.safety.phrases.lines import Line, read
from psychechat.safety.phrases.spans import Span, longest, overlapping
from psychechat.safety.phrases.standing import Around, Place, Role, Standing
from psychechat.safety.phrases.views import View

MOST_HITS = 200
"""Of one phrase in one view that are looked at where they stand. The rest is one hit, unexcused."""


class Finder:
    """A table, ready to look for its phrases."""

    def __init__(self, table: Table) -> None:
        self._entries = table.entries
        self._contexts = [Around(context) for context in table.contexts.values()]
        self._still = frozenset(table.still)
        lines = [(role, read(line, table.words)) for role, line in _lines(table)]
        lines.sort(key=lambda item: item[0][0] not in _PHRASES)
        uses: dict[str, list[tuple[Role, Line]]] = defaultdict(list)
        for role, line in lines:
            for literal in line.literals:
                uses[literal].append((role, line))
        self._uses = tuple(map(tuple, uses.values()))
        self._phrases = sum(any(role[0] in _PHRASES for role, _ in use) for use in self._uses)
        """The first so many literals are phrases'."""
        self._automaton = AhoCorasick(list(uses), implementation=Implementation.ContiguousNFA)
        self._folder = Folder(table.spelling, {word for _, line in lines for word in line.words})

    def find(self, text: str) -> tuple[Hit, ...]:
        hits: list[Hit] = []
        seen = _Seen()
        for view in self._folder.views(text):
            hits += self._in_view(view, seen)
            seen.next_view()
        return tuple(sorted(hits, key=lambda hit: (hit.start, hit.end)))

    def _in_view(self, view: View, seen: "_Seen") -> Iterator[Hit]:
        text = view.text
        matches = self._automaton.find_matches_as_indexes(text, overlapping=True)
        spans = self._spans(text, (each for each in matches if each[0] < self._phrases), _PHRASES)
        if not spans:
            return
        standing = Standing(view, text, {**spans, **self._spans(text, iter(matches), _CUES)}, self._still)
        for number in sorted({number for role, number in spans if role in _PHRASES}):
            entry = self._entries[number]
            said = standing.spans.get(("says", number), [])
            sounded = [span for span in standing.spans.get(("sounds", number), []) if not overlapping(said, span)]
            for count, span in enumerate(sorted([*said, *sounded])):
                if count > MOST_HITS:
                    break
                came_from = view.span(*span)
                if seen.before(number, came_from):
                    continue
                as_typed = view.as_typed and span in said
                if count == MOST_HITS:
                    yield _hit(entry, came_from, as_typed)
                elif not standing.is_excused(number, span):
                    applying = [around.context for around in self._around(entry, standing, span)]
                    yield from _judged(entry, applying, came_from, as_typed)

    def _spans(
        self, text: str, matches: Iterator[tuple[int, int, int]], what: frozenset[str]
    ) -> dict[Role, list[Span]]:
        """Where the lines are that are there for one of `what`."""
        spans: dict[Role, list[Span]] = defaultdict(list)
        for literal, start, end in matches:
            for role, line in self._uses[literal]:
                if role[0] in what and (span := line.match(text, start, end)) is not None:
                    spans[role].append(span)
        return {role: longest(listed) for role, listed in spans.items()}

    def _around(self, entry: Entry, standing: "Standing", span: Span) -> Iterator["Around"]:
        sentence = standing.sentence(span)
        for number in standing.contexts:
            around = self._contexts[number]
            if (entry.topic or not around.context.topics) and standing.is_in(number, around, span, sentence):
                yield around


_PHRASES = frozenset({"says", "sounds"})
_CUES = frozenset({"unless", "harmless", *(f"context {place}" for place in get_args(Place))})


def _lines(table: Table) -> Iterator[tuple[Role, str]]:
    for number, entry in enumerate(table.entries):
        yield from ((("says", number), line) for line in entry.says)
        yield from ((("sounds", number), line) for line in entry.sounds)
        yield from ((("unless", number), line) for line in entry.unless)
    yield from ((("harmless", 0), line) for line in table.harmless)
    for number, context in enumerate(table.contexts.values()):
        for place in get_args(Place):
            yield from (((f"context {place}", number), line) for line in getattr(context, place))


def _hit(entry: Entry, span: Span, as_typed: bool) -> Hit:
    return Hit(entry.id, *span, Severity[entry.severity.upper()], entry.kind, as_typed, entry.final)


def _judged(entry: Entry, contexts: Sequence[Context], span: Span, as_typed: bool) -> Iterator[Hit]:
    """The hit as it is where it stands: the least that one of the contexts leaves of it."""
    left = {context.becomes for context in contexts}
    if "nothing" in left:
        return
    severity, kind, final = Severity[entry.severity.upper()], entry.kind, entry.final
    if "ideation" in left and kind == "under_way":
        severity, kind, final = min(severity, Severity.IDEATION), "thoughts", False
    if "indicator" in left:
        severity, final = min(severity, Severity.INDICATOR), False
    if "other_person" in left:
        kind = "other_person"
    yield Hit(entry.id, *span, severity, kind if severity >= CRISIS else None, as_typed, final)


class _Seen:
    """Which phrases were looked at where, in the views before this one: they are not looked at again."""

    def __init__(self) -> None:
        self._before: dict[int, list[Span]] = defaultdict(list)
        self._now: dict[int, list[Span]] = defaultdict(list)

    def before(self, entry: int, span: Span) -> bool:
        if overlapping(self._before[entry], span):
            return True
        self._now[entry].append(span)
        return False

    def next_view(self) -> None:
        for entry, spans in self._now.items():
            self._before[entry] = longest([*self._before[entry], *spans])
        self._now.clear()
