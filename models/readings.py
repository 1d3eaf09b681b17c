"""Texts as the server's classifier reads them, without its engine: whole, and each of their sentences."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.embeddings import MAX_LEN, backbone
from models.heads import EMOTION_COLUMNS, Heads
from models.predictions import load_heads
from models.states import padded
from psychechat.conversation import Assessment
from psychechat.engines.vllm.windows import Window, Windows, assess

_BATCH = 32


def assessments(folder: Path, texts: Sequence[str]) -> list[Assessment]:
    """Of a model folder with mean pooling. Its first call loads the encoder."""
    heads, model, windows = load_heads(folder / "model.safetensors"), backbone(folder), Windows.of(folder, MAX_LEN)
    cut = [windows.with_sentences(text) for text in texts]
    flat = [(number, window) for number, own in enumerate(cut) for window in own]
    flat.sort(key=lambda item: len(item[1].ids))  # equal lengths together: little padding
    read: list[list[list[list[float]]]] = [[] for _ in texts]
    for first in range(0, len(flat), _BATCH):
        batch = flat[first : first + _BATCH]
        for (number, window), hidden in zip(batch, _hidden(model, [window for _, window in batch]), strict=True):
            read[number].append(_rows(heads, window, hidden))
    return [assess(rows) for rows in read]


@torch.inference_mode()
def _hidden(model: torch.nn.Module, windows: Sequence[Window]) -> Tensor:
    ids, mask = padded([window.ids for window in windows])
    hidden: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return hidden.float()


@torch.inference_mode()
def _rows(heads: Heads, window: Window, hidden: Tensor) -> list[list[float]]:
    ranges = [(0, len(window.ids) - 1), *window.sentences]
    emotion, risk = heads.logits(torch.stack([hidden[first : last + 1].mean(0) for first, last in ranges]))
    rows: list[list[float]] = torch.cat(
        [emotion.softmax(-1).reshape(-1, EMOTION_COLUMNS), risk.softmax(-1)], 1
    ).tolist()
    return rows
