"""Prompts as token ids, a message at a time: what a conversation said before is not tokenised again."""

import re
from array import array
from functools import lru_cache
from typing import Any

MESSAGES = 1024
"""How many of the last ones are remembered, each for the tenant that sent it: nobody learns by the time that it takes
what another's seekers say."""


class Encoder:
    """`encode` gives what the tokenizer gives for the whole text.

    Tokenizers cut a text at their special tokens before they look at anything else, and templates put these around each
    message. Where a tokenizer does otherwise nothing is remembered.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        special = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
        marks = sorted((re.escape(token.content) for token in special), key=len, reverse=True)
        self._marks = re.compile(f"({'|'.join(marks)})")
        self._remembered = lru_cache(MESSAGES)(lambda tenant, piece: self._piece(piece))
        probe = "\n user said: ".join(token.content for token in special)
        reaches_out = any(token.lstrip or token.rstrip or token.single_word or token.normalized for token in special)
        self._in_pieces = bool(special) and not reaches_out and self._joined(probe, "") == self._piece(probe)

    def encode(self, text: str, tenant: str | None) -> list[int]:
        """Without a tenant nothing is remembered."""
        if tenant is None or not self._in_pieces:
            return self._piece(text).tolist()
        return self._joined(text, tenant).tolist()

    def _joined(self, text: str, tenant: str) -> "array[int]":
        ids = array("i")
        for piece in self._marks.split(text):
            if piece:
                ids += self._remembered(tenant, piece)
        return ids

    def _piece(self, text: str) -> "array[int]":
        return array("i", self._tokenizer.encode(text, add_special_tokens=False))
