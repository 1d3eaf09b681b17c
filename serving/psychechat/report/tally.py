"""What many turns add up to, in memory that does not grow with their number."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, exp, log

from psychechat.report.turns import Turn, Unreadable
from psychechat.risk import CRISIS, Severity

DRAWN, KEPT, MOST_TURNS = 12, 200, 200
"""Conversations that are drawn, the first ones of the file of which they are chosen, and turns of each."""
MOST_CONVERSATIONS = 50_000
"""That are told apart; what comes after those counts in the corpus alone."""
MOST_LABELS = 24
TOLD = 20
"""Unreadable lines that are named."""


@dataclass(slots=True)
class Conversation:
    number: int
    line: int
    """Where it begins."""
    length: int = 0
    held: int = 0
    crises: int = 0
    worst: Severity | None = None
    turns: list[Turn] = field(default_factory=list)
    """The first ones, if the conversation may be drawn."""

    def add(self, turn: Turn, *, texts: bool) -> None:
        self.length += 1
        self.held += turn.held
        self.crises += turn.level is not None and turn.level >= CRISIS
        self.worst = max((s for s in (self.worst, turn.level) if s is not None), default=None)
        if self.number <= KEPT and len(self.turns) < MOST_TURNS:
            self.turns.append(turn if texts else replace(turn, seeker="", counselor=""))

    @property
    def said(self) -> list[tuple[object, ...]]:
        return [(number, turn.seeker, turn.counselor) for number, turn in enumerate(self.turns, 1)]


class Times:
    """Quantiles of seconds, each right to one percent: a count for each of so many lengths."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self._counts[round(log(min(max(seconds, 1e-6), 1e6)) / _STEP)] += 1

    def quantile(self, share: float) -> float:
        rank, seen = ceil(share * self._counts.total()), 0
        for step in sorted(self._counts):
            seen += self._counts[step]
            if seen >= rank:
                return exp(step * _STEP)
        return 0.0


_STEP = log(1.02)


class Tally:
    """`texts`: whether what was said is kept of the conversations that are drawn."""

    def __init__(self, *, texts: bool = False) -> None:
        self._texts = texts
        self.turns = self.replies = self.held = self.crises = self.fallbacks = self.unnamed = self.unreadable = 0
        self.levels: Counter[Severity | None] = Counter()
        self.labels: Counter[str] = Counter()
        self.valences: Counter[int] = Counter()
        self.ways: Counter[tuple[str, str]] = Counter()
        self.rounds: Counter[int] = Counter()
        self.times: dict[str, Times] = {}
        self.told: list[Unreadable] = []
        self._conversations: dict[str, Conversation] = {}
        self._last_valence: int | None = None

    def add(self, read: Turn | Unreadable) -> None:
        if isinstance(read, Unreadable):
            self.unreadable += 1
            if len(self.told) < TOLD:
                self.told.append(read)
            return
        turn = read
        self.turns += 1
        self.held += turn.held
        self.crises += turn.level is not None and turn.level >= CRISIS
        self.levels[turn.level] += 1
        self.valences[turn.valence] += 1
        for label in turn.labels:
            self.labels[label if label in self.labels or len(self.labels) < MOST_LABELS else "other"] += 1
        if turn.mode:
            self._add_reply(turn)
        else:  # of `classify`, whose lines follow each other and know of no shift
            turn = replace(turn, shift=None if self._last_valence is None else turn.valence - self._last_valence)
            self._last_valence = turn.valence
        self._add_to_conversation(turn)

    def _add_reply(self, turn: Turn) -> None:
        self.replies += 1
        self.fallbacks += turn.fallback
        self.ways[turn.mode, turn.reason] += 1
        self.rounds[turn.rounds] += 1
        for stage, seconds in (turn.timings or {}).items():
            if stage in self.times or len(self.times) < MOST_LABELS:
                self.times.setdefault(stage, Times()).add(seconds)

    def _add_to_conversation(self, turn: Turn) -> None:
        known = self._conversations.get(turn.conversation)
        if known is None:
            if len(self._conversations) >= MOST_CONVERSATIONS:
                self.unnamed += 1
                return
            known = Conversation(len(self._conversations) + 1, turn.line)
            self._conversations[turn.conversation] = known
        known.add(turn, texts=self._texts)

    @property
    def conversations(self) -> int:
        return len(self._conversations)

    @property
    def drawn(self) -> list[Conversation]:
        """Conversations to draw, those with the most turns in a hold or a crisis before the longest, in their order.

        A file of `classify` that is longer than one may be is none.
        """
        kept = [one for one in self._conversations.values() if one.turns and (one.turns[0].mode or not self._is_corpus)]
        first = sorted(kept, key=lambda one: (-one.held, -one.crises, -one.length, one.number))[:DRAWN]
        return sorted(first, key=lambda one: one.number)

    @property
    def _is_corpus(self) -> bool:
        return self.turns > MOST_TURNS

    @property
    def most_held(self) -> list[Conversation]:
        """Those with the most turns in a hold or a crisis, ten at most."""
        marked = (one for one in self._conversations.values() if one.held or one.crises)
        return sorted(marked, key=lambda one: (-one.held, -one.crises, one.number))[:10]

    @property
    def stage_times(self) -> Mapping[str, tuple[float, float]]:
        """Median and 95th percentile, in seconds, the whole turn last."""
        ordered = sorted(self.times, key=lambda stage: (stage == "total", stage))
        return {stage: (self.times[stage].quantile(0.5), self.times[stage].quantile(0.95)) for stage in ordered}

    # ------------------------------------------------------------------------------------------ rows of tables

    @property
    def summary(self) -> list[tuple[str, str, str]]:
        rows = [("turns", self.turns), ("in crisis", self.crises), ("held by a crisis", self.held)]
        if self.replies:
            rows += [("replies", self.replies), ("answered with fixed words", self.fallbacks)]
        told = [(name, f"{count:,}", f"{count / (self.turns or 1):.1%}") for name, count in rows]
        return [*told, ("conversations told apart", f"{self.conversations:,}", "")] if self.replies else told

    @property
    def time_rows(self) -> list[tuple[str, str, str]]:
        return [(stage, _short(median), _short(high)) for stage, (median, high) in self.stage_times.items()]

    @property
    def held_rows(self) -> list[tuple[object, ...]]:
        return [
            (one.number, one.line, one.length, one.held, one.crises, one.worst.label if one.worst is not None else "")
            for one in self.most_held
        ]


def _short(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds >= 0.0005 else "0"
