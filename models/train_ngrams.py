"""Fit what a message's n-grams tell: `python -m models.train_ngrams`, minutes.

Three groups of columns over the same n-grams, each a logistic regression by itself: what a message is about, which
topic of the reply banks, and whether it is glad. Nothing of it depends on the encoder.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, get_args

import torch
import typer
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding_bag

from models import written
from models.minimise import minimise
from models.train_topics import LABELLED, Told
from psychechat.emotion import GLAD, HURTING, Label, Language
from psychechat.ngrams import ngrams
from psychechat.ngrams.model import FILE, SUBJECTS, TONES
from psychechat.reply_bank.bank import load

SHIPPED = Path(str(files("psychechat"))) / "ngrams" / FILE

SEEN = 3
"""Texts that must hold an n-gram before anything is learned of it."""
TELLING = 0.1
"""Share of a column's largest weight: n-grams that have less in every column are left out, the rest is fitted anew."""
STEPS = 80
MESSAGES, NAMED = 3.0, 1.5
"""What a message counts that was written with its feelings, and what words that name a topic do."""


@dataclass(frozen=True)
class Task:
    """One group of columns: texts, the number of each one's class, and what it counts."""

    names: Sequence[str]
    decay: float
    texts: list[str] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def learn(self, text: str, name: str | None, weight: float) -> None:
        self.texts.append(text)
        self.classes.append(self.names.index(name or self.names[0]))
        self.weights.append(weight)


def tasks(split: written.Split) -> tuple[Task, Task, Task]:
    """Subjects, topics, tones."""
    return _subjects(split), _topics(split), _tones(split)


def _quiet(split: written.Split) -> Iterator[written.Labelled]:
    return (message for message in written.labelled() if message.split == split and not message.in_crisis)


def _subjects(split: written.Split) -> Task:
    task = Task(SUBJECTS, 2e-5)
    for text, (subject, weight) in Told.of(split).subjects.items():
        task.learn(text, subject, weight)
    return task


def _topics(split: written.Split) -> Task:
    task = Task(("", *load("en").topics), 5e-6)
    topics = {x.situation: x.topic for x in written.situations()}
    for line in written.situation_lines():
        if line.split == split and (topic := topics[line.situation]):
            task.learn(line.text, topic, 1.0)
    for does in written.acts():
        if does.split == split:
            task.learn(does.text, None, 1.0)
    for message in _quiet(split):
        task.learn(message.text, message.topic, LABELLED)
    for name, words in _named() if split == "train" else ():
        task.learn(words, name, NAMED)
    return task


def _named() -> Iterator[tuple[str, str]]:
    """Topics and the words that name them."""
    for language in get_args(Language):
        for name, topic in load(language).topics.items():
            yield from ((name, words) for words in topic.words)


def _tones(split: written.Split) -> Task:
    task = Task(TONES, 2e-5)
    for message in _quiet(split):
        task.learn(message.text, tone(message.emotions), LABELLED)
    for felt in written.messages():
        if felt.split == split:
            task.learn(felt.text, tone(felt.emotions), MESSAGES)
    return task


def tone(emotions: Sequence[Label]) -> str:
    """By the strongest emotion."""
    group = emotions[0].group
    return "glad" if group in GLAD else "hurts" if group in HURTING else "neither"


class Bags:
    """Texts as bags of known n-grams."""

    def __init__(self, texts: Sequence[str], rows: dict[str, int]) -> None:
        known = [[rows[ngram] for ngram in sorted(ngrams(text)) if ngram in rows] for text in texts]
        counts = torch.tensor([len(bag) for bag in known])
        self._rows = torch.tensor([row for bag in known for row in bag])
        self._starts = counts.cumsum(0) - counts
        self._lengths = counts.clamp(min=1).sqrt().unsqueeze(1)

    def logits(self, weight: Tensor, bias: Tensor) -> Tensor:
        """[texts, C]."""
        return embedding_bag(self._rows, weight, self._starts, mode="sum") / self._lengths + bias


def fitted(task: Task, rows: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Weight [V, C] and bias [C] under which the classes are likeliest. Convex, so the same every time."""
    bags, classes, weights = Bags(task.texts, rows), torch.tensor(task.classes), torch.tensor(task.weights)
    weight = torch.zeros(len(rows), len(task.names), requires_grad=True)
    bias = torch.zeros(len(task.names), requires_grad=True)

    def loss() -> Tensor:
        losses = cross_entropy(bags.logits(weight, bias), classes, reduction="none")
        return (losses * weights).sum() / weights.sum() + task.decay * weight.square().sum()

    minimise([weight, bias], loss, steps=STEPS, history=10)
    return weight.detach(), bias.detach()


def known(learned: Sequence[Task]) -> dict[str, int]:
    """The row of each n-gram that stands in enough texts."""
    counts = Counter(ngram for text in {text for task in learned for text in task.texts} for ngram in ngrams(text))
    return {ngram: row for row, ngram in enumerate(sorted(n for n, count in counts.items() if count >= SEEN))}


def main(
    output: Annotated[Path, typer.Option(help="The file that is written.")] = SHIPPED,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    learned, held = tasks("train"), tasks("dev")
    rows = known(learned)
    rows = telling(rows, [fitted(task, rows) for task in learned])
    console.print(f"{len(rows):,} n-grams")
    parts = [fitted(task, rows) for task in learned]
    for task, dev, (weight, bias) in zip(learned, held, parts, strict=True):
        right = Bags(dev.texts, rows).logits(weight, bias).argmax(1) == torch.tensor(dev.classes)
        console.print(f"{len(task.names)} classes, {len(task.texts):,} texts: {right.float().mean():.3f} of dev right")
    save(output, rows, [task.names for task in learned], parts)


def telling(rows: dict[str, int], parts: Sequence[tuple[Tensor, Tensor]]) -> dict[str, int]:
    """Those n-grams of which some column makes much, numbered anew."""
    share = torch.cat([weight.abs() / weight.abs().amax(0).clamp(min=1e-8) for weight, _ in parts], 1).amax(1)
    kept = (ngram for ngram, row in rows.items() if share[row] >= TELLING)
    return {ngram: row for row, ngram in enumerate(kept)}


def save(
    path: Path, rows: dict[str, int], names: Sequence[Sequence[str]], parts: Sequence[tuple[Tensor, Tensor]]
) -> None:
    """In 8 bits, each column in steps of its own."""
    weight = torch.cat([weight for weight, _ in parts], 1)
    scale = weight.abs().amax(0).clamp(min=1e-8) / 127
    tensors = {
        "weight": (weight / scale).round().to(torch.int8).contiguous(),
        "scale": scale,
        "bias": torch.cat([bias for _, bias in parts]),
    }
    metadata = {"ngrams": json.dumps(list(rows), ensure_ascii=False), "groups": json.dumps(names)}
    save_file(tensors, path, metadata=metadata)
    path.chmod(0o644)


if __name__ == "__main__":
    typer.run(main)
