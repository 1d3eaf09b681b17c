"""The evaluation's own plots, in the shapes of `psychechat.report.plots`."""

from collections.abc import Mapping, Sequence

from psychechat.evaluation.figures import BETTER, Name
from psychechat.evaluation.intervals import Estimate
from psychechat.report.plots import WIDTH, Box, Plot, Word

_LEFT, _RIGHT, _ROW, _TALL = 110.0, 90.0, 34.0, 150.0

RANGES: Mapping[Name, tuple[float, float]] = {"EIS": (-9, 9), "EDS": (0, 4), "GAR": (0, 1), "RLS": (0, 4)}
"""What is drawn of each figure; what lies beyond stands at the edge."""

Estimates = Mapping[Name, Estimate | None]


def means(title: str, found: Estimates) -> Plot:
    """Each figure's mean as a dot on its own scale, its interval as a bar."""
    return _forest(title, "The mean of each figure on its own scale, with its 95 % interval over cards.", found, RANGES)


def differences(title: str, found: Estimates) -> Plot:
    """Each figure's difference from the baseline, zero in the middle; green is better."""
    spans = {name: (high - low) / 2 for name, (low, high) in RANGES.items()}
    return _forest(
        title,
        "How much each figure differs from the baseline's, card by card, with its 95 % interval; zero in the middle.",
        found,
        {name: (-span, span) for name, span in spans.items()},
        signed=True,
    )


def _forest(
    title: str, what: str, estimates: Estimates, ranges: Mapping[Name, tuple[float, float]], *, signed: bool = False
) -> Plot:
    boxes, words, dots, rows = [], [], [], []
    for row, (name, one) in enumerate(estimates.items()):
        y, (low, high) = row * _ROW + 14, ranges[name]
        words += [
            Word(_LEFT - 6, y + 4, name, "end"),
            Word(_LEFT, y + 17, f"{low:g}", "middle"),
            Word(WIDTH - _RIGHT, y + 17, f"{high:g}", "middle"),
        ]
        if signed:
            boxes.append(Box((_LEFT + WIDTH - _RIGHT) / 2 - 0.5, y - 10, 1.0, 20.0, "shift"))
        if one is None:
            words.append(Word(WIDTH - _RIGHT + 10, y + 4, "not rated"))
            rows.append((name, "", "", "", ""))
            continue
        begin, at, end = (_place(value, low, high) for value in (one.low, one.mean, one.high))
        boxes.append(Box(begin, y - 4, max(end - begin, 1.0), 8.0, _kind(name, one) if signed else "bar", 0.5))
        dots.append((at, y))
        words.append(Word(WIDTH - _RIGHT + 10, y + 4, f"{one.mean:+.2f}" if signed else f"{one.mean:.2f}"))
        rows.append((name, f"{one.mean:.3f}", f"{one.low:.3f}", f"{one.high:.3f}", f"{one.cards}"))
    return Plot(
        title, what, len(estimates) * _ROW + 6, ("", "mean", "from", "to", "cards"), rows, boxes, words, dots=dots
    )


def _kind(name: Name, one: Estimate) -> str:
    if not one.excludes_zero:
        return "unknown"
    return "good" if one.mean * BETTER[name] > 0 else "bad"


def _place(value: float, low: float, high: float) -> float:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return _LEFT + share * (WIDTH - _RIGHT - _LEFT)


def over_turns(title: str, told: str, values: Sequence[Sequence[float]], low: float, high: float) -> Plot:
    """The mean at each turn, over the dialogues that had one; the table says how many."""
    kept = [(number, turn) for number, turn in enumerate(values, 1) if turn]
    wide = (WIDTH - _LEFT - 12) / max(len(kept), 1)

    def height(value: float) -> float:
        return 10 + _TALL * (high - min(max(value, low), high)) / (high - low)

    line = [(_LEFT + (place + 0.5) * wide, height(sum(turn) / len(turn))) for place, (_, turn) in enumerate(kept)]
    every = -(-len(kept) // 20) or 1
    numbers = [
        Word(x, _TALL + 32, str(kept[place][0]), "middle") for place, (x, _) in enumerate(line) if place % every == 0
    ]
    marks = [Word(_LEFT - 6, height(value) + 4, f"{value:g}", "end") for value in (low, (low + high) / 2, high)]
    return Plot(
        title,
        told,
        _TALL + 40,
        ("turn", "mean", "dialogues"),
        [(number, f"{sum(turn) / len(turn):.2f}", len(turn)) for number, turn in kept],
        (),
        [*marks, *numbers],
        tuple(height(value) for value in (low, (low + high) / 2, high)),
        line,
        line,
    )
