"""Train the demo classifier: `python -m models.train_classifier`.

A low-rank adapter on the encoder's upper layers and both heads, in one loss over all sets. The lower layers are frozen,
so their states are computed once; they and a checkpoint every few minutes lie under `models/runs`, and an interrupted
run goes on where it stopped. At the end the heads are calibrated on the dev texts, and the thresholds that the server's
policy should have are printed. `python -m models.evaluate` measures the result.
"""

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from models.adapter import Upper
from models.calibration import calibrated, thresholds
from models.data import DataMissing, Example, load
from models.embeddings import embed
from models.heads import WIDTHS, Heads, Targets, emotion_nll, emotion_weighting, risk_nll, risk_weighting
from models.predictions import predict
from models.states import States
from psychechat.demo.encoder import HEADS, prepare
from psychechat.engines.vllm.windows import Windows

RUNS = Path(__file__).with_name("runs") / "classifier"
PREFIX = "query: "
MAX_LEN = 192
TOKENS = 1536
"""A step's, padding included."""
VISITS = {"goemotions": 0.5, "xed/en": 0.5, "brighter/en": 2.0, "psychechat": 2.0, "smilechat": 0.5}
"""How often an epoch visits a text of a set, if not once. What the set weighs in all stays the same."""
TOKENS_KEPT = 0.9
"""Of each text, at random, whenever it is visited: the risk texts are few and soon known by heart."""
SMOOTHING = 0.05
"""Of the severities' targets: without it they end up certain of everything."""
EPOCHS = [3, 1]
"""Of each cycle: the learning rate rises and falls once."""
CYCLE_PEAK = 0.5
"""The full learning rate of a cycle, of the cycle's before."""
EMOTION_SHARE = 0.4
"""What each of the eight groups weighs in the loss; risk weighs 1."""
SAVE_EVERY = 120.0
"""Seconds between checkpoints."""


class Rows:
    """The train part, text by text: token ids, the lower layers' states, targets, and what each target weighs."""

    def __init__(self, examples: list[Example], ids: list[list[int]], states: list[Tensor]) -> None:
        self.ids, self.states = ids, states
        self.targets = Targets.of(examples)
        self.visits = [VISITS.get(example.source, 1.0) for example in examples]
        spread = len(examples) / torch.tensor(self.visits)
        self.emotion_weights = emotion_weighting(self.targets) * spread.unsqueeze(1) * EMOTION_SHARE
        self.risk_weights = risk_weighting(self.targets) * spread

    def batches(self, seed: int, epoch: int) -> list[list[int]]:
        """An epoch's batches of texts of like length, in an order that depends on seed and epoch only."""
        chance = random.Random(f"{seed} {epoch}")
        order = [i for i, visits in enumerate(self.visits) for _ in range(int(visits + chance.random()))]
        chance.shuffle(order)
        batches: list[list[int]] = []
        for first in range(0, len(order), 4096):
            batches.append([])
            for i in sorted(order[first : first + 4096], key=lambda i: len(self.ids[i])):
                if (len(batches[-1]) + 1) * len(self.ids[i]) > TOKENS:
                    batches.append([])
                batches[-1].append(i)
        chance.shuffle(batches)
        return batches

    def loss(self, model: Upper, batch: list[int]) -> Tensor:
        emotion, risk = model([_thinned(self.states[i]) for i in batch])
        emotion_loss = emotion_nll(emotion, self.targets.emotion[batch]) * self.emotion_weights[batch]
        risk_loss = risk_nll(risk, self.targets.risk[batch], SMOOTHING) * self.risk_weights[batch]
        return (emotion_loss.sum() + risk_loss.sum()) / len(batch)


def main(
    seed: Annotated[int, typer.Option(help="Decides the sample, the order and the first weights.")] = 0,
    epochs: Annotated[list[int], typer.Option(help="Passes over the train part; again for one more cycle.")] = EPOCHS,
    layers: Annotated[int, typer.Option(help="How many upper layers are adapted.")] = 6,
    rank: Annotated[int, typer.Option(help="Of the adapter.")] = 16,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
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
    first = int(json.loads((encoder / "config.json").read_text())["num_hidden_layers"]) - layers
    windows = Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), PREFIX, MAX_LEN)
    learned = [example for example in examples if example.split == "train"]
    ids = [windows.cut(example.text)[0] for example in learned]
    rows = Rows(learned, ids, States(RUNS / f"states-{encoder.name}-{first}", encoder, first).of(ids))
    model = Upper(encoder, first, rank)
    model.standardise(random.Random(seed).sample(rows.states, min(2000, len(rows.states))))
    for cycle in range(len(epochs)):
        name = "+".join(map(str, epochs[: cycle + 1]))
        checkpoint = RUNS / f"run-{seed}-layers-{layers}-rank-{rank}-epochs-{name}.pt"
        passes = range(sum(epochs[:cycle]), sum(epochs[: cycle + 1]))
        train(model, rows, checkpoint, seed, passes, CYCLE_PEAK**cycle, console)
    write(finished(model, [example for example in examples if example.split == "dev"], console), model, HEADS)


def finished(model: Upper, dev: list[Example], console: Console) -> Heads:
    """The calibrated heads, by the vectors of the encoder as the server will load it."""
    raw = RUNS / "uncalibrated.safetensors"
    write(model.linear(), model, raw)
    folder = prepare(RUNS / "encoder", heads=raw, console=console)
    vectors = torch.from_numpy(embed([example.text for example in dev], folder, PREFIX, "mean", RUNS / "vectors"))
    heads = calibrated(model.linear(), vectors, dev)
    emotion, risk = thresholds(predict(heads, vectors, dev))
    console.print(f"Thresholds for the policy: emotion {emotion:.2f}, ", end="")
    console.print(", ".join(f"{severity.label} {value}" for severity, value in risk.items()))
    return heads


def write(heads: Heads, model: Upper, path: Path) -> None:
    settings = {"groups": list(WIDTHS), "pooling": "mean", "prefix": PREFIX}
    tensors = {"weight": heads.weight.contiguous(), "bias": heads.bias.contiguous()} | model.low_rank()
    save_file(tensors, path, metadata={"psychechat": json.dumps(settings)})
    path.chmod(0o644)


def train(
    model: Upper, rows: Rows, checkpoint: Path, seed: int, epochs: Sequence[int], peak: float, console: Console
) -> None:
    """Trains one cycle of the learning rate, from its checkpoint on if there is one."""
    heads = [p for name, p in model.trained().items() if name.startswith("heads.")]
    adapter = [p for name, p in model.trained().items() if not name.startswith("heads.")]
    groups = [{"params": adapter, "lr": 1e-3 * peak}, {"params": heads, "lr": 2e-3 * peak}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    batches = [batch for epoch in epochs for batch in rows.batches(seed, epoch)]
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


def _thinned(states: Tensor) -> Tensor:
    """Without some of the tokens, never all."""
    kept = torch.rand(len(states)) < TOKENS_KEPT
    return states[kept] if kept.any() else states


def _rate(progress: float) -> float:
    """Of the full learning rate: up for the first twentieth, then down along a cosine."""
    return min(1.0, progress * 20 + 0.001) * (0.5 + 0.5 * math.cos(math.pi * progress))


if __name__ == "__main__":
    typer.run(main)
