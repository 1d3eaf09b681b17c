"""Train the classifier's heads: `python -m models.train_heads`.

Embeds the texts once with the frozen demo encoder (kept under `models/runs`, so an interrupted run resumes), fits both
heads, calibrates each head's temperature on the dev parts and folds it in, chooses thresholds, and writes the heads,
their figures and their card.
"""

import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from models.card import render
from models.data import DataMissing, Example, load
from models.embeddings import RUNS, embed
from models.heads import WIDTHS, Heads, Targets, fit, temperatures
from models.scores import choose_emotion_threshold, choose_risk_thresholds, emotion_scores, risk_scores
from psychechat.demo.encoder import HEADS, prepare
from psychechat.risk import Severity

RESULTS = Path(__file__).with_name("results") / "heads.json"
CARD = HEADS.with_name("heads-card.md")
DECAY = 1e-2
FOLDS = 4
RECALL = 0.9
"""What the ideation threshold must reach on held-out folds."""

EMOTION_SETS = ("goemotions", "xed/en", "brighter/en", "brighter/zh", "psychechat")
RISK_SETS = ("psysuicide", "own/en", "own/zh", "counsel_chat", "smilechat")


class Data:
    """Examples, their vectors and their targets, row by row."""

    def __init__(self, examples: list[Example], vectors: Tensor) -> None:
        self.examples = examples
        self.vectors = vectors
        self.targets = Targets(
            emotion=torch.tensor([example.emotion for example in examples]),
            risk=torch.tensor([example.risk for example in examples]),
            weight=torch.tensor([example.weight for example in examples]),
            risk_weight=torch.tensor([example.risk_weight for example in examples]),
        )

    def __getitem__(self, rows: list[int]) -> "Data":
        return Data([self.examples[i] for i in rows], self.vectors[rows])

    def rows(self, split: str, *sources: str) -> list[int]:
        return [i for i, e in enumerate(self.examples) if e.split == split and (not sources or e.source in sources)]

    def predict(self, heads: Heads) -> tuple[Tensor, Tensor]:
        """Probabilities: emotion [texts, 8, 4], risk [texts, 5]."""
        emotion, risk = heads.logits(self.vectors)
        return emotion.softmax(-1), risk.softmax(-1)


def main(
    seed: Annotated[int, typer.Option(help="Decides the sample of each set and the variants of our sentences.")] = 0,
    prefix: Annotated[str, typer.Option(help="What the encoder reads before each text.")] = "query: ",
    write: Annotated[bool, typer.Option(help="Replace the project's heads, figures and card.")] = True,
) -> None:
    console = Console(stderr=True)
    try:
        examples = load(seed)
    except DataMissing as missing:
        console.print(str(missing))
        raise typer.Exit(1) from None
    encoder = prepare(RUNS / "encoder", console=console)
    data = Data(examples, torch.from_numpy(embed([example.text for example in examples], encoder, prefix)))
    train, dev = data[data.rows("train")], data[data.rows("dev")]
    with console.status("Fitting"):
        heads = fit(train.vectors, train.targets, DECAY)
        emotion_temperature, risk_temperature = temperatures(heads, dev.vectors, dev.targets)
        heads = heads.tempered(emotion_temperature, risk_temperature)
        threshold = choose_emotion_threshold(list(_emotion(dev, heads)))
        held_out = list(_out_of_fold(train, risk_temperature))
        own = dev[dev.rows("dev", "own/en", "own/zh")]
        risk_thresholds = choose_risk_thresholds([*held_out, (own.predict(heads)[1], own.targets.risk)], RECALL)
    report = {
        "command": f"python -m models.train_heads --seed {seed} --prefix {prefix!r}",
        "machine": f"{platform.machine()}, torch {version('torch')}, tokenizers {version('tokenizers')}",
        "prefix": prefix,
        "texts": {"train": len(train.examples), "dev": len(dev.examples)},
        "temperatures": {"emotion": round(emotion_temperature, 3), "risk": round(risk_temperature, 3)},
        "thresholds": {
            "emotion": round(threshold, 2),
            "risk": {severity.label: value for severity, value in risk_thresholds.items()},
        },
        "dev": _scores(dev, heads, threshold, risk_thresholds),
    }
    console.print_json(json.dumps(report))
    if write:
        metadata = {"groups": list(WIDTHS), "pooling": "mean", "prefix": prefix}
        tensors = {"weight": heads.weight.contiguous(), "bias": heads.bias.contiguous()}
        save_file(tensors, HEADS, metadata={"psychechat": json.dumps(metadata)})
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
        HEADS.chmod(0o644)
        CARD.write_text(render(report))


def _emotion(dev: Data, heads: Heads) -> Iterator[tuple[Tensor, Tensor]]:
    for source in EMOTION_SETS:
        part = dev[dev.rows("dev", source)]
        yield part.predict(heads)[0], part.targets.emotion


def _out_of_fold(train: Data, temperature: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Risk probabilities of all psysuicide train texts, each from heads that have not seen it."""
    own = train.rows("train", "psysuicide")
    probabilities, truths = [], []
    for fold in range(FOLDS):
        left_out = own[fold::FOLDS]
        without = train[sorted(set(range(len(train.examples))) - set(left_out))]
        part = train[left_out]
        probabilities.append(part.predict(fit(without.vectors, without.targets, DECAY).tempered(1, temperature))[1])
        truths.append(part.targets.risk)
    yield torch.cat(probabilities), torch.cat(truths)


def _scores(dev: Data, heads: Heads, threshold: float, thresholds: dict[Severity, float]) -> dict[str, Any]:
    scores: dict[str, Any] = {"emotion": {}, "risk": {}}
    for source in (*EMOTION_SETS, "own/en", "own/zh"):
        part = dev[dev.rows("dev", source)]
        scores["emotion"][source] = emotion_scores(part.predict(heads)[0], part.targets.emotion, threshold)
    for source in RISK_SETS:
        part = dev[[i for i in dev.rows("dev", source) if dev.examples[i].risk >= 0]]
        scores["risk"][source] = risk_scores(part.predict(heads)[1], part.targets.risk, thresholds)
    places = sorted({tag for example in dev.examples for tag in example.tags})
    for place in places:  # the set's label goes with where a text comes from: see its README
        part = dev[[i for i, example in enumerate(dev.examples) if place in example.tags]]
        scores["risk"][f"psysuicide, {place}"] = risk_scores(part.predict(heads)[1], part.targets.risk, thresholds)
    return _rounded(scores)


def _rounded(scores: dict[str, Any]) -> dict[str, Any]:
    return {k: _rounded(v) if isinstance(v, dict) else round(v, 3) for k, v in scores.items()}


if __name__ == "__main__":
    typer.run(main)
