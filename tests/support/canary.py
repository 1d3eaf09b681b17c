"""A text that nobody else writes, and every way in which a process may have written it."""

import base64
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence

from tokenizers import Tokenizer

BEFORE_AND_AFTER = (
    "{}",
    "hello {} there",
    "I want to die {}",
    "{0} {0}",
    "“{}”。",
    "我觉得{}很累",
    '{{"content": "{}"}}',
    "x={}\n",
)
"""What a canary stands in. Its first token and its last one may be others in each."""


class Canary:
    """A word, or a phrase without white space, that is found however it was written.

    Found are its characters in UTF-8 and UTF-16, as `\\u`, `\\x` and octal escapes however often they were escaped
    again, percent-encoded, in hex, as HTML entities, in base64 at each alignment, and the ids that each tokenizer makes
    of it, as a list of numbers or as an array of them.
    """

    def __init__(self, text: str, tokenizers: Mapping[str, Tokenizer] | None = None) -> None:
        """Raises ValueError where what stands around the text leaves a tokenizer's ids of it too few in common."""
        self.text = text
        self._exact = dict(_exact(text))
        self._loose = dict(_loose(text))
        self._ids: dict[str, re.Pattern[bytes]] = {}
        for name, tokenizer in (tokenizers or {}).items():
            ids = _common([tokenizer.encode(s.format(text), add_special_tokens=False).ids for s in BEFORE_AND_AFTER])
            if len(ids) < 3:
                raise ValueError(f"{name} reads {text} differently from place to place")
            self._ids[f"{name}'s tokens"] = re.compile(rb"\D{1,8}".join(b"%d" % i for i in ids) + rb"(?!\d)")
            self._exact |= {f"{name}'s tokens, {kind}": struct.pack(f"<{len(ids)}{kind}", *ids) for kind in "iq"}

    def encodings(self) -> list[str]:
        return [*self._exact, *self._loose, *self._ids]

    def found_in(self, content: bytes) -> list[str]:
        """Names of the encodings in which it stands there."""
        loose = re.sub(rb"\\{2,}", rb"\\", content.lower())
        return [
            *(name for name, pattern in self._exact.items() if pattern in content),
            *(name for name, pattern in self._loose.items() if pattern in loose),
            *(name for name, pattern in self._ids.items() if pattern.search(content)),
        ]


def _exact(text: str) -> Iterator[tuple[str, bytes]]:
    """Where a capital is another thing than its small letter."""
    for name in ("utf-8", "utf-16-le", "utf-16-be"):
        content = text.encode(name)
        if name != "utf-8":
            yield name, content
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + content)
            # The first characters hold bits of what stands before, the last ones of what comes after.
            inner = encoded[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]
            yield f"base64 of {name} after {before}", inner
            if b"+" in inner or b"/" in inner:
                yield f"base64 for URLs of {name} after {before}", inner.translate(bytes.maketrans(b"+/", b"-_"))


def _loose(text: str) -> Iterator[tuple[str, bytes]]:
    """In small letters, with one backslash where there may be several."""
    content = text.lower().encode()
    units = struct.unpack(f">{len(text.encode('utf-16-be')) // 2}H", text.lower().encode("utf-16-be"))
    yield "utf-8", content
    yield "hex", content.hex().encode()
    yield "\\u", b"".join(rb"\u%04x" % unit for unit in units)
    yield "\\x", b"".join(rb"\x%02x" % byte for byte in content)
    yield "octal", b"".join(rb"\%03o" % byte for byte in content)
    yield "percent", b"".join(b"%%%02x" % byte for byte in content)
    yield "entities", b"".join(b"&#%d;" % ord(letter) for letter in text)
    yield "entities in hex", b"".join(b"&#x%x;" % ord(letter) for letter in text.lower())
    if not text.isascii():
        # Bytes that were taken for Latin-1, as HTTP headers are.
        latin = content.decode("latin-1")
        yield "utf-8 twice", latin.encode()
        yield "\\u of bytes", json.dumps(latin)[1:-1].encode()
        yield "repr of bytes in Latin-1", repr(latin)[1:-1].encode()


def _common(lists: Sequence[Sequence[int]]) -> Sequence[int]:
    """The longest run of ids that stands in each of them."""
    first = lists[0]
    runs = (first[i:j] for i in range(len(first)) for j in range(i + 1, len(first) + 1))
    return max((run for run in runs if all(_stands_in(run, ids) for ids in lists)), key=len, default=())


def _stands_in(run: Sequence[int], ids: Sequence[int]) -> bool:
    return any(ids[i : i + len(run)] == run for i in range(len(ids)))
