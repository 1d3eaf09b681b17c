"""Texts to an encoder's pooled vectors, tokenised by the server's own code; kept on disk, so a run can resume."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import transformers
from blake3 import blake3
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from tokenizers import Tokenizer
from torch import Tensor

from models.adapter import padded
from psychechat.engines.vllm.windows import Windows

Pooling = Literal["mean", "first", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

MAX_LEN = 512
_CHUNK = 256
_BATCH = 32


def embed(texts: Sequence[str], encoder: Path, prefix: str, pooling: Pooling, cache: Path) -> NDArray[np.float32]:
    """The vector of each text's first window, [texts, H].

    `encoder` is a Hugging Face folder with a `tokenizer.json`. What was embedded before with the same weights, prefix
    and pooling is read from `cache`.
    """
    windows = Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), prefix, MAX_LEN)
    ids = [windows.cut(text)[0] for text in texts]
    digest = _digest(encoder)
    keys = [hashlib.sha256(repr((digest, pooling, row)).encode()).hexdigest()[:24] for row in ids]
    known = _read(cache)
    missing = {key: row for key, row in zip(keys, ids, strict=True) if key not in known}
    if missing:
        model = backbone(encoder)
        todo = sorted(missing.items(), key=lambda item: len(item[1]))  # equal lengths together: little padding
        chunks = [dict(todo[i : i + _CHUNK]) for i in range(0, len(todo), _CHUNK)]
        for chunk in track(chunks, description=f"Embedding {len(todo):,} texts", console=Console(stderr=True)):
            vectors = vectors_of(model, list(chunk.values()), pooling).numpy()
            _keep(cache, list(chunk), vectors)
            known.update(zip(chunk, vectors, strict=True))
    return np.stack([known[key] for key in keys])


def backbone(encoder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """The folder's model without any head, to be run and not trained."""
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it reports what it leaves out
    model: torch.nn.Module = transformers.AutoModel.from_pretrained(encoder, dtype=dtype)
    return model.train(False)


@torch.inference_mode()
def vectors_of(model: torch.nn.Module, rows: Sequence[Sequence[int]], pooling: Pooling) -> Tensor:
    """[rows, H], float32: of the last hidden states the mean over all tokens, special ones included, or one token's."""
    pooled = []
    for first in range(0, len(rows), _BATCH):
        ids, mask = padded(rows[first : first + _BATCH])
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        lengths = mask.sum(1)
        if pooling == "mean":
            pooled.append((hidden * mask.unsqueeze(-1)).sum(1) / lengths.unsqueeze(1))
        else:
            pooled.append(hidden[torch.arange(len(hidden)), lengths - 1 if pooling == "last" else 0])
    return torch.cat(pooled)


def _digest(encoder: Path) -> str:
    """Of the encoder's weights; our own folders name it apart from their heads."""
    manifest = encoder / "manifest.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text())["encoder"])
    hasher = blake3()
    for path in sorted(encoder.glob("*.safetensors")):
        hasher.update_mmap(path)
    return hasher.hexdigest()


def _read(cache: Path) -> dict[str, NDArray[np.float32]]:
    known: dict[str, NDArray[np.float32]] = {}
    for path in cache.glob("*.npz"):
        with np.load(path) as file:
            known.update(zip(file["keys"].tolist(), file["vectors"], strict=True))
    return known


def _keep(cache: Path, keys: list[str], vectors: NDArray[np.float32]) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{keys[0]}.part"
    with partial.open("wb") as file:
        np.savez(file, keys=np.array(keys), vectors=vectors)
    partial.rename(partial.with_suffix(".npz"))
