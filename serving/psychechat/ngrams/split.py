"""From a message to its n-grams. Training uses this module too."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from psychechat.help.plain import MOST_CHARACTERS, plain

STEM = 5
"""Letters that a longer word shares with its inflections."""

_PIECES = re.compile(r"[a-z0-9']+|[\u4e00-\u9fff]|[!?！？]")
"""Words, Han characters, and the marks that ask or call out."""
_BEGINS, _ENDS = "^", "$"


def ngrams(message: str) -> frozenset[str]:
    """Its words, the beginnings of its longer ones, pairs of neighbours, and triples that hold a Han character; each
    once. In pairs and triples `^` stands before the first piece and `$` behind the last.
    """
    return frozenset(_ngrams(_PIECES.findall(plain(message[:MOST_CHARACTERS]))))


def _ngrams(pieces: list[str]) -> Iterator[str]:
    if not pieces:
        return
    yield from pieces
    yield from (f"{piece[:STEM]}*" for piece in pieces if len(piece) > STEM)
    between = [_BEGINS, *pieces, _ENDS]
    yield from map(" ".join, pairwise(between))
    yield from (" ".join(triple) for triple in zip(between, between[1:], between[2:], strict=False) if _any_han(triple))


def _any_han(pieces: Sequence[str]) -> bool:
    return any("\u4e00" <= piece <= "\u9fff" for piece in pieces)
