"""From a text to the token windows that the encoder sees, and from their probabilities back to one assessment.

Training uses this module too, so that the heads are fitted on exactly what the server feeds them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import inf, isfinite
from pathlib import Path
from typing import get_args

from tokenizers import Encoding, Tokenizer

from psychechat.conversation import Act, Assessment
from psychechat.emotion import Group
from psychechat.engines import sentences
from psychechat.help.subjects import Subject
from psychechat.help.who_answers import Asked
from psychechat.risk import CRISIS, Severity, at_least

OVERLAP = 32
"""Tokens that neighbouring windows share at least, so that what stands on a border is seen whole once."""

WIDTHS = (4,) * len(Group) + (len(Severity),)
"""The columns of a row of probabilities: four an emotion group, then one a severity."""
DRAFT_WIDTHS = (*WIDTHS, 2)
"""With a third head: kind, hurting. They mean something in the row of a pair's draft alone."""
ASKED_WIDTHS = (*DRAFT_WIDTHS, 3)
"""With a fourth: the text asks neither; who answers; for a person. A draft's row has no meaning here."""
ACT_WIDTHS = (*ASKED_WIDTHS, 1 + len(get_args(Act)))
"""With a fifth: the text tells of something, or is one of the dialogue acts. Of no meaning for a draft either."""
SUBJECT_WIDTHS = (*ACT_WIDTHS, 1 + len(get_args(Subject)))
"""With a sixth: the text is about none of the subjects, or about one. 64 columns, the most that the kernel takes."""

KNOWN_WIDTHS = (WIDTHS, DRAFT_WIDTHS, ASKED_WIDTHS, ACT_WIDTHS, SUBJECT_WIDTHS)

SHORTEST = 4
"""Tokens: a sentence that has fewer is read with the next one. So a window of 512 tokens has 128 sentences at most."""

SEEKER_TOKENS, DRAFT_TOKENS = 96, 192
"""Of a pair: how many of the seeker's last tokens and of the draft's first ones are read. A pair is one window."""

Row = Sequence[float]
"""Probabilities, [37], or [39] with a third head, [42] with a fourth, [49] with a fifth, [64] with a sixth."""


@dataclass(frozen=True, slots=True)
class Window:
    """Token ids of a text or of a part of it, or of a pair."""

    ids: list[int]
    sentences: tuple[tuple[int, int], ...] = ()
    """First token and last one of each sentence, one after another; none where there is only one. Of a pair: of the
    draft, alone."""


class Windows:
    """Cuts texts into windows of token ids, each with the encoder's prefix and special tokens.

    Safe to use from several threads.
    """

    def __init__(self, tokenizer: Tokenizer, prefix: str, max_len: int, *, window: int | None = None) -> None:
        """`prefix` is what the encoder wants before each text, e.g. "query: "; `max_len` counts all of a sequence.

        `window`: of a text's windows, where they shall be shorter than a pair may be. Heads that learned from short
        texts do not find one grave sentence among fifty others.
        """
        self._tokenizer = tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        probe = self._encoded("a").ids
        whole: list[int] = tokenizer.encode("a").ids
        at = next(i for i in range(len(whole)) if whole[i : i + len(probe)] == probe)
        self._before = whole[:at] + (self._encoded(prefix).ids if prefix else [])
        self._after = whole[at + len(probe) :]
        around = len(self._before) + len(self._after)
        self._pair_room = max_len - around
        self._room = min(max_len, window or max_len) - around
        if self._room <= OVERLAP:
            raise ValueError(f"windows of {self._room + around} tokens leave no room for text")

    @classmethod
    def of(cls, model: Path, max_len: int) -> "Windows":
        """The windows for a model folder, whose `config.json` holds prefix and perhaps window under `psychechat`."""
        settings = json.loads((model / "config.json").read_text())["psychechat"]
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        return cls(tokenizer, settings["prefix"], max_len, window=settings.get("window"))

    def cut(self, text: str) -> list[list[int]]:
        """Token ids of each window, without its sentences."""
        ids = self._encoded(text).ids
        return [self._window(ids, first) for first in self._firsts(len(ids))]

    def with_sentences(self, text: str) -> list[Window]:
        """One window for most texts. The last window of a longer one is as long as the others."""
        encoded = self._encoded(text)
        ids: list[int] = encoded.ids
        found = _sentences(text, encoded)
        windows = []
        for first in self._firsts(len(ids)):
            within = [(max(a, first) - first, min(b, first + self._room) - first) for a, b in found]
            ranges = _merged([(a, b) for a, b in within if a < b])
            at = len(self._before)
            told = tuple((at + a, at + b - 1) for a, b in ranges) if len(found) > 1 else ()
            windows.append(Window(self._window(ids, first), told))
        return windows

    def holding(self, text: str, at: tuple[int, int]) -> tuple[Window, tuple[int, int]]:
        """The window with the most of these characters' tokens, and the first and the last of them there."""
        ends = [end for _, end in self._encoded(text).offsets]
        first = next(i for i, end in enumerate(ends) if end > at[0])
        after = next((i for i, end in enumerate(ends, start=1) if end >= at[1]), len(ends))
        within = [(max(first - start, 0), min(after - start, self._room)) for start in self._firsts(len(ends))]
        number = max(range(len(within)), key=lambda i: within[i][1] - within[i][0])
        held = within[number]
        return self.with_sentences(text)[number], (len(self._before) + held[0], len(self._before) + held[1] - 1)

    def pair(self, seeker: str, draft: str) -> Window:
        """A counselor's draft after what it answers, as one sequence; its one span is the draft.

        Of the seeker the end is read and of the draft the beginning. Where a window is shorter than both may be, the
        seeker has a third of it. The span of a draft without a token is the one that follows it.
        """
        room = self._pair_room - 2 * len(self._after)
        of_seeker = min(SEEKER_TOKENS, room // 3)
        said = self._encoded(seeker).ids[-of_seeker:]
        answer = self._encoded(draft).ids[: min(DRAFT_TOKENS, room - of_seeker)]
        before = [*self._before, *said, *self._after, *self._after]
        ids = [*before, *answer, *self._after]
        first = min(len(before), len(ids) - 1)
        return Window(ids, ((first, max(first, len(before) + len(answer) - 1)),))

    def _firsts(self, tokens: int) -> list[int]:
        starts = range(0, max(1, tokens - OVERLAP), self._room - OVERLAP)
        return [min(start, max(0, tokens - self._room)) for start in starts]

    def _window(self, ids: list[int], first: int) -> list[int]:
        return self._before + ids[first : first + self._room] + self._after

    def _encoded(self, text: str) -> Encoding:
        # A lone surrogate (JSON allows it) is no text that a tokenizer takes.
        return self._tokenizer.encode(text.encode(errors="replace").decode(), add_special_tokens=False)


def _sentences(text: str, encoded: Encoding) -> list[tuple[int, int]]:
    """Tokens of each sentence, the last one exclusive. A token belongs to the sentence that it ends in."""
    spans = sentences.spans(text)
    if len(spans) < 2:
        return [(0, len(encoded.ids))]
    ranges, first, token = [], 0, 0
    ends = [end for _, end in encoded.offsets]
    for _, last in spans:
        while token < len(ends) and ends[token] <= last:
            token += 1
        ranges.append((first, token))
        first = token
    return [(a, b) for a, b in ranges if a < b]


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sentences of at least SHORTEST tokens; none if that leaves one alone."""
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and merged[-1][1] - merged[-1][0] < SHORTEST:
            merged[-1] = merged[-1][0], last
        else:
            merged.append((first, last))
    if len(merged) > 1 and merged[-1][1] - merged[-1][0] < SHORTEST:
        merged[-2:] = [(merged[-2][0], merged[-1][1])]
    return merged if len(merged) > 1 else []


def assess(windows: Sequence[Sequence[Row]]) -> Assessment:
    """One assessment from the rows of a text's windows: of each first the whole window's, then its sentences'.

    Emotion, dialogue act and subject are the mean over the whole windows. Risk is discounted by how many sentences
    there are, and kept of those readings, windows and sentences alike, that are the worst by some severity: whatever
    the thresholds, the one that decides is among them.
    """
    wholes = [rows[0] for rows in windows]
    columns = [sum(column) / len(wholes) for column in zip(*wholes, strict=True)]
    groups = {
        group: (columns[4 * i], columns[4 * i + 1], columns[4 * i + 2], columns[4 * i + 3])
        for i, group in enumerate(Group)
    }
    rows = [*wholes, *chain.from_iterable(rows[1:] for rows in windows)]
    looks = chances(len(rows) - len(wholes))
    risks = [discounted(dict(zip(Severity, row[_RISK], strict=True)), looks) for row in rows]
    risk, *others = (max(risks, key=partial(_share, severity)) for severity in _BY)
    distinct = {id(other): other for other in others if other is not risk}
    has = len(columns)
    asks = {kind: max(row[column] for row in rows) for kind, column in _ASKED.items() if column < has}
    acts = {act: columns[column] for act, column in _ACTS.items() if column < has}
    subjects = {subject: columns[column] for subject, column in _SUBJECTS.items() if column < has}
    return Assessment(groups, risk, tuple(distinct.values()), asks, acts, subjects)


def chances(sentences: int) -> int:
    """By how many the odds of a crisis are divided in a text of so many sentences: the worst of many readings is worse
    by chance, and two are read as one is. Not by more, since one grave sentence among fifty is to be found.
    """
    return 2 if sentences > 2 else 1


def discounted(risk: Mapping[Severity, float], looks: int) -> Mapping[Severity, float]:
    """The probabilities of a reading with the odds of a crisis divided by so many."""
    if looks == 1:
        return risk
    weighed = {severity: p * (looks if severity < CRISIS else 1) for severity, p in risk.items()}
    total = sum(weighed.values())
    return {severity: p / total for severity, p in weighed.items()}


def hurting(rows: Sequence[Row]) -> float:
    """P(the draft hurts the seeker whom it answers), from the rows of a pair: the whole's, then the draft's."""
    return rows[1][_HURTING]


def has_third_head(groups: Sequence[int], pooling: str) -> bool:
    """Whether a model folder's heads judge drafts. Raises ValueError for heads that this module cannot read."""
    if tuple(groups) not in KNOWN_WIDTHS:
        known = [list(widths) for widths in KNOWN_WIDTHS]
        raise ValueError(f"psychechat.groups must be one of {known}, not {list(groups)}")
    judges = tuple(groups) != WIDTHS
    if judges and pooling != "mean":
        raise ValueError(f"a third head reads the mean of a draft's tokens: psychechat.pooling is {pooling!r}")
    return judges


def _share(severity: Severity, risk: Mapping[Severity, float]) -> float:
    """P(this severity or worse). What is no number comes first, so that the assessment has it and is seen not to be."""
    share = at_least(risk, severity)
    return share if isfinite(share) else inf


_BY = (CRISIS, *(severity for severity in Severity if severity not in (Severity.NONE, CRISIS)))
"""What decides a crisis comes first."""

_RISK = slice(4 * len(Group), 4 * len(Group) + len(Severity))
_HURTING = sum(DRAFT_WIDTHS) - 1
_ASKED: Mapping[Asked, int] = {"identity": sum(DRAFT_WIDTHS) + 1, "person": sum(DRAFT_WIDTHS) + 2}
_ACTS: Mapping[Act, int] = {act: sum(ASKED_WIDTHS) + place for place, act in enumerate(get_args(Act), start=1)}
_SUBJECTS: Mapping[Subject, int] = {
    subject: sum(ACT_WIDTHS) + place for place, subject in enumerate(get_args(Subject), start=1)
}
