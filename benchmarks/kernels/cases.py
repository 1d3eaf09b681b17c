"""What is measured: batches of equal sequences, and their inputs."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch

from benchmarks.kernels.contenders import GROUPS, Inputs
from psychechat_kernels.fused_heads import Pooling

ELEMENT = 2
"""Bytes of a hidden number: bf16."""


class Case(NamedTuple):
    batch: int
    length: int
    width: int
    pooling: Pooling

    @property
    def hidden_bytes(self) -> int:
        """Of all hidden states, which the encoder has left in memory."""
        return self.batch * self.length * self.width * ELEMENT

    @property
    def read_bytes(self) -> int:
        """What must be read at least: the hidden states that are pooled, and the heads once."""
        tokens = self.length if self.pooling == "mean" else 1
        return self.batch * tokens * self.width * ELEMENT + sum(GROUPS) * (self.width + 1) * 4

    @property
    def moved_bytes(self) -> int:
        """What is read, and the probabilities written."""
        return self.read_bytes + self.batch * sum(GROUPS) * 4


def cases(most_bytes: int) -> Iterator[Case]:
    """The project's grid, without what takes more than `most_bytes` of memory."""
    for pooling, width, length, batch in itertools.product(
        ("mean", "last"), (384, 1024, 4096), (8, 32, 128, 512, 4096), (1, 8, 64, 512, 4096)
    ):
        case = Case(batch, length, width, pooling)  # type: ignore[arg-type]
        if case.hidden_bytes <= most_bytes:
            yield case


def small_cases() -> Iterator[Case]:
    """For a rehearsal in the interpreter."""
    yield from (Case(3, 8, 384, "mean"), Case(20, 4, 64, "mean"), Case(3, 8, 384, "last"))


def build(case: Case, device: torch.device) -> Inputs:
    generator = torch.Generator(device).manual_seed(0)
    lengths = torch.full((case.batch,), case.length)
    starts = torch.arange(0, case.batch * case.length, case.length, device=device)
    columns = sum(GROUPS)
    return Inputs(
        hidden=torch.randn(
            case.batch * case.length, case.width, generator=generator, device=device, dtype=torch.bfloat16
        ),
        starts=starts,
        ends=starts + case.length - 1,
        weight=torch.randn(columns, case.width, generator=generator, device=device) * case.width**-0.5,
        bias=torch.randn(columns, generator=generator, device=device),
        lengths=lengths.pin_memory() if device.type == "cuda" else lengths,
    )
