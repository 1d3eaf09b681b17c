"""Which situation of the bank a line speaks of: `python -m models.counselor.situations`.

The encoder, with an adapter of its own, learns it from the bank's lines, and labels natural lines of public dialogues,
so that the small counselor learns to answer them with the bank's replies. A label is given up where the head is unsure,
where the demo classifier finds joy in a situation that is sad or the other way round, and where one of both speaks of
danger and the other does not. The labels lie under `models/runs`, with the lines: they are other people's words.
"""

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy

from models import written
from models.adapter import Adapted
from models.counselor import natural
from models.counselor.architecture import RUNS
from models.embeddings import MAX_LEN
from models.readings import assessments
from models.train_classifier import PREFIX
from models.train_classifier import RUNS as ENCODERS
from models.written import Situation
from psychechat.demo.encoder import prepare
from psychechat.emotion import Label, Language, valence
from psychechat.engines.vllm.windows import Windows
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity

FILE = RUNS / "situations.jsonl.gz"
SURE = 0.85
"""Of the bank's dev lines that get a label, the share that must get the right one."""
FROZEN, RANK, EPOCHS, BATCH = 6, 16, 3, 32
OPEN = "open"
"""The label of a line whose situation is not known."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A seeker's line with what is told of it."""

    text: str
    language: Language
    situation: str
    labels: tuple[Label, ...]
    severity: Severity


class Finder:
    """The situation of a line: the encoder with an adapter of its own, taught on the bank's lines and replies."""

    def __init__(self, encoder: Path, console: Console) -> None:
        self.situations = {situation.situation: situation for situation in written.situations()}
        self._names = list(self.situations)
        self._windows = Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), PREFIX, MAX_LEN)
        self._model = Adapted(encoder, FROZEN, RANK)
        self._head = torch.nn.Linear(self._model.heads.in_features, len(self._names))
        told = written.situation_lines()
        numbers = {name: number for number, name in enumerate(self._names)}
        self._fit([(x.text, numbers[x.situation]) for x in told if x.split == "train"], console)
        self.threshold, self.kept, self.right = self._surest(
            [(x.text, numbers[x.situation]) for x in told if x.split == "dev"]
        )

    def _fit(self, lines: Sequence[tuple[str, int]], console: Console) -> None:
        """The replies are learned from as well: what they say without a detail is what the situation is about."""
        replies = [
            (reply, number) for number, x in enumerate(self.situations.values()) for reply in (*x.reply_zh, *x.reply_en)
        ]
        rows = [(self._windows.cut(text)[0], number) for text, number in (*lines, *replies)]
        self._model.standardise([ids for ids, _ in rows])
        adapter = [weight for name, weight in self._model.trained().items() if not name.startswith("heads.")]
        groups = [{"params": adapter, "lr": 1e-3}, {"params": self._head.parameters(), "lr": 4e-3}]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
        steps = EPOCHS * (len(rows) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [1e-3, 4e-3], steps, pct_start=0.1)
        chance = random.Random(0)
        self._model.train()
        for _ in track(range(steps), description="Learning the situations", console=console):
            batch = chance.sample(rows, BATCH)
            shares = self._shares([ids for ids, _ in batch], kept=0.85)
            loss = cross_entropy(shares, torch.tensor([number for _, number in batch]), label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([*adapter, *self._head.parameters()], 1.0)
            optimiser.step()
            schedule.step()
        self._model.train(False)

    def _shares(self, rows: Sequence[Sequence[int]], kept: float = 1.0) -> Tensor:
        """Logits, [rows, situations]."""
        pooled = self._model.pooled(rows, [[(0, len(row) - 1)] for row in rows], kept)
        logits: Tensor = self._head(self._model.dropout((pooled - self._model.mean) / self._model.spread))
        return logits

    def _surest(self, dev: Sequence[tuple[str, int]]) -> tuple[float, float, float]:
        """The lowest probability from which on SURE of the labels are right, the share of lines that reach it, and the
        share of all lines whose likeliest situation is right."""
        found, sure = self._best([line for line, _ in dev])
        right = found == torch.tensor([number for _, number in dev])
        for threshold in (i / 100 for i in range(5, 95)):
            kept = sure >= threshold
            if kept.any() and float(right[kept].float().mean()) >= SURE:
                return threshold, float(kept.float().mean()), float(right.float().mean())
        return 0.95, 0.0, float(right.float().mean())

    def __call__(self, texts: Sequence[str]) -> list[Situation | None]:
        """None where it is unsure."""
        found, sure = self._best(texts)
        return [
            self.situations[self._names[number]] if share >= self.threshold else None
            for number, share in zip(found.tolist(), sure.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def _best(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Number of the likeliest situation and its probability, both [texts]."""
        rows = [self._windows.cut(text)[0] for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found, sure = torch.zeros(len(rows), dtype=torch.long), torch.zeros(len(rows))
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            shares = self._shares([rows[i] for i in batch]).softmax(1).max(1)
            found[batch], sure[batch] = shares.indices, shares.values
        return found, sure


def agrees(situation: Situation, labels: Sequence[Label], severity: Severity) -> bool:
    """Whether the situation's valence and danger are not against what the classifier found."""
    felt = valence(labels)
    if (situation.valence == "positive" and felt < 0) or (situation.valence == "negative" and felt > 0):
        return False
    return (situation.risk >= CRISIS) == (severity >= CRISIS)


def natural_lines(split: written.Split) -> Iterator[tuple[str, Language]]:
    """Seekers' lines that say enough: of our English exchanges, and of public dialogues without contact data."""
    seen: set[str] = set()
    for text in (x.turns[0] for x in written.exchanges() if x.language == "en" and x.split == split):
        if len(text) <= 2 * natural.LONGEST and text not in seen:
            seen.add(text)
            yield text, "en"
    for text in natural.seekers(split):
        if text not in seen:
            seen.add(text)
            yield text, "zh"


def labelled(texts: Sequence[tuple[str, Language]], finder: Finder | None) -> Iterator[Labelled]:
    policy = Policy()
    found = finder([text for text, _ in texts]) if finder else [None] * len(texts)
    read = assessments(prepare(ENCODERS / "encoder"), [text for text, _ in texts])
    for (text, language), situation, assessment in zip(texts, found, read, strict=True):
        labels = tuple(emotion.label for emotion in assessment.emotions(policy.emotion_thresholds.by_group))
        severity = assessment.severity(policy.risk.by_severity)
        known = situation is not None and agrees(situation, labels, severity)
        name = situation.situation if situation is not None and known else OPEN
        yield Labelled(text, language, name, labels, severity)


def read(file: Path = FILE) -> list[Labelled]:
    """What `main` wrote."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        return [
            Labelled(
                row["text"],
                row["language"],
                row["situation"],
                tuple(map(Label.parse, row["labels"])),
                Severity(row["severity"]),
            )
            for row in rows
        ]


def _taught(console: Console) -> Finder:
    finder = Finder(prepare(ENCODERS / "encoder", heads=None, console=console), console)
    console.print(f"of the bank's dev lines {finder.right:.0%} are found", end="; ")
    console.print(f"sure from {finder.threshold:.2f} on: {finder.kept:.0%}")
    return finder


def main(
    most: Annotated[int, typer.Option(help="Natural lines that are labelled.")] = 5_000,
    find: Annotated[bool, typer.Option(help="Find their situations; without it all of them are open.")] = True,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    console = Console(stderr=True)
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    finder = _taught(console) if find else None
    own = {x.text: x for x in written.situation_lines() if x.split == "train"}
    texts = [*((x.text, x.language) for x in own.values()), *islice(natural_lines("train"), most)]
    FILE.parent.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with gzip.open(FILE, "wt", encoding="utf-8") as file:
        for line in labelled(texts, finder):
            name = own[line.text].situation if line.text in own else line.situation
            if name == OPEN and line.severity >= CRISIS:
                continue  # the open reply is none to a crisis
            counts[name] += 1
            told = {"text": line.text, "language": line.language, "situation": name, "severity": int(line.severity)}
            told["labels"] = [label.name() for label in line.labels]
            file.write(json.dumps(told, ensure_ascii=False) + "\n")
    console.print(f"{sum(counts.values()):,} lines, {counts[OPEN]:,} of them open")


if __name__ == "__main__":
    typer.run(main)
