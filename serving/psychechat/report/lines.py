"""Lines of a file, as the turns that they hold."""

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from psychechat.report.turns import EXPECTED, Turn, Unreadable, turns

MOST_BYTES = 16 * 2**20
"""Of a line, or of a saved conversation over several."""
_OF_STREAMS = (b"event:", b":", b"data: [DONE]")
"""With which lines of a recorded stream begin that hold nothing."""


def read(file: BinaryIO) -> Iterator[Turn | Unreadable]:
    """Turns in their order, of a recorded stream too; background tasks and blank lines are left out.

    Memory is bounded by the longest line.
    """
    number, first = 0, True
    while raw := file.readline(MOST_BYTES + 1):
        number += 1
        if len(raw) > MOST_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MOST_BYTES)
            yield Unreadable(number, f"is longer than {MOST_BYTES // 2**20} MB")
            continue
        line = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
        if first and line in (b"{", b"["):  # one object, or a list of them, over several lines
            line += file.read(MOST_BYTES)
            if file.read(1):
                yield Unreadable(number, f"begins an object of more than {MOST_BYTES // 2**20} MB")
                return
        if line and not line.startswith(_OF_STREAMS):
            first = False
            yield from _turns(number, line.removeprefix(b"data:"))


def _turns(number: int, line: bytes) -> Iterator[Turn | Unreadable]:
    try:
        value = orjson.loads(line)
    except ValueError:
        yield Unreadable(number, f"is no JSON, or no UTF-8; {EXPECTED}")
        return
    for place, each in enumerate(value if isinstance(value, list) else [value]):
        yield from turns(number, each, place)
