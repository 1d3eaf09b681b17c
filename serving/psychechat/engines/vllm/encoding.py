"""Prompts as token ids, a message at a time: what a conversation said before is not tokenised again."""

import re
from array import array
from functools import lru_cache
from typing import Any

from psychechat.engines.base import BYTES_A_TOKEN
from psychechat.engines.vllm.urgent_first import Pieces

MESSAGES = 1024
"""How many of the last ones are remembered, each for the tenant that sent it: nobody learns by the time that it takes
what another's seekers say."""


def control_tokens(tokenizer: Any) -> frozenset[str]:
    """What the tokenizer reads as one token wherever it stands, and what may steer the model: its special tokens, and
    of the others that its vocabulary was given later those that begin as no word does (`<think>`, `/nothink`).

    One that it looks for in a text that it has normalised is told as it is written.
    """
    added = tokenizer.added_tokens_decoder.values()
    return frozenset(token.content for token in added if token.special or _MARKED.match(token.content))


_MARKED = re.compile(r"\s*[^\w\s▁]+\w")
"""White space (`▁` is some tokenizers' own), signs and words are no control tokens, though many a model was given some
as tokens of their own."""


class TooLong(Exception):
    """The text has more tokens than it may have. `tokens`: how many at least."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.tokens = tokens


class Encoder:
    """`encode` gives what the tokenizer gives for the whole text.

    Tokenizers cut a text at their special tokens before they look at anything else, and templates put these around each
    message. Where a tokenizer does otherwise nothing is remembered, and all of the text is one piece.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        special = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
        marks = sorted((re.escape(token.content) for token in special), key=len, reverse=True)
        self._marks = re.compile(f"({'|'.join(marks)})")
        self._remembered = lru_cache(MESSAGES)(lambda tenant, piece: self._piece(piece))
        probe = "\n user said: ".join(token.content for token in special)
        reaches_out = any(token.lstrip or token.rstrip or token.single_word or token.normalized for token in special)
        in_pieces = (piece for text in self._marks.split(probe) if text for piece in self._piece(text))
        self._in_pieces = bool(special) and not reaches_out and array("i", in_pieces) == self._piece(probe)

    def encode(self, text: str, tenant: str, most: int) -> Pieces[list[int]]:
        """Token ids, at most `most`; a piece is a message. Raises TooLong as soon as that is certain."""
        ids = array("i")
        for piece in self._marks.split(text) if self._in_pieces else [text]:
            if piece:
                _check(piece, most, len(ids))
                ids += self._remembered(tenant, piece) if self._in_pieces else self._piece(piece)
                yield
        if len(ids) > most:
            raise TooLong(len(ids))
        return ids.tolist()

    def _piece(self, text: str) -> "array[int]":
        return array("i", self._tokenizer.encode(text, add_special_tokens=False))


def _check(text: str, most: int, before: int) -> None:
    """Whether the text cannot fit behind so many tokens."""
    least = before + len(text.encode()) // BYTES_A_TOKEN
    if least > most:
        raise TooLong(least)
