"""The reading of GGUF files, on files written by hand."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from psychechat.demo import gguf

F32, F16, Q4_1, Q8_0 = 0, 1, 3, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def written(
    path: Path, keys: list[bytes], tensors: Sequence[tuple[str, Sequence[int], int, bytes]], align: int
) -> Path:
    """Tensors are (name, shape as PyTorch has it, kind, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys)
    body = b""
    for name, shape, kind, raw in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(body))
        body += raw + bytes(-len(raw) % align)
    path.write_bytes(head + bytes(-len(head) % align) + body)
    return path


def test_metadata_of_every_kind(tmp_path: Path) -> None:
    keys = [
        text("name") + struct.pack("<I", 8) + text("小 model"),
        text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("Ġb"),
        text("kinds") + struct.pack("<IIQ3i", 9, 5, 3, 1, 3, -1),
        text("yes") + struct.pack("<I?", 7, True),
        text("base") + struct.pack("<If", 6, 0.5),
    ]
    file = gguf.File(written(tmp_path / "a.gguf", keys, [], 32))
    assert file.metadata == {"name": "小 model", "tokens": ["a", "Ġb"], "kinds": [1, 3, -1], "yes": True, "base": 0.5}
    assert len(file) == 0


@pytest.mark.parametrize("align", [32, 64], ids=["the usual alignment", "one that the file names"])
def test_weights_of_every_kind(tmp_path: Path, align: int) -> None:
    """A block of each by hand, and rows before columns: GGUF has the dimensions the other way round."""
    floats = np.arange(6, dtype="<f4")
    four = struct.pack("<2e", 0.5, -1.0) + bytes(i | (15 - i) << 4 for i in range(16))
    eight = struct.pack("<e", 0.25) + struct.pack("<32b", *range(-16, 16))
    tensors = [
        ("floats", (2, 3), F32, floats.tobytes()),
        ("four", (2, 32), Q4_1, four + four),
        ("eight", (1, 32), Q8_0, eight),
    ]
    keys = [text("general.alignment") + struct.pack("<II", 4, align)] if align != 32 else []
    found = dict(gguf.File(written(tmp_path / "a.gguf", keys, tensors, align)).tensors())
    assert found["floats"].tolist() == [[0, 1, 2], [3, 4, 5]]
    row = [0.5 * i - 1 for i in range(16)] + [0.5 * (15 - i) - 1 for i in range(16)]
    assert found["four"].tolist() == [row, row]
    assert found["eight"].tolist() == [[0.25 * i for i in range(-16, 16)]]
    assert {tensor.dtype for tensor in found.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("shape", "kind", "raw"),
    [((1, 32), F16, bytes(64)), ((1, 32), Q8_0, bytes(8)), ((2, 16), Q8_0, bytes(34))],
    ids=["a kind not known", "cut off", "rows that are no whole blocks"],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, shape: tuple[int, int], kind: int, raw: bytes) -> None:
    path = written(tmp_path / "a.gguf", [], [("w", shape, kind, raw)], 1)
    with pytest.raises(ValueError, match="tensor w cannot be read"):
        gguf.File(path)


@pytest.mark.parametrize(
    ("start", "match"),
    [
        (b"E5S1" + struct.pack("<IQQ", 3, 0, 0), "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 2, 0, 0), "of version 2"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("key") + struct.pack("<I", 13), "kind 13"),
    ],
    ids=["another magic", "another version", "a value of no known kind"],
)
def test_another_file_is_refused(tmp_path: Path, start: bytes, match: str) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(start + bytes(32))
    with pytest.raises(ValueError, match=match):
        gguf.File(path)
