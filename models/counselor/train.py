"""Train nano from nothing: `taskset -c 1 python -m models.counselor.train --minutes 95`.

One row of packed conversations a step, both languages in it, loss on the answers only. In two cycles: first to read
and to write each stage's format, then to judge drafts and to keep the format in long conversations. The learning rate
falls with the time that a cycle has used up, so a run may have any budget; run again, it goes on from its last
checkpoint, and the weights are exported at the end (or at once with `--export`). Same seed, same data, same number of
steps: same weights.
"""

import argparse
import ctypes
import itertools
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, Qwen3ForCausalLM
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import architecture, bf16_products, card, natural, packing, tokenizer
from models.counselor.bank_turns import Bank
from models.counselor.corpus import lexicon
from models.counselor.examples import Encoder, Example, Mix, Renderer, bank_stream, stream
from models.counselor.packing import Row
from models.written import Split

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
DEV_MIX = Mix(0.5, judged=0.2, long=0.06)
REPORT_STEPS, CHECK_SECONDS = 50, 300.0


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate."""

    share: float
    """Of the time."""
    peak: float
    mix: Mix
    bare: float = 0.0
    """For this share of the cycle prompts come without their system text: less to search while reading is learned."""


CYCLES = (
    # A peak of 3e-3 learns the formats as fast and never learns to read: its steps wash the induction circuit away.
    Cycle(0.305, 5e-4, Mix(), bare=0.4),
    Cycle(0.695, 3e-4, Mix(0.46, judged=0.3, long=0.04)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=95.0, help="training time, over all resumed runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="stop after this many steps instead")
    parser.add_argument("--run", type=Path, default=architecture.RUNS / "nano", help="folder for checkpoints and log")
    parser.add_argument("--to", type=Path, default=architecture.WEIGHTS, help="folder for the exported model")
    parser.add_argument(
        "--bank", action="store_true", help="go on from the weights that ship, to learn the bank's replies"
    )
    parser.add_argument("--export", action="store_true", help="export the last checkpoint and stop")
    options = parser.parse_args()
    if not natural.available():
        print(
            f"No data sets under {natural.DATA}: training on the synthetic part alone. For the full mix, put the "
            "prepared smilechat, cpsycoun, counsel_chat, brighter and goemotions folders there or set PSYCHECHAT_DATA.",
            file=sys.stderr,
        )
    torch.set_num_threads(options.threads)
    _keep_memory()
    trainer = Trainer(options.run, options.seed, bank=options.bank)
    if not options.export:
        trainer.run(options.minutes * 60, options.steps)
    architecture.export(trainer.model, trainer.tokenizer, options.to)
    (options.to / "training.json").write_text(json.dumps(trainer.summary(), indent=1) + "\n", encoding="utf-8")
    card.write(options.to)
    print(f"exported step {trainer.step} to {options.to}")


class Trainer:
    """The state of a run lives in its folder: tokenizer, newest checkpoint, log."""

    def __init__(self, folder: Path, seed: int, *, bank: bool = False) -> None:
        """`bank`: from the exported weights on, with their tokenizer, on the bank's conversations."""
        self.folder, self.seed = folder, seed
        self.banks: dict[Split, Bank] = {split: Bank.read(split) for split in ("train", "dev")} if bank else {}
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer()
        self.encode, self.render = Encoder(self.tokenizer), Renderer(self.tokenizer)
        self.model = load(architecture.WEIGHTS)[0].train() if bank else architecture.initial(self.tokenizer, seed)
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
            "topics": len(lexicon.load("en").topics),
            "scenes": sum(map(len, lexicon.load("en").scenes.values())),
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
        if self.banks:
            yield from bank_stream(self.render, self.seed, self.banks["train"], skip=self.conversations)
        used, start = self.conversations, 0.0
        for cycle in CYCLES:
            end = start + cycle.share * budget
            for examples in stream(self.render, self.seed, cycle.mix, skip=used):
                if self.seconds >= end:
                    break
                bare = self.seconds < start + cycle.bare * cycle.share * budget
                used += 1
                yield [replace(example, chunks=example.chunks[bare:]) for example in examples]
            start = end

    def _check(self) -> None:
        """Loss on conversations of the dev parts and another seed; then a checkpoint."""
        sums: defaultdict[str, list[float]] = defaultdict(list)
        with torch.no_grad():
            for examples in itertools.islice(self._dev(), 48):
                row = packing.pack(examples, self.encode)
                values = cross_entropy(packing.logits(self.model, row), torch.tensor(row.targets), reduction="none")
                for kind, value in zip(row.kinds, values.tolist(), strict=True):
                    sums[kind].append(value)
        self.dev = {kind: round(math.fsum(values) / len(values), 4) for kind, values in sorted(sums.items())}
        self._log(step=self.step, dev=self.dev)
        self._save()

    def _dev(self) -> Iterator[list[Example]]:
        if self.banks:
            return bank_stream(self.render, DEV_SEED, self.banks["dev"], split="dev")
        return stream(self.render, DEV_SEED, DEV_MIX, "dev")

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
        folder = self.folder / "tokenizer"
        if self.banks:
            folder = architecture.WEIGHTS
        elif not folder.exists():
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
