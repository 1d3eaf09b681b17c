"""Train the demo classifier: `python -m models.train_classifier`.

A low-rank adapter on the encoder's layers and the three heads, in one loss over all sets. A checkpoint every few
minutes lies under `models/runs`, and an interrupted run goes on where it stopped. At the end the heads are calibrated
on the dev texts, and the thresholds that the server's policy should have are printed. `python -m models.evaluate`
measures the result.
"""

import json
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from models.adapter import Adapted, Span
from models.calibration import calibrated, draft_threshold, thresholds
from models.data import GROUPS, MASKED, DataMissing, Example, load
from models.embeddings import MAX_LEN
from models.heads import (
    Heads,
    Targets,
    class_nll,
    draft_weighting,
    emotion_nll,
    emotion_weighting,
    risk_weighting,
)
from models.predictions import predict_read
from models.readings import read
from psychechat.demo.encoder import HEADS, prepare
from psychechat.engines.vllm.windows import DRAFT_WIDTHS, Windows

RUNS = Path(__file__).with_name("runs") / "classifier"
PREFIX = "query: "
WINDOW = 128
"""Tokens of what the server reads at once of a text: heads that learned from short ones lose one grave sentence among
fifty."""
TOKENS = 1536
"""A step's, padding included."""
TOKENS_KEPT = 0.9
"""Of each text, at random, whenever it is visited: the risk texts are few and soon known by heart."""
SMOOTHING = 0.05
"""Of the severities' targets: without it they end up certain of everything."""
FROZEN, RANK = 0, 32
EMOTION_SHARE = 0.4
"""What each of the eight groups weighs in the loss."""
WHOLE = 0.3
"""Of the weight of its sentence: a text that holds it among everyday ones. The server takes the worst reading."""
LATER = ("labelled/en", "labelled/zh")
"""What `models.train_emotion` alone learns from: a cycle with these made emotion better and risk worse."""
SAVE_EVERY = 120.0
"""Seconds between checkpoints."""


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate."""

    epochs: int
    peak: float
    """Of the full learning rate."""
    risk: float
    draft: float
    """What these heads weigh in the loss."""
    visits: Mapping[str, float]
    """How often an epoch visits a text of a set, if not once. What the set weighs in all stays the same."""


CYCLES = (
    Cycle(
        epochs=3,
        peak=1.0,
        risk=1.0,
        draft=0.5,
        visits={"goemotions": 0.5, "xed/en": 0.5, "brighter/en": 2.0, "psychechat": 2.0, "smilechat": 0.5},
    ),
    # The written lines are few and hard. Beside a hundred thousand texts they were not learned in the first cycle.
    Cycle(
        epochs=1,
        peak=0.6,
        risk=4.0,
        draft=1.0,
        visits={"goemotions": 0.2, "xed/en": 0.2, "xed/zh": 0.3, "own/en": 0.5, "own/zh": 0.5, "smilechat": 0.5}
        | {"psysuicide": 2.0, "psychechat": 2.0, "lines/en": 4.0, "lines/zh": 4.0, "composed/en": 2.0}
        | {"composed/zh": 2.0, "exchanges/en": 2.0, "exchanges/zh": 3.0, "bank/zh": 2.0, "drafts/en": 1.5},
    ),
    # All that was written, and of the other sets as much as keeps them from being forgotten.
    Cycle(
        epochs=4,
        peak=0.6,
        risk=4.0,
        draft=1.0,
        visits={"goemotions": 0.1, "xed/en": 0.1, "xed/zh": 0.15, "brighter/en": 0.5, "brighter/zh": 0.5}
        | {"own/en": 0.1, "own/zh": 0.1, "smilechat": 0.3, "counsel_chat": 0.5, "dialogue_safety": 0.2}
        | {"psysuicide": 1.5, "psychechat": 1.5, "lines/en": 1.5, "lines/zh": 1.5, "composed/en": 0.5}
        | {"composed/zh": 0.5, "messages/en": 1.5, "messages/zh": 1.5, "exchanges/en": 0.5, "drafts/en": 0.4}
        | {"exchanges/zh": 0.5, "drafts/zh": 0.4, "bank/zh": 0.4},
    ),
    # The same beside twins, messages that differ in nothing but the danger. Few visits: what was seen six times is
    # known by heart, and then teaches nothing.
    Cycle(
        epochs=1,
        peak=0.6,
        risk=4.0,
        draft=1.0,
        visits={"goemotions": 0.1, "xed/en": 0.1, "xed/zh": 0.15, "brighter/en": 1.0, "brighter/zh": 1.0}
        | {"own/en": 0.05, "own/zh": 0.05, "smilechat": 0.3, "counsel_chat": 0.5, "dialogue_safety": 0.2}
        | {"psysuicide": 1.5, "psychechat": 1.5, "lines/en": 1.0, "lines/zh": 1.0, "twins/en": 2.0}
        | {"twins/zh": 2.0, "composed/en": 0.3, "composed/zh": 0.3, "messages/en": 1.0, "messages/zh": 1.0}
        | {"exchanges/en": 0.7, "exchanges/zh": 0.7, "drafts/en": 0.5, "drafts/zh": 0.5, "bank/zh": 0.4},
    ),
)


@dataclass(frozen=True, slots=True)
class Item:
    """What one text teaches: token ids, the spans of them that are read, and for each span the row of its targets."""

    ids: list[int]
    spans: tuple[Span, ...]
    first: int
    """Row of the first span's targets; the others' follow."""


class Rows:
    """The train part, text by text, and what each reading of it is to say and weighs."""

    def __init__(self, examples: list[Example], windows: Windows, cycle: Cycle) -> None:
        self.items: list[Item] = []
        told: list[Example] = []
        for example in examples:
            ids, read = readings(example, windows)
            self.items.append(Item(ids, tuple(span for span, _ in read), len(told)))
            told += (reading for _, reading in read)
        self.visits = [cycle.visits.get(example.source, 1.0) for example in examples]
        self.targets = Targets.of(told)
        spread = len(examples) / torch.tensor([cycle.visits.get(reading.source, 1.0) for reading in told])
        self.emotion_weights = emotion_weighting(self.targets) * spread.unsqueeze(1) * EMOTION_SHARE
        self.risk_weights = risk_weighting(self.targets) * spread * cycle.risk
        self.draft_weights = draft_weighting(self.targets) * spread * cycle.draft

    def batches(self, seed: int, epoch: int) -> list[list[int]]:
        """An epoch's batches of texts of like length, in an order that depends on seed and epoch only."""
        chance = random.Random(f"{seed} {epoch}")
        order = [i for i, visits in enumerate(self.visits) for _ in range(int(visits + chance.random()))]
        chance.shuffle(order)
        batches: list[list[int]] = []
        for first in range(0, len(order), 4096):
            batches.append([])
            for i in sorted(order[first : first + 4096], key=lambda i: len(self.items[i].ids)):
                if (len(batches[-1]) + 1) * len(self.items[i].ids) > TOKENS:
                    batches.append([])
                batches[-1].append(i)
        chance.shuffle(batches)
        return batches

    def loss(self, model: Adapted, batch: list[int]) -> Tensor:
        items = [self.items[i] for i in batch]
        emotion, risk, draft = model([item.ids for item in items], [item.spans for item in items], TOKENS_KEPT)
        read = torch.cat([torch.arange(item.first, item.first + len(item.spans)) for item in items])
        loss = (emotion_nll(emotion, self.targets.emotion[read]) * self.emotion_weights[read]).sum()
        loss = loss + (class_nll(risk, self.targets.risk[read], SMOOTHING) * self.risk_weights[read]).sum()
        loss = loss + (class_nll(draft, self.targets.draft[read], SMOOTHING) * self.draft_weights[read]).sum()
        return loss / len(batch)


def readings(example: Example, windows: Windows) -> tuple[list[int], list[tuple[Span, Example]]]:
    """Token ids of one window, and what each span of it teaches: the whole, and sentences of known risk.

    It is a text's first window, or the one with its grave sentence.
    """
    if example.draft:
        pair = windows.pair(example.text, example.draft)
        return pair.ids, [(pair.sentences[0], example)]
    marked: Span | None = None
    if example.marked and example.by_sentence:
        window, marked = windows.holding(example.text, example.marked)
    else:
        window = windows.with_sentences(example.text)[0]
    whole = 0, len(window.ids) - 1
    if not example.by_sentence or not window.sentences:
        return window.ids, [(whole, example)]
    told = replace(example, emotion=(MASKED,) * len(GROUPS))
    other = replace(told, risk=0)
    if marked is None:
        return window.ids, [(whole, example), *((span, other) for span in window.sentences)]
    read = [(whole, replace(example, risk_weight=example.risk_weight * WHOLE)), (marked, told)]
    apart = (span for span in window.sentences if span[0] > marked[1] or span[1] < marked[0])
    return window.ids, [*read, *((span, other) for span in apart)]


def main(
    seed: Annotated[int, typer.Option(help="Decides the sample, the order and the first weights.")] = 0,
    frozen: Annotated[int, typer.Option(help="How many of the lowest layers stay as they are.")] = FROZEN,
    rank: Annotated[int, typer.Option(help="Of the adapter.")] = RANK,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    start: Annotated[Path | None, typer.Option(help="Heads to go on from: the last cycle alone is run.")] = None,
    blend: Annotated[
        tuple[Path, float] | None, typer.Option(help="Heads of another training, and their share of the weights.")
    ] = None,
    to: Annotated[Path, typer.Option(help="The file of heads and adapter that is written.")] = HEADS,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        examples = load(seed)
    except DataMissing as missing:
        console.print(str(missing))
        raise typer.Exit(1) from None
    encoder = prepare(RUNS / "encoder", heads=None, console=console)
    windows = Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), PREFIX, MAX_LEN, window=WINDOW)
    learned = [example for example in examples if example.split == "train" and example.source not in LATER]
    model = Adapted(encoder, frozen, rank)
    sample = random.Random(seed).sample(learned, min(2000, len(learned)))
    rows = [windows.cut(example.text)[0] for example in sample]
    if start:
        model.resume(start, rows)
    else:
        model.standardise(rows)
    first = len(CYCLES) if start else 1
    for number, cycle in enumerate(CYCLES[first - 1 :], start=first):
        checkpoint = RUNS / f"run-{seed}-frozen-{frozen}-rank-{rank}-cycle-{number}{'-on' if start else ''}.pt"
        train(model, Rows(learned, windows, cycle), checkpoint, seed, cycle, console)
    if blend:
        model.blend(*blend)
    write(finished(model, [example for example in examples if example.split == "dev"], console), model, to)


def finished(model: Adapted, dev: list[Example], console: Console) -> Heads:
    """The calibrated heads, by the vectors of the encoder as the server will load it."""
    raw = RUNS / "uncalibrated.safetensors"
    write(model.linear(), model, raw)
    folder = prepare(RUNS / "encoder", heads=raw, console=console)
    vectors = read(folder, dev)
    heads = calibrated(model.linear(), vectors, dev)
    texts = [i for i, example in enumerate(dev) if not example.draft]
    drafts = [i for i, example in enumerate(dev) if example.draft]
    emotion, risk = thresholds(predict_read(heads, vectors.of(texts), [dev[i] for i in texts]))
    hurting = draft_threshold(heads, vectors.of(drafts), [dev[i] for i in drafts])
    console.print("Thresholds for the policy: ", end="")
    console.print(", ".join(f"{group} {value:.2f}" for group, value in emotion.items()), end="; ")
    console.print(", ".join(f"{severity.label} {value}" for severity, value in risk.items()), end="; ")
    console.print(f"a draft hurts from {hurting:.2f} on")
    return heads


def write(heads: Heads, model: Adapted, path: Path) -> None:
    settings = {"groups": list(DRAFT_WIDTHS), "pooling": "mean", "prefix": PREFIX, "window": WINDOW}
    tensors = {"weight": heads.weight.contiguous(), "bias": heads.bias.contiguous()} | model.low_rank()
    save_file(tensors, path, metadata={"psychechat": json.dumps(settings)})
    path.chmod(0o644)


def train(model: Adapted, rows: Rows, checkpoint: Path, seed: int, cycle: Cycle, console: Console) -> None:
    """Trains one cycle, from its checkpoint on if there is one."""
    heads = [p for name, p in model.trained().items() if name.startswith("heads.")]
    adapter = [p for name, p in model.trained().items() if not name.startswith("heads.")]
    groups = [{"params": adapter, "lr": 1e-3 * cycle.peak}, {"params": heads, "lr": 2e-3 * cycle.peak}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    batches = [batch for epoch in range(cycle.epochs) for batch in rows.batches(seed, epoch)]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step / len(batches)))
    done, mean = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        done, mean = saved["step"], saved["loss"]
        model.load_state_dict(saved["model"], strict=False)
        if done == saved["of"]:
            return
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
    model.train()
    saved_at = time.monotonic()
    with Progress(*Progress.get_default_columns(), console=console) as progress:
        task = progress.add_task("Training", total=len(batches), completed=done)
        for step, batch in enumerate(batches[done:], start=done + 1):
            loss = rows.loss(model, batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([*heads, *adapter], 1.0)
            optimiser.step()
            schedule.step()
            mean += (float(loss.detach()) - mean) * max(0.01, 1 / step)
            progress.update(task, completed=step, description=f"Training, loss {mean:.3f}")
            if time.monotonic() - saved_at > SAVE_EVERY or step == len(batches):
                state = {"step": step, "of": len(batches), "loss": mean, "model": model.learned()}
                state |= {"optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
                torch.save(state, checkpoint.with_suffix(".part"))
                checkpoint.with_suffix(".part").rename(checkpoint)
                saved_at = time.monotonic()
                console.log(f"step {step:,} of {len(batches):,}, loss {mean:.3f}")
    model.train(False)


def _rate(progress: float) -> float:
    """Of the full learning rate: up for the first twentieth, then down along a cosine."""
    return min(1.0, progress * 20 + 0.001) * (0.5 + 0.5 * math.cos(math.pi * progress))


if __name__ == "__main__":
    typer.run(main)
