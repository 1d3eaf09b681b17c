"""A binary file, little-endian, read from its beginning on: what `e5s1` and `gguf` have in common."""

import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any


class PackedFile:
    """An open file, behind its magic. Raises ValueError, which names the `kind` with its article, without it."""

    def __init__(self, path: Path, magic: bytes, kind: str) -> None:
        with path.open("rb") as file:
            self._data = mmap(file.fileno(), 0, access=ACCESS_READ)
        self._position = len(magic)
        if self._data[: len(magic)] != magic:
            raise ValueError(f"{path.name} is not {kind} file")

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._position)
        self._position += struct.calcsize("<" + layout)
        return values
