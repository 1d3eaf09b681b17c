"""Plots as shapes, for the page to draw as SVG, each with the table of its numbers. Lengths are in SVG's user units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from psychechat.emotion import Group
from psychechat.report.turns import State, Turn
from psychechat.risk import Severity

WIDTH = 720.0
_LEFT, _RIGHT, _ROW, _GAP = 110.0, 12.0, 20.0, 6.0
_TALL = 150.0


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    kind: str
    share: float = 1.0
    """How opaque it is."""


@dataclass(frozen=True, slots=True)
class Word:
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    told: str
    """What it shows, in a sentence, for whoever cannot see it."""
    height: float
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    boxes: Sequence[Box] = ()
    words: Sequence[Word] = ()
    rules: Sequence[float] = ()
    """Heights of horizontal lines."""
    line: Sequence[tuple[float, float]] = ()
    dots: Sequence[tuple[float, float]] = ()
    left: float = _LEFT
    """Where the horizontal lines begin, right of the names."""

    @property
    def right(self) -> float:
        return WIDTH - _RIGHT

    @property
    def path(self) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.line)


def bars(title: str, told: str, counts: Mapping[str, int]) -> Plot:
    """A bar for each name, as long as its count."""
    most, total = max(counts.values(), default=0) or 1, sum(counts.values()) or 1
    boxes, words = [], []
    for row, (name, count) in enumerate(counts.items()):
        y = row * (_ROW + _GAP)
        length = (WIDTH - _LEFT - 70) * count / most
        boxes.append(Box(_LEFT, y, max(length, 1.0 if count else 0.0), _ROW, "bar"))
        words += [Word(_LEFT - 6, y + 15, name, "end"), Word(_LEFT + length + 6, y + 15, f"{count:,}")]
    rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in counts.items()]
    return Plot(title, told, len(counts) * (_ROW + _GAP), ("", "count", "share"), rows, boxes, words)


def columns(title: str, told: str, counts: Mapping[int, int]) -> Plot:
    """A column for each valence from -9 to 9."""
    most, wide = max(counts.values(), default=0) or 1, (WIDTH - 2 * _RIGHT) / 19
    boxes, words = [], []
    for place, valence in enumerate(range(-9, 10)):
        count = counts.get(valence, 0)
        height, x = _TALL * count / most, _RIGHT + place * wide
        kind = "bad" if valence < 0 else "good" if valence > 0 else "bar"
        boxes.append(Box(x + 2, 16 + _TALL - height, wide - 4, height, kind))
        words.append(Word(x + wide / 2, 32 + _TALL, _signed(valence), "middle"))
        if count:
            words.append(Word(x + wide / 2, 12 + _TALL - height, f"{count:,}", "middle"))
    rows = [(_signed(valence), f"{count:,}") for valence, count in sorted(counts.items())]
    return Plot(title, told, _TALL + 40, ("valence", "count"), rows, boxes, words, (16 + _TALL,), left=_RIGHT)


def valence(turns: Sequence[Turn]) -> Plot:
    """Valence over the turns as a line, its shifts as columns from zero."""
    xs, zero, unit = list(_places(len(turns))), 10 + _TALL / 2, _TALL / 18
    wide = max(2.0, min(14.0, (WIDTH - _LEFT - _RIGHT) / max(len(turns), 1) - 2))
    boxes = [
        Box(
            x - wide / 2,
            zero - max(min(turn.shift, 9), 0) * unit,
            wide,
            min(abs(turn.shift), 9) * unit,
            "shift",
            0.35,
        )
        for x, turn in zip(xs, turns, strict=True)
        if turn.shift
    ]
    line = [(x, zero - turn.valence * unit) for x, turn in zip(xs, turns, strict=True)]
    words = [Word(_LEFT - 6, zero - v * unit + 4, _signed(v), "end") for v in (-9, -6, -3, 0, 3, 6, 9)]
    return Plot(
        "Valence and its shifts",
        "The valence of each turn as a line from -9 to +9, and its change since the turn before as a column.",
        _TALL + 40,
        ("turn", "valence", "shift", "emotions"),
        [
            (number, _signed(turn.valence), "" if turn.shift is None else _signed(turn.shift), ", ".join(turn.labels))
            for number, turn in enumerate(turns, 1)
        ],
        boxes,
        [*words, *_numbers(len(turns), _TALL + 32)],
        tuple(zero - v * unit for v in (-9, 0, 9)),
        line,
        line,
    )


def groups(turns: Sequence[Turn]) -> Plot:
    """The eight groups as a heat map, a column for each turn."""
    wide = (WIDTH - _LEFT - _RIGHT) / max(len(turns), 1)
    boxes = [
        Box(_LEFT + place * wide, row * _ROW, max(wide - 1, 1), _ROW - 1, "heat", round(turn.groups.get(group, 0.0), 3))
        for row, group in enumerate(Group)
        for place, turn in enumerate(turns)
    ]
    words = [Word(_LEFT - 6, row * _ROW + 14, str(group), "end") for row, group in enumerate(Group)]
    return Plot(
        "Emotion groups",
        "The probability of each of the eight emotion groups in each turn; the stronger the colour, the higher.",
        len(Group) * _ROW + 20,
        ("turn", *map(str, Group)),
        [
            (number, *(f"{turn.groups[group]:.2f}" if group in turn.groups else "" for group in Group))
            for number, turn in enumerate(turns, 1)
        ],
        boxes,
        [*words, *_numbers(len(turns), len(Group) * _ROW + 14)],
    )


def risk(turns: Sequence[Turn]) -> Plot:
    """Severity of each turn as steps, behind it the stretches in which a crisis holds the conversation, and what the
    server made of the conversation by then, where it says so.
    """
    wide, step = (WIDTH - _LEFT - _RIGHT) / max(len(turns), 1), 26.0
    bottom = 10 + step * 4
    line: list[tuple[float, float]] = []
    boxes: list[Box] = []
    dots: list[tuple[float, float]] = []
    for place, turn in enumerate(turns):
        x = _LEFT + place * wide
        if turn.state is not None and turn.state.level is not None:
            dots.append((x + wide / 2, bottom - step * int(turn.state.level)))
        if turn.state is not None and turn.state.peak:
            boxes.append(Box(x, bottom - step * int(turn.state.peak) - 1, wide, 2, "bad"))
        if turn.level is None:
            boxes.append(Box(x, 10, wide, 4 * step, "unknown", 0.5))
        y = bottom - step * int(turn.level or 0)
        line += [(x, y), (x + wide, y)]
    held = [
        Box(_LEFT + begin * wide, 4, length * wide, 4 * step + 12, "held", 0.3) for begin, length in _stretches(turns)
    ]
    words = [Word(_LEFT - 6, bottom - step * int(severity) + 4, severity.label, "end") for severity in Severity]
    told = (
        "The severity of each turn as steps from none to attempt; shaded: turns in which a crisis holds the "
        "conversation; grey: risk unknown."
    )
    states = any(turn.state is not None for turn in turns)
    if states:
        told += " The conversation's own level as dots, and its worst since the hold began as a line."
    return Plot(
        "Risk and the conversation's state",
        told,
        bottom + 34,
        ("turn", "risk", *(("conversation", "peak", "trend") if states else ()), "held", "mode", "reason"),
        [
            (
                number,
                "unknown" if turn.level is None else turn.level.label,
                *(_told(turn.state) if states else ()),
                "held" if turn.held else "",
                turn.mode,
                turn.reason.replace("_", " "),
            )
            for number, turn in enumerate(turns, 1)
        ],
        [*held, *boxes],
        [*words, *_numbers(len(turns), bottom + 26)],
        tuple(bottom - step * int(severity) for severity in Severity),
        line,
        dots,
    )


def _told(state: State | None) -> Sequence[str]:
    if state is None:
        return "", "", ""
    return *("" if severity is None else severity.label for severity in (state.level, state.peak)), state.trend


def _signed(number: int) -> str:
    return f"{number:+d}" if number else "0"


def _places(count: int) -> Iterator[float]:
    wide = (WIDTH - _LEFT - _RIGHT) / max(count, 1)
    return (_LEFT + (place + 0.5) * wide for place in range(count))


def _numbers(count: int, y: float) -> list[Word]:
    every = -(-count // 20)
    return [Word(x, y, str(place + 1), "middle") for place, x in enumerate(_places(count)) if place % every == 0]


def _stretches(turns: Sequence[Turn]) -> Iterator[tuple[int, int]]:
    place = 0
    for held, run in groupby(turns, key=lambda turn: turn.held):
        length = len(list(run))
        if held:
            yield place, length
        place += length
