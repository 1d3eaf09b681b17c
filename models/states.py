"""Hidden states of the frozen lower layers, computed once and kept in one growing file, so that a run can resume."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from transformers import BertModel

_CHUNK = 256
_BATCH = 32


class States:
    """The states at the input of layer `layers`, bfloat16, for every row of token ids that was ever asked for.

    `folder` holds `states.bin`, the rows one after another, and `index.txt`, a line "key tokens" a row. A row counts
    once its line is written; what follows in `states.bin` is an interrupted run's and is overwritten.
    """

    def __init__(self, folder: Path, encoder: Path, layers: int) -> None:
        self._encoder, self._layers = encoder, layers
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._index = folder / "states.bin", folder / "index.txt"
        self._spans: dict[str, tuple[int, int]] = {}
        self._tokens = 0
        self._width: int = json.loads((encoder / "config.json").read_text())["hidden_size"]

    def of(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """[tokens, H] for each row, views of the file."""
        keys = [hashlib.sha256(np.array(row, np.int32).tobytes()).hexdigest()[:24] for row in rows]
        self._read_index()
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._spans}
        if missing:
            self._compute(missing)
        flat = torch.from_file(str(self._file), size=self._tokens * self._width, dtype=torch.bfloat16)
        states = flat.view(self._tokens, self._width)
        return [states[first:last] for first, last in (self._spans[key] for key in keys)]

    def _read_index(self) -> None:
        self._spans, self._tokens = {}, 0
        for line in self._index.read_text().splitlines() if self._index.exists() else []:
            key, count = line.split()
            self._add(key, int(count))

    def _add(self, key: str, count: int) -> None:
        self._spans[key] = (self._tokens, self._tokens + count)
        self._tokens += count

    def _compute(self, missing: dict[str, Sequence[int]]) -> None:
        model = BertModel.from_pretrained(self._encoder, add_pooling_layer=False, dtype=torch.bfloat16)
        model.encoder.layer = model.encoder.layer[: self._layers]
        model.train(False)
        todo = sorted(missing.items(), key=lambda item: len(item[1]))  # equal lengths together: little padding
        chunks = [todo[i : i + _CHUNK] for i in range(0, len(todo), _CHUNK)]
        self._file.touch()
        with self._file.open("r+b") as file, self._index.open("a") as index:
            file.seek(self._tokens * self._width * 2)
            for chunk in track(chunks, description=f"Lower layers, {len(todo):,} texts", console=Console(stderr=True)):
                for first in range(0, len(chunk), _BATCH):
                    for states in _forward(model, [row for _, row in chunk[first : first + _BATCH]]):
                        file.write(states.view(torch.int16).numpy().tobytes())
                file.flush()
                for key, row in chunk:
                    index.write(f"{key} {len(row)}\n")
                    self._add(key, len(row))
                index.flush()


@torch.inference_mode()
def _forward(model: BertModel, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    ids, mask = padded(rows)
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return [states[: len(row)].contiguous() for states, row in zip(hidden, rows, strict=True)]


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both [rows, longest]."""
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return ids, mask
