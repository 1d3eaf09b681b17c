"""What fits into a card's memory: weights, and the KV memory that is left. Arithmetic alone, as vLLM does it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from psychechat.config import GeneratorSettings
from psychechat.sizing.cards import GIB, Card
from psychechat.sizing.shapes import Shape

BLOCK = 16
"""Tokens in one of vLLM's KV blocks on a GPU."""
FP8_KV_SINCE = (8, 9)
"""The compute capability from which on vLLM's Triton kernels read KV memory in fp8."""
FLASH_ATTENTION_FP8_KV = 9
"""The major one with which FlashAttention does. Elsewhere vLLM goes on to FlashInfer, which compiles with `nvcc`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How the engine is to be run. The names are vLLM's where it has one; sizes are those of one card."""

    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.85
    """Of the card's memory, for all that the engine holds. This leaves room for the classifier."""
    quantization: Literal["fp8"] | None = None
    """None: as the checkpoint has them."""
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    max_model_len: int = 16_384
    sequence_tokens: int = GeneratorSettings().sequence_tokens
    """Assumed: tokens of KV memory that a sequence takes at the mean, as of the engine's setting of this name."""
    working_gib: float = 2.5
    """Assumed: GiB beside weights and KV, of activations, CUDA graphs and CUDA. vLLM measures it when it starts."""


def weight_bytes(shape: Shape, asked: Asked) -> int:
    """Of one card. Norms, which each card has whole, are shared out too: they are a ten thousandth."""
    bits = 8 if asked.quantization == "fp8" else shape.linear_bits
    whole = shape.linear_parameters * min(bits, shape.linear_bits) // 8 + shape.other_parameters * 2
    return whole // asked.tensor_parallel_size


def kv_heads(shape: Shape, asked: Asked) -> int:
    """Of one card. Where there are more cards than heads, several hold the same one."""
    return max(1, shape.kv_heads // asked.tensor_parallel_size)


def kv_token_bytes(shape: Shape, asked: Asked) -> int:
    """Of a token on one card: a key and a value in every layer."""
    number_bytes = 1 if asked.kv_cache_dtype == "fp8" else 2
    return 2 * shape.layers * kv_heads(shape, asked) * shape.head_dim * number_bytes


def kv_tokens(shape: Shape, asked: Asked, kv_bytes: int) -> int:
    """That so many bytes of one card hold, in whole blocks."""
    return max(0, kv_bytes // (kv_token_bytes(shape, asked) * BLOCK)) * BLOCK


@dataclass(frozen=True, slots=True)
class Fit:
    """A model on a card, or on several that are one engine."""

    shape: Shape
    asked: Asked
    card: Card

    @property
    def kv_bytes(self) -> int:
        """Left for KV on each card; below 0 the weights alone are too large."""
        taken = self.card.memory * self.asked.gpu_memory_utilization - self.asked.working_gib
        return int(taken * GIB) - weight_bytes(self.shape, self.asked)

    @property
    def kv_tokens(self) -> int:
        return kv_tokens(self.shape, self.asked, self.kv_bytes)

    @property
    def sequences(self) -> int:
        """That the KV memory holds at once."""
        return self.kv_tokens // self.asked.sequence_tokens

    @property
    def reads_kv(self) -> bool:
        """Whether the card has kernels for KV memory of this type, without any that are compiled with `nvcc`."""
        return self.asked.kv_cache_dtype == "auto" or self.card.capability >= FP8_KV_SINCE

    @property
    def attention_backend(self) -> str | None:
        """vLLM's setting of this name; None where what it chooses by itself needs no `nvcc`."""
        by_itself = self.asked.kv_cache_dtype == "auto" or self.card.capability[0] == FLASH_ATTENTION_FP8_KV
        return None if by_itself else "TRITON_ATTN"

    @property
    def serves(self) -> bool:
        """Whether vLLM starts, which wants room for `max_model_len` beside its own block, and two sequences fit."""
        return self.reads_kv and self.kv_tokens - BLOCK >= self.asked.max_model_len and self.sequences >= 2


def remedies(fit: Fit, cards: Mapping[int, Card]) -> list[str]:
    """What would let a model fit that does not: each by itself, those that cost least first."""
    asked = fit.asked
    fp8_weights, fp8_kv = replace(asked, quantization="fp8"), replace(asked, kv_cache_dtype="fp8")
    by_options = {
        "--kv-cache-dtype auto": replace(asked, kv_cache_dtype="auto"),
        "--quantization fp8": fp8_weights,
        "--kv-cache-dtype fp8": fp8_kv,
        "--quantization fp8 --kv-cache-dtype fp8": replace(fp8_weights, kv_cache_dtype="fp8"),
        "--max-model-len 4096": replace(asked, max_model_len=min(4096, asked.max_model_len)),
    }
    changes: list[str] = []
    for options, other in by_options.items():
        if not any(one in options for one in changes) and other != asked and Fit(fit.shape, other, fit.card).serves:
            changes.append(options)
    cards_each = asked.tensor_parallel_size * 2
    while cards_each <= 8 and fit.shape.heads % cards_each == 0:
        if Fit(fit.shape, replace(asked, tensor_parallel_size=cards_each), fit.card).serves:
            changes.append(f"{cards_each} of these cards (--tensor-parallel-size {cards_each})")
            break
        cards_each *= 2
    for gigabytes, card in sorted(cards.items()):
        if gigabytes > fit.card.gigabytes and Fit(fit.shape, asked, card).serves:
            changes.append(f"a card of {gigabytes} GB")
            break
    return changes
