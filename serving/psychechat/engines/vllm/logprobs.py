"""From vLLM's log probabilities to ours, with the bytes that each token really stands for."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode
from vllm.logprobs import Logprob

from psychechat.conversation import TokenLogprob

_LEAST = -9999.0
"""OpenAI's number for a token that is all but impossible."""
_BYTES: Mapping[str, int] = {char: byte for byte, char in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]
"""How byte-level vocabularies write each byte; a space is `Ġ`."""


class Scores:
    """`tokenizer` is Hugging Face's."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._byte_level = "Ġ" in tokenizer.get_vocab()
        self._unwritten = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}

    def of(
        self, tokens: Sequence[int], positions: Sequence[Mapping[int, Logprob] | None], alternatives: int
    ) -> tuple[TokenLogprob, ...]:
        """What was chosen at each position, with up to so many alternatives, itself among them."""
        return tuple(
            self._one(token, position[token], self._top(position, alternatives))
            for token, position in zip(tokens, positions, strict=True)
            if position is not None
        )

    def _top(self, position: Mapping[int, Logprob], alternatives: int) -> tuple[TokenLogprob, ...]:
        # The chosen token is in `position` even if it is not among the likeliest.
        ranked = sorted(position.items(), key=lambda item: -item[1].logprob)
        return tuple(self._one(token, scored) for token, scored in ranked[:alternatives])

    def _one(self, token: int, scored: Logprob, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        if token in self._unwritten:
            return TokenLogprob(scored.decoded_token or "", b"", max(scored.logprob, _LEAST), top)
        written = self._bytes(token, scored)
        return TokenLogprob(written.decode(errors="replace"), written, max(scored.logprob, _LEAST), top)

    def _bytes(self, token: int, scored: Logprob) -> bytes:
        """vLLM decodes part of a character to nothing and the last part to all of it; the vocabulary has its bytes."""
        if self._byte_level:
            return bytes(_BYTES[char] for char in self._tokenizer.convert_ids_to_tokens(token) if char in _BYTES)
        return (scored.decoded_token or "").encode()
