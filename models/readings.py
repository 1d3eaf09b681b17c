"""Texts as the server's classifier reads them, without its engine: whole, each of their sentences, and drafts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from models.adapter import padded
from models.data import Example
from models.embeddings import MAX_LEN, backbone
from models.heads import Heads
from models.predictions import load_heads
from psychechat.conversation import Assessment
from psychechat.engines.vllm.windows import Window, Windows, assess

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Vectors:
    """What was read of some texts: `rows` [readings, H], and `owner` [readings], the text's number.

    Of each text the whole windows come before their sentences.
    """

    rows: Tensor
    owner: Tensor

    @property
    def first(self) -> Tensor:
        """[readings], bool: the first one of each text, its first window as a whole or its draft."""
        first = torch.ones(len(self.owner), dtype=torch.bool)
        first[1:] = self.owner[1:] != self.owner[:-1]
        return first

    def of(self, texts: Sequence[int]) -> "Vectors":
        """Of these texts only, numbered anew in this order."""
        number = torch.full((int(self.owner.max()) + 1,), -1)
        number[list(texts)] = torch.arange(len(texts))
        kept = number[self.owner] >= 0
        return Vectors(self.rows[kept], number[self.owner[kept]])

    @classmethod
    def plain(cls, rows: Tensor) -> "Vectors":
        """One reading a text."""
        return cls(rows, torch.arange(len(rows)))


def read(folder: Path, examples: Sequence[Example]) -> Vectors:
    """By the model folder, one with mean pooling. Of an example with a draft the draft alone is read."""
    model, windows = backbone(folder), Windows.of(folder, MAX_LEN)
    cut = [
        [windows.pair(example.text, example.draft)] if example.draft else windows.with_sentences(example.text)
        for example in examples
    ]
    rows, owner, whole = [], [], []
    told = f"Reading {len(examples):,} texts"
    for batch in track(_batches(cut), description=told, console=Console(stderr=True)):
        for (number, window), hidden in zip(batch, _hidden(model, [window for _, window in batch]), strict=True):
            spans = window.sentences if examples[number].draft else ((0, len(window.ids) - 1), *window.sentences)
            rows += [hidden[first : last + 1].mean(0) for first, last in spans]
            owner += [number] * len(spans)
            whole += [True] + [False] * (len(spans) - 1)
    order = torch.tensor(owner) * 2 + ~torch.tensor(whole)
    sorted_ = order.argsort(stable=True)
    return Vectors(torch.stack(rows)[sorted_], torch.tensor(owner)[sorted_])


def assessments(folder: Path, texts: Sequence[str]) -> list[Assessment]:
    """Of a model folder with mean pooling. Its first call loads the encoder."""
    heads, model, windows = load_heads(folder / "model.safetensors"), backbone(folder), Windows.of(folder, MAX_LEN)
    cut = [windows.with_sentences(text) for text in texts]
    found: list[list[list[list[float]]]] = [[] for _ in texts]
    for batch in _batches(cut):
        for (number, window), hidden in zip(batch, _hidden(model, [window for _, window in batch]), strict=True):
            found[number].append(_rows(heads, window, hidden))
    return [assess(rows) for rows in found]


def _batches(cut: Sequence[Sequence[Window]]) -> list[list[tuple[int, Window]]]:
    """Every window with its text's number. Windows of like length are together: little padding."""
    flat = [(number, window) for number, own in enumerate(cut) for window in own]
    flat.sort(key=lambda item: len(item[1].ids))
    return [flat[first : first + _BATCH] for first in range(0, len(flat), _BATCH)]


@torch.inference_mode()
def _hidden(model: torch.nn.Module, windows: Sequence[Window]) -> Tensor:
    ids, mask = padded([window.ids for window in windows])
    hidden: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return hidden.float()


@torch.inference_mode()
def _rows(heads: Heads, window: Window, hidden: Tensor) -> list[list[float]]:
    ranges = [(0, len(window.ids) - 1), *window.sentences]
    rows: list[list[float]] = heads.probabilities(
        torch.stack([hidden[first : last + 1].mean(0) for first, last in ranges])
    ).tolist()
    return rows
