"""Bodies that come compressed: gzip is read, no other coding.

https://www.rfc-editor.org/rfc/rfc9110.html#name-content-encoding
"""

import zlib
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.types import Scope

_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 16_384
"""Bytes that are inflated at once."""
_MEMBERS = 256
"""More of them than whoever compresses a body in parts has."""


class Gzip:
    """Inflates a body as it arrives, of one gzip member or of several."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._inflating, self._members = zlib.decompressobj(_GZIP), 1

    def inflate(self, body: bytes, most: int, *, last: bool) -> bytes:
        """What these bytes hold, cut off behind `most` bytes, which are more than none. Of a broken body it is all that
        comes before the break, and the request is marked so that nobody takes that for the whole.
        """
        held = b""
        for start in range(0, len(body), _PIECE):
            if is_broken(self._scope) or len(held) == most:
                return held
            held += self._piece(body[start : start + _PIECE], most - len(held))
        if last and not self._inflating.eof and len(held) < most:
            self._break()
        return held

    def _piece(self, piece: bytes, most: int) -> bytes:
        held = self._of_member(piece, most)
        while (rest := self._inflating.unused_data) and len(held) < most and not is_broken(self._scope):
            if self._members == _MEMBERS:
                self._break()
                break
            self._inflating, self._members = zlib.decompressobj(_GZIP), self._members + 1
            held += self._of_member(rest, most - len(held))
        return held

    def _of_member(self, piece: bytes, most: int) -> bytes:
        before = self._inflating.copy()
        try:
            return self._inflating.decompress(piece, most)
        except zlib.error:  # which tells nothing of what was inflated until then
            self._break()
        held = []
        with suppress(zlib.error):
            for byte in piece:
                held.append(before.decompress(bytes((byte,))))
        return b"".join(held)

    def _break(self) -> None:
        self._scope["state"]["broken_coding"] = True


def of(scope: Scope) -> Gzip | None:
    """What reads the body; None if it comes as it is. Raises HTTPException for a coding that nobody reads here."""
    codings = [
        coding.strip().lower()
        for name, value in scope["headers"]
        if name == b"content-encoding"
        for coding in value.split(b",")
    ]
    match [coding for coding in codings if coding not in (b"", b"identity")]:
        case []:
            return None
        case [b"gzip" | b"x-gzip"]:
            return Gzip(scope)
        case _:
            raise HTTPException(415, "Of content codings gzip alone is read.", {"accept-encoding": "gzip"})


def is_broken(scope: Scope) -> bool:
    """Whether its body came compressed, and was not whole."""
    broken: bool = scope.get("state", {}).get("broken_coding", False)
    return broken
