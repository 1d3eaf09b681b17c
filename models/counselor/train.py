"""Train nano: `python -m models.counselor.train --minutes 58 --threads 2`, after `situations --no-find` beside it.

It goes on from the weights that ship, with their tokenizer; with `--fresh` it starts from nothing. One row of packed
conversations a step, both languages in it, loss on the answers only. The learning rate rises and falls in two cycles
with the time that is used up, so a run may have any budget; run again, it goes on from its last checkpoint, and the
weights are exported at the end (or at once with `--export`). Same seed, same data, same number of steps: same weights.
"""

import argparse
import ctypes
import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, Qwen3ForCausalLM
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import architecture, bf16_products, card, packing, tokenizer
from models.counselor.bank_turns import Bank
from models.counselor.examples import Encoder, Example, Renderer, stream
from models.counselor.packing import Row
from models.counselor.situations import OPEN

ROW = 400
"""A row is closed once it has this many tokens. Many small steps: it is steps that reading is learned by."""
FLOOR, WARMUP = 0.02, 0.02
"""The learning rate at a cycle's end, over its peak, and the share of a cycle in which it rises to that."""
EMBEDDINGS = 4.0
"""Their learning rate over the others'; they are that much larger."""
EMBEDDING_EPS = 1e-4
"""Above the gradient that a token gets for not occurring. Adam would scale that up to a full step, the same for all
rare tokens, until their embeddings are one direction and nothing can tell which of them to copy."""
DEV_SEED = 1_000_003
REPORT_STEPS, CHECK_SECONDS = 50, 300.0


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate."""

    share: float
    """Of the time."""
    peak: float


CYCLES = (
    # A peak of 3e-3 learns the formats as fast and never learns to read: its steps wash the induction circuit away.
    Cycle(0.305, 5e-4),
    Cycle(0.695, 3e-4),
)
BARE = 0.12
"""For this share of a fresh run prompts come without their system text: less to search while reading is learned."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=95.0, help="training time, over all resumed runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="stop after this many steps instead")
    parser.add_argument("--run", type=Path, help="folder for checkpoints and log")
    parser.add_argument("--to", type=Path, default=architecture.WEIGHTS, help="folder for the exported model")
    parser.add_argument("--fresh", action="store_true", help="from nothing, not from the weights that ship")
    parser.add_argument("--export", action="store_true", help="export the last checkpoint and stop")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _keep_memory()
    folder = options.run or architecture.RUNS / ("nano-fresh" if options.fresh else "nano")
    trainer = Trainer(folder, options.seed, fresh=options.fresh)
    if not options.export:
        trainer.run(options.minutes * 60, options.steps)
    architecture.export(trainer.model, trainer.tokenizer, options.to)
    (options.to / "training.json").write_text(json.dumps(trainer.summary(), indent=1) + "\n", encoding="utf-8")
    card.write(options.to)
    print(f"exported step {trainer.step} to {options.to}")


class Trainer:
    """The state of a run lives in its folder: tokenizer, newest checkpoint, log."""

    def __init__(self, folder: Path, seed: int, *, fresh: bool = False) -> None:
        """`fresh`: from random weights and with a tokenizer of its own, not from the exported ones on."""
        self.folder, self.seed, self.fresh = folder, seed, fresh
        self.bank, self.held_out = Bank.read(), Bank.unlabelled("dev")
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer()
        self.encode, self.render = Encoder(self.tokenizer), Renderer(self.tokenizer)
        self.model = architecture.initial(self.tokenizer, seed) if fresh else load(architecture.WEIGHTS)[0].train()
        if bf16_products.supported():
            bf16_products.use(self.model)
        else:
            self.model.set_attn_implementation(packing.NAME)
        embeddings = list(self.model.model.embed_tokens.parameters())
        decayed = [p for p in self.model.model.layers.parameters() if p.dim() == 2]
        plain = [p for p in self.model.model.parameters() if p.dim() != 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": 0.05},
                {"params": plain, "weight_decay": 0.0},
                {"params": embeddings, "weight_decay": 0.0, "eps": EMBEDDING_EPS, "share": EMBEDDINGS},
            ],
            betas=(0.9, 0.98),
            eps=1e-8,
            fused=True,
        )
        self.step, self.conversations, self.tokens, self.seconds = 0, 0, 0, 0.0
        self.dev: dict[str, float] = {}
        if self._checkpoint.exists():
            self._resume()

    def run(self, budget: float, steps: int | None) -> None:
        began, checked, tokens = time.monotonic() - self.seconds, time.monotonic(), self.tokens
        losses: list[float] = []
        for row, used in self._rows(budget):
            self.seconds = time.monotonic() - began
            if self.seconds >= budget or (steps is not None and self.step >= steps):
                break
            rate = _rate(self.seconds / budget)
            losses.append(self._learn(row, rate))
            self.step, self.conversations, self.tokens = self.step + 1, used, self.tokens + len(row)
            if self.step % REPORT_STEPS == 0:
                spent = time.monotonic() - began - self.seconds
                self._log(
                    step=self.step,
                    minutes=round(self.seconds / 60, 1),
                    loss=round(sum(losses) / len(losses), 4),
                    rate=round(rate, 6),
                    tokens=self.tokens,
                    tokens_per_second=round((self.tokens - tokens) / max(1e-9, time.monotonic() - checked + spent)),
                )
                losses.clear()
            if time.monotonic() - checked > CHECK_SECONDS:
                self._check()
                checked, tokens = time.monotonic(), self.tokens
        self._check()

    def summary(self) -> dict[str, object]:
        return {
            "steps": self.step,
            "tokens": self.tokens,
            "minutes": round(self.seconds / 60, 1),
            "seed": self.seed,
            "fresh": self.fresh,
            "situations": len(self.bank.situations),
            "lines": sum(map(len, self.bank.lines.values())),
            "open": len(self.bank.lines.get(OPEN, ())),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "dev_loss": self.dev,
        }

    def _learn(self, row: Row, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        loss = cross_entropy(packing.logits(self.model, row), torch.tensor(row.targets))
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _rows(self, budget: float) -> Iterator[tuple[Row, int]]:
        """Rows of whole conversations, each with the number of conversations used up to and including it."""
        held: list[Example] = []
        for used, examples in enumerate(self._examples(budget), self.conversations + 1):
            held += examples
            row = packing.pack(held, self.encode)
            if len(row) >= ROW:
                yield row, used
                held = []

    def _examples(self, budget: float) -> Iterator[list[Example]]:
        for examples in stream(self.render, self.seed, self.bank, skip=self.conversations):
            bare = self.fresh and self.seconds < BARE * budget
            yield [replace(example, chunks=example.chunks[bare:]) for example in examples]

    def _check(self) -> None:
        """Loss on conversations of the dev split; then a checkpoint."""
        sums: defaultdict[str, list[float]] = defaultdict(list)
        with torch.no_grad():
            told = filter(None, stream(self.render, DEV_SEED, self.held_out, split="dev"))
            for examples in itertools.islice(told, 48):
                row = packing.pack(examples, self.encode)
                values = cross_entropy(packing.logits(self.model, row), torch.tensor(row.targets), reduction="none")
                for kind, value in zip(row.kinds, values.tolist(), strict=True):
                    sums[kind].append(value)
        self.dev = {kind: round(math.fsum(values) / len(values), 4) for kind, values in sorted(sums.items())}
        self._log(step=self.step, dev=self.dev)
        self._save()

    # Files.

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _save(self) -> None:
        counts = {name: getattr(self, name) for name in ("step", "conversations", "tokens", "seconds", "dev")}
        part = self._checkpoint.with_suffix(".part")
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), **counts}, part)
        part.replace(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint)
        self.model.load_state_dict(state.pop("model"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        for name, value in state.items():
            setattr(self, name, value)
        self._log(step=self.step, resumed=True)

    def _log(self, **values: object) -> None:
        line = json.dumps(values)
        print(line, flush=True)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def _tokenizer(self) -> TokenizersBackend:
        folder = self.folder / "tokenizer" if self.fresh else architecture.WEIGHTS
        if not folder.exists():
            print("training the tokenizer", flush=True)
            tokenizer.train(tokenizer.texts()).save_pretrained(folder)
        loaded = AutoTokenizer.from_pretrained(folder)
        assert isinstance(loaded, TokenizersBackend)
        return loaded


def _rate(spent: float) -> float:
    """The learning rate when this share of the time is used up."""
    start = 0.0
    for cycle in CYCLES:
        done = (spent - start) / cycle.share
        if done < 1.0:
            break
        start += cycle.share
    return cycle.peak * min(1.0, (done + 0.001) / WARMUP) * (FLOOR + (1 - FLOOR) * max(0.0, 1 - done))


def load(folder: Path) -> tuple[Qwen3ForCausalLM, TokenizersBackend]:
    """An exported model, in fp32."""
    model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).train(False)
    loaded = AutoTokenizer.from_pretrained(folder)
    assert isinstance(loaded, TokenizersBackend)
    return model, loaded


def _keep_memory() -> None:
    """Let glibc keep freed memory: a step's large temporaries would be mapped and cleared anew each time."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    trim_threshold, map_max = -1, -4
    libc.mallopt(map_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)


if __name__ == "__main__":
    main()
