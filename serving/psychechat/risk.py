"""Risk severity in the order of the Columbia scale, and what the classifier's probabilities say of it.

The server detects and routes. A severity is a reason to take more care, never a diagnosis.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal, get_args

SeverityName = Literal["none", "indicator", "ideation", "behavior", "attempt"]
_NAMES: Sequence[SeverityName] = get_args(SeverityName)


class Severity(IntEnum):
    """Ordered: a higher value is never less urgent."""

    NONE = 0
    INDICATOR = 1
    IDEATION = 2
    BEHAVIOR = 3
    ATTEMPT = 4

    @property
    def label(self) -> SeverityName:
        return _NAMES[self]


Kind = Literal["thoughts", "plan_or_means", "under_way", "other_person"]
"""What a crisis is about: thinking of it; knowing how or when; doing it now; somebody else who is in danger."""

CRISIS = Severity.IDEATION
"""From this severity on a turn is a crisis turn."""


_WORST_FIRST = sorted(set(Severity) - {Severity.NONE}, reverse=True)


def at_least(probabilities: Mapping[Severity, float], severity: Severity) -> float:
    """The probability that the severity is this one or worse."""
    return sum(p for s, p in probabilities.items() if s >= severity)


def level(probabilities: Mapping[Severity, float], thresholds: Mapping[Severity, float]) -> Severity:
    """The worst severity whose cumulative probability (it or worse) reaches its threshold.

    Cumulative, because missing a crisis costs more than naming it one step too high.
    """
    for severity in _WORST_FIRST:
        if at_least(probabilities, severity) >= thresholds[severity]:
            return severity
    return Severity.NONE


@dataclass(frozen=True, slots=True)
class LineReading:
    """One line of the seeker's as it was read, for the state of the conversation."""

    line: str
    """The line's keyed hash: what is kept holds no words."""
    severity: Severity | None
    """Of the line alone, or with its question; None: unknown."""
    weighs: bool = True
    """Long enough to say that risk is low: more than a few words, or read with the question that it answers."""
    is_long: bool = True
    """More than a few words by itself."""
    doubted: bool = False
    """Whether only the calm before it kept it from being a crisis."""
    alarm: bool = False
    """Whether it holds a phrase that nothing overruled, or one that was: either is no sign of calm."""
    other_person: bool = False
    """A helper speaks of somebody else: this line neither holds the conversation nor counts towards an end."""
    ideation: float | None = None
    """P(ideation or worse) as a share of the threshold from which it is a crisis; None: unknown."""
    valence: int | None = None
    kind: Kind | None = None
    place: str | None = None
    """Of a crisis: keyed hash of the conversation up to this line."""

    @property
    def is_crisis(self) -> bool:
        return self.severity is not None and self.severity >= CRISIS and not self.other_person

    @property
    def is_low(self) -> bool:
        """A sign of calm that counts towards the end of a hold."""
        return self.severity is Severity.NONE and self.weighs and not self.alarm and not self.other_person

    @property
    def calms(self) -> int:
        """By how many calm lines it makes the next one more doubted, or less."""
        return -1 if self.doubted else int(self.is_low and self.is_long)


Trend = Literal["rising", "steady", "falling"]


@dataclass(frozen=True, slots=True)
class RiskState:
    """How much risk a conversation has shown. Kept in the emotion memory: severities, numbers and hashes, no words."""

    level: Severity = Severity.NONE
    """Of the newest line that could be read."""
    peak: Severity = Severity.NONE
    """The worst since the hold began; outside a hold the newest level."""
    held: bool = False
    """After a crisis, until enough lines were truly low."""
    since_turns: int | None = None
    """The seeker's lines since the last crisis; None: there was none."""
    low_lines: int = 0
    """Lines since the hold began, or since its last crisis, that count towards its end."""
    lines: int = 0
    """All lines since then."""
    calm: int = 0
    """Calm lines of a conversation without a crisis so far, as many as are counted. A doubted line takes one back."""
    episode: str | None = None
    """Names the hold: keyed hash of the conversation up to the line that began it."""
    kind: Kind | None = None
    """The gravest since the hold began; None: no phrase told one."""
    counted: tuple[str, ...] = ()
    """Hashes of the newest lines that were counted: a line that is sent again counts once."""
    rising: float = 0.0
    """The one-sided cumulative sum of P(ideation or worse) beyond what is usual."""
    valence: float | None = None
    """The running mean of the valence."""
    trend: Trend = "steady"

    @property
    def is_rising(self) -> bool:
        return self.trend == "rising" and not self.held


@dataclass(frozen=True, slots=True)
class HoldRules:
    """How a hold ends and when risk rises. The policy's `risk.conversation` branch."""

    lows_after_ideation: int = 3
    lows_after_behavior: int = 6
    most_lines: int = 20
    usual: float = 0.2
    """Share of the threshold that adds nothing: everyday lines stay below it."""
    alert: float = 1.6
    """The cumulative sum, in thresholds, from which care is raised: of lines below it two at least are wanted."""
    doubts: tuple[float, ...] = (1.0, 4.0, 12.0)
    """By what the odds of a crisis are divided after no calm line, one, two and more. Each was a look that found
    nothing, and of many looks one finds something by chance."""
    fall: float = 1.0
    """A valence that is lower than the conversation's own mean by so much counts as if it added `usual`, once more."""

    def doubt(self, before: RiskState) -> float:
        """How many times the odds of a threshold the classifier's must be, if it alone makes a crisis of a line."""
        return self.doubts[min(before.calm, len(self.doubts) - 1)]

    def lows(self, peak: Severity) -> int:
        return self.lows_after_behavior if peak >= Severity.BEHAVIOR else self.lows_after_ideation


_COUNTED = 64
"""Hashes kept: as many lines as the phrases are looked for in."""
_MEAN_WEIGHT = 0.3
"""Of the newest valence in the running mean."""


def next_state(state: RiskState, readings: Iterable[LineReading], rules: HoldRules) -> RiskState:
    """The state after these lines, oldest first. Live turns and lines read again go through the same function."""
    for reading in readings:
        state = _after(state, reading, rules)
    return state


def worse(first: RiskState, second: RiskState) -> RiskState:
    """The more careful of two states of one conversation, for writes that crossed and memory that disagrees.

    It doubts no more than either, and knows of a crisis that either knows of.
    """
    state, other = sorted(
        (first, second), key=lambda s: (s.held, s.peak, gravity(s.kind), -s.low_lines, -s.lines), reverse=True
    )
    since = other.since_turns if state.since_turns is None else state.since_turns
    return replace(state, calm=min(first.calm, second.calm), since_turns=since)


def gravity(kind: Kind | None) -> int:
    """How far a crisis has come, as its kind tells: a higher value is never less urgent."""
    return {"plan_or_means": 1, "under_way": 2}.get(kind or "", 0)


def _after(state: RiskState, reading: LineReading, rules: HoldRules) -> RiskState:
    if reading.severity is None:
        return state
    if reading.other_person:
        return replace(state, calm=0)
    if reading.is_crisis:
        return _crisis(state, reading)
    if reading.line in state.counted:
        return state
    state = replace(
        _rising(state, reading, rules),
        level=reading.severity,
        since_turns=None if state.since_turns is None else state.since_turns + 1,
        counted=(*state.counted, reading.line)[-_COUNTED:],
    )
    if not state.held:
        calm = min(max(0, state.calm + reading.calms), len(rules.doubts) - 1) if state.since_turns is None else 0
        return replace(state, peak=reading.severity, calm=calm)
    state = replace(state, lines=state.lines + 1, low_lines=state.low_lines + reading.is_low)
    if state.low_lines >= rules.lows(state.peak) or state.lines >= rules.most_lines:
        return replace(state, held=False, peak=reading.severity, lines=0, low_lines=0, episode=None, kind=None)
    return state


def _crisis(state: RiskState, reading: LineReading) -> RiskState:
    """A hold begins, or begins anew at this line; its peak stays."""
    assert reading.severity is not None
    return replace(
        state,
        level=reading.severity,
        peak=max(state.peak, reading.severity) if state.held else reading.severity,
        held=True,
        since_turns=0,
        low_lines=0,
        lines=0,
        calm=0,
        episode=state.episode if state.held else reading.place or reading.line,
        kind=max(state.kind, reading.kind, key=lambda kind: (gravity(kind), kind is not None))
        if state.held
        else reading.kind,
        counted=(*state.counted, reading.line)[-_COUNTED:],
        rising=0.0,
        trend="rising" if reading.severity > state.level or not state.held else "steady",
    )


def _rising(state: RiskState, reading: LineReading, rules: HoldRules) -> RiskState:
    """The cumulative sum over P(ideation or worse), and the valence's running mean."""
    share = reading.ideation or 0.0
    mean, newest = state.valence, reading.valence
    falls = mean is not None and newest is not None and newest <= mean - rules.fall
    rising = max(0.0, state.rising + share - rules.usual + (rules.usual if falls else 0.0))
    if newest is not None:
        mean = float(newest) if mean is None else (1 - _MEAN_WEIGHT) * mean + _MEAN_WEIGHT * newest
    trend: Trend = "rising" if rising >= rules.alert else "falling" if rising < state.rising else "steady"
    return replace(state, rising=rising, valence=mean, trend=trend)
