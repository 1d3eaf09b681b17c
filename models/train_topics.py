"""Fit the fifth and the sixth head: `python -m models.train_topics`, after `train_asked`.

What a message does where it tells of nothing, and what it is about: columns over the vectors of the encoder as
`models.train_classifier` left it, which stays as it is: minutes. They are added to the file of heads.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import torch
import typer
from rich.console import Console
from torch import Tensor

from models import written
from models.data import Example
from models.readings import read
from models.train_asked import add, fitted, opened
from psychechat.conversation import Act
from psychechat.demo.encoder import HEADS
from psychechat.engines.vllm.windows import ACT_WIDTHS, SUBJECT_WIDTHS
from psychechat.help.subjects import Subject

ORDINARY = 6_000
"""Of seekers' lines: as many are looked at. But for everyday talk they do nothing else than tell."""
WEIGHT = 3.0
"""Of a line that was written for a head, beside one that was written for another."""
LABELLED = 6.0
"""Of a message of which all is told: these are as people write, where lines of one subject all speak of that alone."""
LIKELY = 0.5

Line = TypeVar("Line", written.ActLine, written.Labelled, written.SituationLine, written.SubjectLine)
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
        lines = [x for x in written.lines() if x.split == split and x.kind != "everyday" and not x.question]
        for line in random.Random(0).sample(lines, min(ORDINARY, len(lines))):
            told.acts[line.text] = None, 1.0
        subjects = {x.situation: x.subject for x in written.situations()}
        for said in _of(split, written.situation_lines()):
            if subject := subjects[said.situation]:
                told.subjects[said.text] = subject, 1.0
        for about in _of(split, written.subjects()):
            told.subjects[about.text] = about.subject, WEIGHT
            if about.subject not in (None, "talking"):
                told.acts[about.text] = None, 1.0
        for message in _of(split, written.labelled()):
            if not message.in_crisis:
                told.subjects[message.text] = message.subject, LABELLED
        for does in _of(split, written.acts()):
            told.acts[does.text] = does.act, WEIGHT
            if does.act in ("greeting", "thanks", "goodbye", "small_talk"):
                told.subjects[does.text] = None, 1.0
        return told


def _of(split: written.Split, lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if line.split == split)


def vectors(folder: Path, texts: Sequence[str]) -> Tensor:
    """[texts, H], of each its first window as a whole, as the server reads both."""
    seen = read(folder, [Example(text, "", "dev") for text in texts])
    return seen.rows[seen.first]


def main(
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    heads: Annotated[Path, typer.Option(help="The file of heads that they are added to, or replaced in.")] = HEADS,
) -> None:
    console, folder = opened(threads, heads)
    learned, held = Told.of("train"), Told.of("dev")
    texts = sorted({*learned.acts, *learned.subjects, *held.acts, *held.subjects})
    rows = dict(zip(texts, vectors(folder, texts), strict=True))
    _fit(heads, rows, learned.acts, held.acts, (None, *get_args(Act)), ACT_WIDTHS, console)
    _fit(heads, rows, learned.subjects, held.subjects, (None, *get_args(Subject)), SUBJECT_WIDTHS, console)


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
