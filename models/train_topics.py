"""Fit the fifth and the sixth head: `python -m models.train_topics`, after `train_asked`.

What a message does where it tells of nothing, and what it is about: columns over the vectors of the encoder as
`models.train_classifier` left it, which stays as it is: minutes. They are added to the file of heads.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import typer
from rich.console import Console
from torch import Tensor

from models import written
from models.data import ACTS, SUBJECTS, Example
from models.heads import ACT_WIDTHS, SUBJECT_WIDTHS
from models.readings import read
from models.train_asked import add, fitted
from models.train_classifier import RUNS
from psychechat.conversation import Act, Subject
from psychechat.demo.encoder import HEADS, prepare

ORDINARY = 6_000
"""Of seekers' lines: as many are looked at. But for everyday talk they do nothing else than tell."""
WEIGHT = 3.0
"""Of a line that was written for a head, beside one that was written for another."""
LIKELY = 0.5

Value = TypeVar("Value")
Class = TypeVar("Class")


@dataclass(frozen=True)
class Told:
    """What is learned from, or looked at: each text once, with its class by head and what that counts."""

    acts: dict[str, tuple[Act | None, float]] = field(default_factory=dict)
    subjects: dict[str, tuple[Subject | None, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, split: written.Split) -> "Told":
        """A line of a subject tells of something; whoever greets, thanks and the like speaks of no subject."""
        told = cls()
        for text in _some([x.text for x in written.lines() if x.kind != "everyday" and not x.question]):
            told.acts[text] = None, 1.0
        subjects = {x.situation: x.subject for x in written.situations()}
        for line in written.situation_lines():
            if subject := subjects[line.situation]:
                told.subjects[line.text] = subject, 1.0
        for about in written.subjects():
            told.subjects[about.text] = about.subject, WEIGHT
            if about.subject not in (None, "talking"):
                told.acts[about.text] = None, 1.0
        for does in written.acts():
            told.acts[does.text] = does.act, WEIGHT
            if does.act in ("greeting", "thanks", "goodbye", "small_talk"):
                told.subjects[does.text] = None, 1.0
        return cls(_only(told.acts, split), _only(told.subjects, split))


def _some(texts: Sequence[str]) -> Sequence[str]:
    return random.Random(0).sample(texts, min(ORDINARY, len(texts)))


def _only(told: Mapping[str, Value], split: written.Split) -> dict[str, Value]:
    return {text: value for text, value in told.items() if written.split_of(text) == split}


def vectors(folder: Path, texts: Sequence[str]) -> Tensor:
    """[texts, H], of each its first window as a whole, as the server reads both."""
    seen = read(folder, [Example(text, "", "dev") for text in texts])
    return seen.rows[seen.first]


def main(
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    heads: Annotated[Path, typer.Option(help="The file of heads that they are added to, or replaced in.")] = HEADS,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    folder = prepare(RUNS / "encoder", heads=heads, console=console)
    learned, held = Told.of("train"), Told.of("dev")
    texts = sorted({*learned.acts, *learned.subjects, *held.acts, *held.subjects})
    rows = dict(zip(texts, vectors(folder, texts), strict=True))
    _fit(heads, rows, learned.acts, held.acts, ACTS, ACT_WIDTHS, console)
    _fit(heads, rows, learned.subjects, held.subjects, SUBJECTS, SUBJECT_WIDTHS, console)


def _fit(
    heads: Path,
    rows: Mapping[str, Tensor],
    learned: Mapping[str, tuple[Class, float]],
    held: Mapping[str, tuple[Class, float]],
    classes: Sequence[Class],
    widths: Sequence[int],
    console: Console,
) -> None:
    """Adds the head to the file, and says what it takes each class of the held texts for."""
    numbers = torch.tensor([classes.index(name) for name, _ in learned.values()])
    weights = torch.tensor([weight for _, weight in learned.values()])
    weight, bias = fitted(torch.stack([rows[text] for text in learned]), numbers, weights, len(classes))
    p = (torch.stack([rows[text] for text in held]) @ weight.T + bias).softmax(1)
    heard = torch.where(p[:, 1:].amax(1) >= LIKELY, p[:, 1:].argmax(1) + 1, 0).tolist()
    for name in classes:
        told = Counter(classes[i] for i, (true, _) in zip(heard, held.values(), strict=True) if true == name)
        console.print(f"{name}: {told[name]} of {told.total()}; {dict(told.most_common(4))}")
    add(heads, weight, bias, widths)


if __name__ == "__main__":
    typer.run(main)
