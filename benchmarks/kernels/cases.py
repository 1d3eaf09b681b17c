"""What is measured: batches of equal and unequal sequences, and their inputs, with indices as the server has them."""

import itertools
import math
import random
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

import torch

from benchmarks.kernels.contenders import GROUPS, Inputs
from psychechat_kernels.fused_heads import Pooling

ELEMENT = 2
"""Bytes of a hidden number: bf16."""
MEMORY_SHARE = 0.15
"""Of the GPU's memory, for one copy of the hidden states: the eager reference makes fp32 ones beside it."""


class Case(NamedTuple):
    batch: int
    length: int
    width: int
    pooling: Pooling
    lengths: Literal["equal", "unequal"] = "equal"
    """`length` is that of all sequences, or of the longest."""

    @property
    def tokens(self) -> int:
        return sum(token_counts(self))

    @property
    def hidden_bytes(self) -> int:
        """Of all hidden states, which the encoder has left in memory."""
        return self.tokens * self.width * ELEMENT

    @property
    def read_bytes(self) -> int:
        """What must be read at least: the hidden states that are pooled, and the heads once."""
        tokens = self.tokens if self.pooling == "mean" else self.batch
        return tokens * self.width * ELEMENT + sum(GROUPS) * (self.width + 1) * 4

    @property
    def moved_bytes(self) -> int:
        """What is read, and the probabilities written."""
        return self.read_bytes + self.batch * sum(GROUPS) * 4


@cache
def token_counts(case: Case) -> tuple[int, ...]:
    """Of each sequence. Unequal ones are as messages are, many short and few long: their logarithms are spread evenly,
    and one of them, anywhere, is as long as the case says.
    """
    if case.lengths == "equal":
        return (case.length,) * case.batch
    chance = random.Random(f"{case.batch} {case.length}")
    drawn = [round(math.exp(chance.uniform(0.0, math.log(case.length)))) for _ in range(case.batch)]
    drawn[chance.randrange(case.batch)] = case.length
    return tuple(drawn)


def cases(most_bytes: int) -> Iterator[Case]:
    """The project's grid, without what takes more than `most_bytes` of memory."""
    equal = itertools.product(("mean", "last"), (384, 1024, 4096), (8, 32, 128, 512, 4096), (1, 8, 64, 512, 4096))
    unequal = itertools.product(("mean",), (384, 1024, 4096), (64, 512, 4096), (8, 64, 512, 4096))
    for kind, grid in (("equal", equal), ("unequal", unequal)):
        for pooling, width, length, batch in grid:
            case = Case(batch, length, width, pooling, kind)  # type: ignore[arg-type]
            if case.hidden_bytes <= most_bytes:
                yield case


def small_cases() -> Iterator[Case]:
    """For a rehearsal in the interpreter."""
    yield from (Case(3, 8, 384, "mean"), Case(20, 4, 64, "mean"), Case(3, 8, 384, "last"))
    yield Case(5, 20, 64, "mean", "unequal")


def build(case: Case, device: torch.device) -> Inputs:
    """Random numbers. The indices are int32 and on the device, as vLLM's `query_start_loc` is."""
    generator = torch.Generator(device).manual_seed(0)
    lengths = torch.tensor(token_counts(case))
    ends = lengths.cumsum(0)
    columns = sum(GROUPS)
    return Inputs(
        hidden=torch.randn(case.tokens, case.width, generator=generator, device=device, dtype=torch.bfloat16),
        starts=(ends - lengths).to(device, torch.int32),
        ends=(ends - 1).to(device, torch.int32),
        weight=torch.randn(columns, case.width, generator=generator, device=device) * case.width**-0.5,
        bias=torch.randn(columns, generator=generator, device=device),
        lengths=lengths.pin_memory() if device.type == "cuda" else lengths,
    )
