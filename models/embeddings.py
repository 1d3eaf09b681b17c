"""Texts to the encoder's mean-pooled vectors, tokenised by the server's own code; kept on disk, so a run can resume."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from tokenizers import Tokenizer
from transformers import BertModel

from psychechat.engines.vllm.windows import Windows

RUNS = Path(__file__).with_name("runs") / "classifier"
MAX_LEN = 512
_CHUNK = 256


def embed(texts: Sequence[str], encoder: Path, prefix: str) -> NDArray[np.float32]:
    """The vector of each text's first window, [texts, H].

    `encoder` is a folder written by `psychechat.demo.encoder.prepare`. What was embedded before with the same encoder
    and prefix is read from `RUNS`.
    """
    digest = json.loads((encoder / "manifest.json").read_text())["encoder"]
    windows = Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), prefix, MAX_LEN)
    ids = [windows.cut(text)[0] for text in texts]
    keys = [hashlib.sha256(repr((digest, row)).encode()).hexdigest()[:24] for row in ids]
    known = _read()
    missing = {key: row for key, row in zip(keys, ids, strict=True) if key not in known}
    if missing:
        model = BertModel.from_pretrained(encoder, add_pooling_layer=False, dtype=torch.float32)
        model.train(False)
        todo = sorted(missing.items(), key=lambda item: len(item[1]))  # equal lengths together: little padding
        chunks = [dict(todo[i : i + _CHUNK]) for i in range(0, len(todo), _CHUNK)]
        for chunk in track(chunks, description=f"Embedding {len(todo):,} texts"):
            vectors = _forward(model, list(chunk.values()))
            _keep(list(chunk), vectors)
            known.update(zip(chunk, vectors, strict=True))
    return np.stack([known[key] for key in keys])


def _read() -> dict[str, NDArray[np.float32]]:
    known: dict[str, NDArray[np.float32]] = {}
    for path in RUNS.glob("*.npz"):
        with np.load(path) as file:
            known.update(zip(file["keys"].tolist(), file["vectors"], strict=True))
    return known


def _keep(keys: list[str], vectors: NDArray[np.float32]) -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    partial = RUNS / f"{keys[0]}.part"
    with partial.open("wb") as file:
        np.savez(file, keys=np.array(keys), vectors=vectors)
    partial.rename(partial.with_suffix(".npz"))


@torch.inference_mode()
def _forward(model: BertModel, batch: list[list[int]]) -> NDArray[np.float32]:
    """Mean of the last hidden states over all tokens, special ones included: what `fused_heads` pools."""
    rows = []
    for first in range(0, len(batch), 32):
        part = batch[first : first + 32]
        length = max(map(len, part))
        ids = torch.tensor([row + [0] * (length - len(row)) for row in part])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in part])
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        rows.append((hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True))
    return torch.cat(rows).numpy()
