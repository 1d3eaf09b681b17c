"""Fit the fifth head: `python -m models.train_acts`, after `train_asked`. What messages do that tell of nothing.

Seven columns over the vectors of the encoder as `models.train_classifier` left it, which stays as it is: minutes. They
are added to the file of heads.
"""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import torch
import typer
from rich.console import Console
from torch import Tensor

from models import written
from models.data import Example
from models.heads import ACT_WIDTHS
from models.readings import read
from models.train_asked import add, fitted
from models.train_classifier import RUNS
from psychechat.conversation import Act
from psychechat.demo.encoder import HEADS, prepare

CLASSES: Sequence[Act | None] = (None, *get_args(Act))
ORDINARY = 6_000
"""Of seekers' lines: as many are looked at. But for everyday talk they tell of something."""
WEIGHT = 3.0
"""Of a line that was written for this head, beside an ordinary one."""


def lines(split: written.Split) -> list[tuple[str, int, bool]]:
    """Text, number of the class, whether it was written for this head."""
    own = [(x.text, CLASSES.index(x.act), True) for x in written.acts() if x.split == split]
    known = {text for text, *_ in own}
    others = [x.text for x in written.lines() if x.split == split and x.kind != "everyday" and not x.question]
    others = random.Random(0).sample(others, min(ORDINARY, len(others)))
    return [*own, *((text, 0, False) for text in others if text not in known)]


def vectors(folder: Path, texts: Sequence[str]) -> Tensor:
    """[texts, H], of each its first window as a whole, as the server reads the act."""
    seen = read(folder, [Example(text, "", "dev") for text in texts])
    return seen.rows[seen.first]


def main(
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    heads: Annotated[Path, typer.Option(help="The file of heads that they are added to, or replaced in.")] = HEADS,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    folder = prepare(RUNS / "encoder", heads=heads, console=console)
    learned, held = lines("train"), lines("dev")
    classes = torch.tensor([number for _, number, _ in learned])
    weights = torch.tensor([WEIGHT if own else 1.0 for *_, own in learned])
    weight, bias = fitted(vectors(folder, [text for text, *_ in learned]), classes, weights, len(CLASSES))
    p = (vectors(folder, [text for text, *_ in held]) @ weight.T + bias).softmax(1)
    guess = torch.where(p[:, 1:].amax(1) >= 0.5, p[:, 1:].argmax(1) + 1, 0).tolist()
    for number, act in enumerate(CLASSES):
        for own in (True, False):
            told = Counter(CLASSES[i] or "telling" for i, x in zip(guess, held, strict=True) if x[1:] == (number, own))
            if told:
                console.print(f"{act or 'telling'}{'' if own else ', ordinary lines'}: {told}")
    add(heads, weight, bias, ACT_WIDTHS)


if __name__ == "__main__":
    typer.run(main)
