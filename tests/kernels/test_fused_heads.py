"""The fused heads against a float64 oracle that loops over the sequences, in the plainest words there are."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from psychechat_kernels.fused_heads import Pooling, fused_heads

GROUPS = (4,) * 8 + (5,)
COLUMNS = sum(GROUPS)
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-6, torch.bfloat16: 2e-6}
"""The inputs are rounded before both sides read them, so what is left is the fp32 accumulation."""


class Case(NamedTuple):
    """Packed sequences and heads, and what the case stresses."""

    why: str
    lengths: Sequence[int]
    hidden_size: int
    groups: tuple[int, ...] = GROUPS
    scale: float = 0.1
    gap: int = 0
    """Tokens between sequences that belong to none."""


CASES = [
    Case("a single token: pooling is the identity", [1], 64),
    Case("the encoder's own shape", [12, 7, 31], 384),
    Case("odd width", [5, 3], 1000),
    Case("prime width past a power of two", [9, 2], 4099),
    Case("many short sequences", [1, 2, 3] * 85 + [1, 1], 384),
    Case("long beside short", [5000, 1, 17, 512], 64),
    Case("tokens that belong to no sequence", [4, 9, 1], 384, gap=3),
    Case("one group of one column: its probability is 1", [3, 4], 64, groups=(1,)),
    Case("groups of unequal widths", [6, 2], 100, groups=(2, 7, 1, 33)),
    Case("logits in the thousands: softmax must not overflow", [8, 8], 384, scale=300.0),
]


def build(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(len(case.lengths) * 10_007 + case.hidden_size)
    starts, position = [], 0
    for length in case.lengths:
        position += case.gap
        starts.append(position)
        position += length
    first = torch.tensor(starts)
    hidden = torch.randn(position + case.gap, case.hidden_size, generator=generator).to(dtype)
    columns = sum(case.groups)
    weight = torch.randn(columns, case.hidden_size, generator=generator) * case.scale
    return hidden, first, first + torch.tensor(case.lengths) - 1, weight, torch.randn(columns, generator=generator)


def oracle(
    hidden: Tensor, starts: Tensor, ends: Tensor, weight: Tensor, bias: Tensor, groups: Sequence[int], pooling: Pooling
) -> Tensor:
    rows = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        tokens = hidden[start : end + 1].double()
        pooled = {"mean": tokens.mean(0), "first": tokens[0], "last": tokens[-1]}[pooling]
        logits = weight.double() @ pooled + bias.double()
        rows.append(torch.cat([part.softmax(0) for part in torch.split(logits, list(groups))]))
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why)
def test_agrees_with_float64(case: Case, pooling: Pooling, dtype: torch.dtype) -> None:
    inputs = build(case, dtype)
    out = torch.full((len(case.lengths), sum(case.groups)), math.nan)
    returned = fused_heads(*inputs, case.groups, pooling, max_len=max(case.lengths), out=out)
    assert returned is out
    # A logit's rounding error grows with the logits, and a probability moves by at most a quarter of it.
    tolerance = TOLERANCE[dtype] * max(1.0, case.scale * math.sqrt(case.hidden_size))
    torch.testing.assert_close(out.double(), oracle(*inputs, case.groups, pooling), rtol=0, atol=tolerance)


def test_allocates_when_not_given_a_place() -> None:
    inputs = build(CASES[1], torch.float32)
    probabilities = fused_heads(*inputs, GROUPS, "mean", max_len=31)
    torch.testing.assert_close(probabilities.double(), oracle(*inputs, GROUPS, "mean"), rtol=0, atol=1e-6)


def test_int32_indices_mean_the_same() -> None:
    hidden, starts, ends, weight, bias = build(CASES[1], torch.float32)
    long = fused_heads(hidden, starts, ends, weight, bias, GROUPS, "mean", max_len=31)
    short = fused_heads(hidden, starts.int(), ends.int(), weight, bias, GROUPS, "mean", max_len=31)
    assert torch.equal(long, short)


def test_neighbours_do_not_leak() -> None:
    """What stands around a sequence, NaN included, does not change its row."""
    hidden, starts, ends, weight, bias = build(CASES[1], torch.float32)
    before = fused_heads(hidden, starts, ends, weight, bias, GROUPS, "mean", max_len=31)
    hidden[: starts[1]] = math.nan
    hidden[ends[1] + 1 :] = math.nan
    after = fused_heads(hidden, starts, ends, weight, bias, GROUPS, "mean", max_len=31)
    assert torch.equal(after[1], before[1])


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_no_sequences(pooling: Pooling) -> None:
    none = torch.empty(0, dtype=torch.int64)
    weight, bias = torch.ones(COLUMNS, 64), torch.zeros(COLUMNS)
    assert fused_heads(torch.empty(0, 64), none, none, weight, bias, GROUPS, pooling, max_len=0).shape == (0, COLUMNS)
    assert fused_heads(torch.ones(3, 64), none, none, weight, bias, GROUPS, pooling, max_len=3).shape == (0, COLUMNS)


def test_triton_is_announced_not_faked() -> None:
    inputs = build(CASES[0], torch.float32)
    with pytest.raises(NotImplementedError, match="later release"):
        fused_heads(*inputs, GROUPS, "mean", max_len=1, implementation="triton")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hidden": torch.ones(64)}, "hidden"),
        ({"hidden": torch.ones(3, 64, dtype=torch.int64)}, "hidden"),
        ({"starts": torch.zeros(2, dtype=torch.int64)}, "starts and ends"),
        ({"starts": torch.zeros(1)}, "int32 or int64"),
        ({"weight": torch.ones(COLUMNS, 65)}, "weight"),
        ({"bias": torch.ones(COLUMNS + 1)}, "bias"),
        ({"groups": (4, 4)}, "groups"),
        ({"groups": (COLUMNS, 0)}, "groups"),
        ({"pooling": "max"}, "pooling"),
        ({"out": torch.empty(1, COLUMNS, dtype=torch.float64)}, "out"),
        ({"weight": torch.ones(COLUMNS, 64, device="meta")}, "device"),
        ({"max_len": 0}, "max_len"),
        ({"max_len": 2}, "a sequence has 3 tokens"),
        ({"ends": torch.tensor([3])}, "range within the 3 tokens"),
        ({"starts": torch.tensor([-1])}, "range within"),
        ({"starts": torch.tensor([2]), "ends": torch.tensor([1])}, "non-empty"),
        ({"implementation": "cuda"}, "implementation"),
    ],
)
def test_refuses_what_does_not_fit(change: dict[str, object], complaint: str) -> None:
    arguments: dict[str, object] = {
        "hidden": torch.ones(3, 64),
        "starts": torch.tensor([0]),
        "ends": torch.tensor([2]),
        "weight": torch.ones(COLUMNS, 64),
        "bias": torch.zeros(COLUMNS),
        "groups": GROUPS,
        "pooling": "mean",
        "max_len": 3,
    }
    with pytest.raises(ValueError, match=complaint):
        fused_heads(**(arguments | change))  # type: ignore[arg-type]
