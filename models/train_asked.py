"""Fit the fourth head: `python -m models.train_asked`. Whether a seeker asks who answers, or for a person.

Three columns over the vectors of the encoder as `models.train_classifier` left it, which stays as it is: minutes. They
are added to the file of heads. Their bias is set so that what is more likely than not is seldom wrong.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import torch
import typer
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from models import written
from models.data import Example
from models.minimise import minimise
from models.readings import Vectors, read
from models.train_classifier import RUNS
from psychechat.demo.encoder import HEADS, prepare
from psychechat.engines.vllm.windows import ASKED_WIDTHS
from psychechat.help import who_answers

CLASSES: Sequence[written.Asking] = get_args(written.Asking)
FALSE = 0.003
"""Of ordinary lines for development: the share that may be taken for one that asks."""
ORDINARY = 8_000
"""Of seekers' lines: as many are looked at."""
DECAY = 3e-3
WEIGHT = 5.0
"""Of a text that asks, or shares words with those that do, beside an ordinary line."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is learned from, or looked at: texts with their class, and whether each was written for this head."""

    texts: Sequence[str]
    classes: Tensor
    special: Tensor

    @classmethod
    def of(cls, split: written.Split) -> "Texts":
        """Questions and their near neighbours, and all seekers' lines, which ask nothing of the kind but for a few.

        A line that the phrases find is left out: it asks, and nobody has said so.
        """
        asked = [text for text in written.questions() if text.split == split]
        lines = [x.text for x in written.lines() if x.split == split and not who_answers.asked(x.text)]
        lines = random.Random(0).sample(lines, min(ORDINARY, len(lines)))
        texts = [*(text.text for text in asked), *lines]
        classes = [*(CLASSES.index(text.asks) for text in asked), *([0] * len(lines))]
        return cls(texts, torch.tensor(classes), torch.arange(len(texts)) < len(asked))


def vectors(folder: Path, texts: Texts) -> Vectors:
    return read(folder, [Example(text, "", "dev") for text in texts.texts])


def fit(seen: Vectors, texts: Texts) -> tuple[Tensor, Tensor]:
    """Weight [3, H] and bias [3].

    Of a text that asks the whole is learned: nobody has said which of its sentences does. Of another every reading.
    """
    classes, special = texts.classes[seen.owner], texts.special[seen.owner]
    kept = seen.first | (classes == 0)
    return fitted(seen.rows[kept], classes[kept], torch.where(special[kept], WEIGHT, 1.0), len(CLASSES))


def fitted(rows: Tensor, classes: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Weight [count, H] and bias [count] under which the classes are likeliest. Convex, so the same every time."""
    mean, spread = rows.mean(0), rows.std(0) + 1e-6
    scaled = (rows - mean) / spread
    weight = torch.zeros(count, rows.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)

    def loss() -> Tensor:
        losses = cross_entropy(scaled @ weight.T + bias, classes, reduction="none")
        return (losses * weights).sum() / weights.sum() + DECAY * weight.square().sum()

    minimise([weight, bias], loss, steps=200)
    folded = weight.detach() / spread
    return folded, bias.detach() - folded @ mean


def asks(seen: Vectors, weight: Tensor, bias: Tensor) -> Tensor:
    """[texts, 2]: P(identity) and P(person), the highest of each text's readings, as the server takes them."""
    p = (seen.rows @ weight.T + bias).softmax(1)[:, 1:]
    found = torch.zeros(int(seen.owner.max()) + 1, 2)
    return found.scatter_reduce(0, seen.owner.unsqueeze(1).expand_as(p), p, "amax")


def shifted(bias: Tensor, seen: Vectors, texts: Texts, weight: Tensor) -> Tensor:
    """The bias, with both questions' lowered until ordinary lines are taken for one no more often than FALSE."""
    ordinary = ~texts.special
    low, high = -5.0, 15.0
    for _ in range(40):
        shift = (low + high) / 2
        p = asks(seen, weight, bias - shift * torch.tensor([0.0, 1.0, 1.0]))
        low, high = (low, shift) if float((p[ordinary].amax(1) >= 0.5).float().mean()) <= FALSE else (shift, high)
    return bias - high * torch.tensor([0.0, 1.0, 1.0])


def main(
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    heads: Annotated[Path, typer.Option(help="The file of heads that they are added to, or replaced in.")] = HEADS,
) -> None:
    console, folder = opened(threads, heads)
    learned, held = Texts.of("train"), Texts.of("dev")
    weight, bias = fit(vectors(folder, learned), learned)
    seen = vectors(folder, held)
    bias = shifted(bias, seen, held, weight)
    p = asks(seen, weight, bias)
    guess = torch.where(p.amax(1) >= 0.5, p.argmax(1) + 1, 0)
    for number, kind in enumerate(CLASSES):
        of_kind = (held.classes == number) & held.special
        console.print(f"{kind}: {Counter(CLASSES[i] for i in guess[of_kind].tolist())}")
    console.print(f"ordinary lines: {Counter(CLASSES[i] for i in guess[~held.special].tolist())}")
    add(heads, weight, bias)


def opened(threads: int, heads: Path) -> tuple[Console, Path]:
    """Where progress goes, and the folder of the encoder with these heads."""
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    return console, prepare(RUNS / "encoder", heads=heads, console=console)


def add(path: Path, weight: Tensor, bias: Tensor, widths: Sequence[int] = ASKED_WIDTHS) -> None:
    """Columns of the last of these groups, after the others' in the file; what was there from them on is replaced."""
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()["psychechat"]) | {"groups": list(widths)}
    tensors, columns = load_file(path), sum(widths[:-1])
    tensors["weight"] = torch.cat([tensors["weight"][:columns], weight]).contiguous()
    tensors["bias"] = torch.cat([tensors["bias"][:columns], bias]).contiguous()
    save_file(tensors, path, metadata={"psychechat": json.dumps(settings)})
    path.chmod(0o644)


if __name__ == "__main__":
    typer.run(main)
