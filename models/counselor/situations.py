"""Which situation of the bank a line speaks of: `python -m models.counselor.situations`.

The encoder's vectors of the bank's own lines teach a linear head, which then labels natural lines of public dialogues,
so that the small counselor learns to answer them with the bank's replies. A label is given up where the head is unsure,
where the demo classifier finds joy in a situation that is sad or the other way round, and where one of both speaks of
danger and the other does not. The labels lie under `models/runs`, with the lines: they are other people's words.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from models import written
from models.counselor import natural
from models.counselor.architecture import RUNS
from models.embeddings import embed
from models.readings import assessments
from models.train_classifier import PREFIX
from models.train_classifier import RUNS as ENCODERS
from models.written import Situation
from psychechat.demo.encoder import prepare
from psychechat.emotion import Label, Language, valence
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity

FILE = RUNS / "situations.jsonl.gz"
SURE = 0.9
"""Of the bank's dev lines that get a label, the share that must get the right one."""
OPEN = "open"
"""The label of a line whose situation is not known."""
SHORTEST, LONGEST = 6, 90
"""Characters of a natural line."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A seeker's line with what is told of it."""

    text: str
    language: Language
    situation: str
    labels: tuple[Label, ...]
    severity: Severity


class Finder:
    """The situation of a line, by the encoder and a head fitted on the bank."""

    def __init__(self, encoder: Path) -> None:
        from sklearn.linear_model import LogisticRegression

        self._encoder = encoder
        self.situations = {situation.situation: situation for situation in written.situations()}
        lines = [(line, name) for name, situation in self.situations.items() for line in situation.seeker_zh]
        train = [(line, name) for line, name in lines if written.split_of(line) == "train"]
        dev = [(line, name) for line, name in lines if written.split_of(line) == "dev"]
        self._head: Any = LogisticRegression(C=30.0, max_iter=2000)
        self._head.fit(self._vectors([line for line, _ in train]), [name for _, name in train])
        self.threshold, self.kept = self._surest(dev)

    def _surest(self, dev: Sequence[tuple[str, str]]) -> tuple[float, float]:
        """The lowest probability from which on SURE of the labels are right, and the share of lines that reach it."""
        found, sure = self._best([line for line, _ in dev])
        right = np.array([name == told for name, (_, told) in zip(found, dev, strict=True)])
        for threshold in np.arange(0.05, 0.95, 0.01):
            kept = sure >= threshold
            if kept.any() and right[kept].mean() >= SURE:
                return float(threshold), float(kept.mean())
        return 0.95, 0.0

    def __call__(self, texts: Sequence[str]) -> list[Situation | None]:
        """None where the head is unsure."""
        found, sure = self._best(texts)
        return [
            self.situations[name] if share >= self.threshold else None for name, share in zip(found, sure, strict=True)
        ]

    def _best(self, texts: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
        shares = self._head.predict_proba(self._vectors(texts))
        best = shares.argmax(1)
        return [str(self._head.classes_[i]) for i in best], shares[np.arange(len(best)), best]

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = embed(texts, self._encoder, PREFIX, "mean", RUNS / "vectors")
        scaled: NDArray[np.float32] = (vectors - vectors.mean(1, keepdims=True)) / vectors.std(1, keepdims=True)
        return scaled


def agrees(situation: Situation, labels: Sequence[Label], severity: Severity) -> bool:
    """Whether the situation's valence and danger are not against what the classifier found."""
    felt = valence(labels)
    if (situation.valence == "positive" and felt < 0) or (situation.valence == "negative" and felt > 0):
        return False
    return (situation.risk >= CRISIS) == (severity >= CRISIS)


def natural_lines(split: written.Split) -> Iterator[tuple[str, Language]]:
    """Seekers' lines that say enough: of our English exchanges, and of public dialogues without contact data."""
    seen: set[str] = set()
    for exchange in written.exchanges():
        text = exchange.turns[0]
        if exchange.language == "en" and exchange.split == split and len(text) <= 2 * LONGEST and text not in seen:
            seen.add(text)
            yield text, "en"
    for name in (f"cpsycoun/{split}", f"smilechat/{split}"):
        for row in natural.rows(name):
            said = (turn["text"] for turn in row["turns"][:6] if turn["role"] == "seeker")
            for text in (natural.short(words, LONGEST) for words in said):
                if len(text) >= SHORTEST and text not in seen and not natural.UNWANTED.search(text):
                    seen.add(text)
                    yield text, "zh"


def labelled(texts: Sequence[tuple[str, Language]], finder: Finder) -> Iterator[Labelled]:
    policy = Policy()
    found = finder([text for text, _ in texts])
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


def main(most: Annotated[int, typer.Option(help="Natural lines that are labelled.")] = 30_000) -> None:
    console = Console(stderr=True)
    finder = Finder(prepare(ENCODERS / "encoder", heads=None, console=console))
    console.print(f"sure from {finder.threshold:.2f} on: {finder.kept:.0%} of the bank's dev lines")
    own: list[tuple[str, Language]] = [
        (line, "zh")
        for situation in finder.situations.values()
        for line in situation.seeker_zh
        if written.split_of(line) == "train"
    ]
    texts = [*own, *list(natural_lines("train"))[:most]]
    FILE.parent.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    names = {line: name for name, situation in finder.situations.items() for line in situation.seeker_zh}
    with gzip.open(FILE, "wt", encoding="utf-8") as file:
        for line in labelled(texts, finder):
            name = names.get(line.text, line.situation)  # of the bank's own lines it is known
            counts[name] += 1
            told = {"text": line.text, "language": line.language, "situation": name, "severity": int(line.severity)}
            told["labels"] = [label.name() for label in line.labels]
            file.write(json.dumps(told, ensure_ascii=False) + "\n")
    console.print(f"{sum(counts.values()):,} lines, {counts[OPEN]:,} of them open")


if __name__ == "__main__":
    typer.run(main)
