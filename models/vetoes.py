"""What the classifier's veto over the listed phrases costs and saves, on texts whose risk is known.

`python -m models.vetoes` prints a row a set: crises that a phrase finds, those of them that the veto loses, and the
other texts that a phrase alone makes a crisis, before and after. No text is printed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from models import hand_written
from models.data import load
from models.readings import assessments
from psychechat.config import Settings
from psychechat.demo.encoder import prepare
from psychechat.demo.thresholds import VETO_BELOW
from psychechat.policy import Policy
from psychechat.risk import CRISIS
from psychechat.safety import crisis, overruling


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    source: str
    crisis: bool


@dataclass(frozen=True, slots=True)
class Row:
    """Of one set. Found and called is what is a crisis by a phrase or by the classifier."""

    source: str
    crises: int
    found: int
    lost: int
    """Crises that were found, and are not with the veto."""
    others: int
    called: int
    """Other texts that are taken for a crisis without the veto."""
    called_still: int


def texts(seed: int, singles: Path | None) -> Iterator[Text]:
    """Sentences that were written to test it, the labelled risk sets, and `singles`, a table of care probes."""
    for sentence in hand_written.read():
        if sentence.crisis or sentence.high < CRISIS:
            yield Text(sentence.text, f"hand-written/{sentence.language}", sentence.crisis)
    for example in load(seed):
        if example.source in ("psysuicide", "own/en", "own/zh") and example.risk >= 0:
            yield Text(example.text, f"{example.source} {example.split}", example.risk >= CRISIS)
    for line in singles.read_text("utf-8").splitlines()[1:] if singles else []:
        text, language, at_least, at_most, _ = line.split("\t")
        if at_least in _CRISES or at_most not in _CRISES:
            yield Text(text, f"probe/{language}", at_least in _CRISES)


_CRISES = ("ideation", "behavior", "attempt")


def rows(folder: Path, read: Sequence[Text], below: float) -> list[Row]:
    policy = Policy()
    readings = [crisis.read_text(item.text, policy) for item in read]
    asked = list({item.text for item in read} | {passage for reading in readings for passage in reading.doubted})
    known = dict(zip(asked, assessments(folder, asked), strict=True))
    called: list[tuple[Text, bool, bool]] = []
    for item, reading in zip(read, readings, strict=True):
        before = replace(reading, assessment=known[item.text])
        after = overruling.overruled(before, known, below, held=False)
        called.append((item, before.in_crisis, after.in_crisis))
    return [_row(source, called) for source in sorted({item.source for item in read})]


def _row(source: str, called: Sequence[tuple[Text, bool, bool]]) -> Row:
    grave = [(before, after) for item, before, after in called if item.source == source and item.crisis]
    others = [(before, after) for item, before, after in called if item.source == source and not item.crisis]
    return Row(
        source=source,
        crises=len(grave),
        found=sum(before for before, _ in grave),
        lost=sum(before and not after for before, after in grave),
        others=len(others),
        called=sum(before for before, _ in others),
        called_still=sum(after for _, after in others),
    )


def main(below: float = VETO_BELOW, seed: int = 0, singles: Path | None = None) -> None:
    folder = prepare(Settings().cache.expanduser())
    for row in rows(folder, list(texts(seed, singles)), below):
        typer.echo(row)


if __name__ == "__main__":
    typer.run(main)
