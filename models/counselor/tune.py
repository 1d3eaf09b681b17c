"""Tune SmolLM2 into the English counselor: `python -m models.counselor.tune`.

An adapter on all linear layers learns every stage of the exchanges in `models/data`, with loss on the answers alone.
Several exchanges are one row, so that the system text is computed once for all of them; each step is one row. A
checkpoint every few minutes lies under `models/runs`, and an interrupted run goes on where it stopped; run with more
epochs, it is another run. At the end the adapter is written that `psychechat.demo.smollm2` merges.
"""

import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlamaForCausalLM
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models import written
from models.counselor import architecture, lora, packing
from models.counselor.examples import Encoder, Example, Renderer, of_exchange
from models.counselor.packing import Row
from psychechat.demo.smollm2 import ADAPTER, prepare

RUNS = architecture.RUNS / "smollm2"
TOKENS = 1200
"""A row is closed once it has this many: some four exchanges."""
PEAK, FLOOR, WARMUP = 3e-4, 0.05, 0.03
"""The learning rate; its end as a share of it; the share of the steps in which it rises."""
ARTFUL = 0.25
"""Share of the exchanges whose reply is not taught that an epoch sees, for the other stages."""
SAVE_EVERY = 180.0
"""Seconds between checkpoints."""


def main(
    seed: Annotated[int, typer.Option(help="Decides the order, what a classifier is said to find, first weights.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the exchanges.")] = 2,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    start: Annotated[Path | None, typer.Option(help="An adapter to go on from. Without it the model as it is.")] = None,
    to: Annotated[Path, typer.Option(help="The adapter that is written.")] = ADAPTER,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    folder = prepare(RUNS / "model", adapter=None, console=console)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, TokenizersBackend)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation=packing.NAME)
    lora.adapt(model)
    if start:
        lora.load(model, start)
    rows = list(epoch_rows(tokenizer, seed, epochs))
    console.print(f"{len(rows):,} rows, {sum(map(len, rows)):,} tokens")
    train(model, rows, RUNS / f"run-{seed}-epochs-{epochs}.pt", console)
    lora.save(model, to)
    to.chmod(0o644)
    told = dev_loss(model, tokenizer, seed)
    console.print(json.dumps(told, indent=1))


def epoch_rows(tokenizer: TokenizersBackend, seed: int, epochs: int, split: written.Split = "train") -> Iterator[Row]:
    """The rows of all epochs, in an order that depends on the seed only."""
    render, encode = Renderer(tokenizer), Encoder(tokenizer)
    exchanges = [x for x in written.exchanges() if x.language == "en" and x.split == split]
    for epoch in range(epochs):
        rng = random.Random(f"{seed} {split} {epoch}")
        rng.shuffle(exchanges)
        told = [exchange for exchange in exchanges if exchange.is_plain or rng.random() < ARTFUL]
        yield from packed((list(of_exchange(render, exchange, rng)) for exchange in told), encode)


def packed(turns: Iterator[list[Example]], encode: Encoder) -> Iterator[Row]:
    """Whole exchanges together, as many as make a row."""
    held: list[Example] = []
    for examples in turns:
        held += examples
        row = packing.pack(held, encode)
        if len(row) >= TOKENS:
            yield row
            held = []
    if held:
        yield packing.pack(held, encode)


def train(model: LlamaForCausalLM, rows: Sequence[Row], checkpoint: Path, console: Console) -> None:
    """A step a row, from the checkpoint on if there is one."""
    parameters = list(lora.trained(model).values())
    optimiser = torch.optim.AdamW(parameters, lr=PEAK, weight_decay=0.0, betas=(0.9, 0.98))
    done, mean, seconds = 0, 0.0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        done, mean, seconds = saved["step"], saved["loss"], saved["seconds"]
        for parameter, value in zip(parameters, saved["adapter"], strict=True):
            parameter.data.copy_(value)
        optimiser.load_state_dict(saved["optimiser"])
    model.train()
    began = saved_at = time.monotonic()
    tokens = 0
    for step, row in enumerate(rows[done:], start=done + 1):
        for group in optimiser.param_groups:
            group["lr"] = PEAK * share(step / len(rows))
        loss = cross_entropy(packing.logits(model, row).float(), torch.tensor(row.targets))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        mean += (float(loss.detach()) - mean) * max(0.02, 1 / step)
        tokens += len(row)
        if time.monotonic() - saved_at > SAVE_EVERY or step == len(rows):
            spent = seconds + time.monotonic() - began
            torch.save(
                {
                    "step": step,
                    "loss": mean,
                    "seconds": spent,
                    "adapter": [parameter.detach() for parameter in parameters],
                    "optimiser": optimiser.state_dict(),
                },
                checkpoint.with_suffix(".part"),
            )
            checkpoint.with_suffix(".part").rename(checkpoint)
            saved_at = time.monotonic()
            rate = tokens / (saved_at - began)
            console.log(f"step {step:,} of {len(rows):,}, loss {mean:.3f}, {rate:.0f} tokens/s, {spent / 60:.0f} min")
    model.train(False)


def share(progress: float) -> float:
    """Of the full learning rate: up in the first steps, then down along a cosine."""
    return min(1.0, progress / WARMUP) * (FLOOR + (1 - FLOOR) * (0.5 + 0.5 * math.cos(math.pi * progress)))


@torch.no_grad()
def dev_loss(model: LlamaForCausalLM, tokenizer: TokenizersBackend, seed: int) -> dict[str, float]:
    """Nats a token of each stage's answers, on exchanges that were not learned from."""
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for row in epoch_rows(tokenizer, seed, 1, "dev"):
        values = cross_entropy(packing.logits(model, row).float(), torch.tensor(row.targets), reduction="none")
        for kind, value in zip(row.kinds, values.tolist(), strict=True):
            sums[kind].append(value)
    return {kind: round(math.fsum(values) / len(values), 3) for kind, values in sorted(sums.items())}


if __name__ == "__main__":
    typer.run(main)
