"""Both implementations against a float64 oracle that loops over the sequences, in the plainest words there are.

On a CPU the kernel is interpreted, and inputs stay below two million numbers; what is larger runs on a GPU only.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from psychechat_kernels.fused_heads import (
    MAX_COLUMNS,
    Implementation,
    Pooling,
    Tuning,
    fused_heads,
    new_workspace,
    uses_kernel,
    warm_up,
)
from psychechat_kernels.fused_heads.tuning import DEFAULT

GROUPS = (4,) * 8 + (5,)
COLUMNS = sum(GROUPS)
POOLINGS: tuple[Pooling, ...] = ("mean", "first", "last")
IMPLEMENTATIONS: tuple[Implementation, ...] = ("reference", "triton")
TOLERANCE = {torch.float32: 4e-6, torch.float16: 2e-6, torch.bfloat16: 2e-6}
"""Of a probability. Inputs are rounded before both sides read them, so what is left is the accumulation in fp32, and
for fp32 inputs the three tf32 products that make up one of fp32 on a GPU."""
FP32, FP16, BF16 = TOLERANCE

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Case(NamedTuple):
    """Packed sequences and heads, and what the case stresses."""

    why: str
    lengths: Sequence[int]
    hidden_size: int
    groups: tuple[int, ...] = GROUPS
    scale: float = 0.1
    """Of the weights: the inverse of a temperature."""
    gap: int = 0
    """Tokens between sequences that belong to none."""
    dtypes: Sequence[torch.dtype] = (FP32,)
    poolings: Sequence[Pooling] = ("mean",)


CASES = [
    Case("a single token: pooling is the identity", [1], 64, dtypes=[*TOLERANCE], poolings=POOLINGS),
    Case("the demo encoder's shape", [12, 7, 31], 384, dtypes=[*TOLERANCE], poolings=POOLINGS),
    Case("a width that is no multiple of a block", [5, 3], 1000, dtypes=[BF16], poolings=POOLINGS),
    Case("a prime width: no aligned rows, one column in the last block", [9, 2], 4099, dtypes=[FP32, FP16]),
    Case("the widest: many slices to a tile", [3], 8192, dtypes=[BF16], poolings=["mean", "last"]),
    Case("31 sequences: the last size of one-sequence tiles", [4] * 31, 64),
    Case("32 sequences: the first full tile", [4] * 32, 64, poolings=POOLINGS),
    Case("33 sequences: a tile with one row", [4] * 33, 64, dtypes=[BF16], poolings=POOLINGS),
    Case("many short sequences of unequal length", [1, 2, 3] * 85 + [1, 1], 384, dtypes=[BF16]),
    Case("eight to a tile, each dealt out to four rows", [65, 3, 100, 1] * 8 + [77], 128, dtypes=[FP32, BF16]),
    Case("long beside short: splits that some sequences do not reach", [5000, 1, 17, 512], 64, dtypes=[*TOLERANCE]),
    Case("long beside short in one tile", [900, *[1] * 32], 64),
    Case("long enough that rounding would show if it were not fp32", [4999], 64, dtypes=[FP16], scale=3.0),
    Case("tokens that belong to no sequence", [4, 9, 1], 384, gap=3, poolings=POOLINGS),
    Case("one group of one column: its probability is 1", [3, 4], 64, groups=(1,)),
    Case("groups of unequal widths", [6, 2], 100, groups=(2, 7, 1, 33)),
    Case("a third head behind the two", [12, 7, 31], 384, groups=(*GROUPS, 2), dtypes=[*TOLERANCE], poolings=POOLINGS),
    Case("the most columns, none to spare", [7, 65, 3], 100, groups=(4,) * 16, dtypes=[FP32, BF16]),
    Case("the most columns, 33 sequences to a tile and a row", [5] * 33, 64, groups=(1, 63), poolings=POOLINGS),
    Case("logits in the thousands: softmax must not overflow", [8, 8], 384, scale=300.0),
    Case("a temperature so high that nothing is left but the bias", [8, 8], 384, scale=1e-30),
    Case("a temperature so low that softmax is one column", [8, 8], 384, scale=1e4),
]
ROWS = [
    pytest.param(case, dtype, pooling, id=f"{case.why}, {str(dtype)[6:]}, {pooling}")
    for case in CASES
    for dtype in case.dtypes
    for pooling in case.poolings
]
LARGE = [
    Case("a window of everyday messages", [3, 60, 17, 512] * 64, 384, poolings=POOLINGS, dtypes=[*TOLERANCE]),
    Case("one sequence on the whole GPU", [32_768], 4096, dtypes=[BF16]),
    Case("4,096 short sequences", [8] * 4096, 4096, dtypes=[BF16], poolings=POOLINGS),
    Case("4,096 sequences, one of them long", [20_000, *[5] * 4095], 1024, dtypes=[FP16]),
    Case("more tiles than the workspace has counters", [1] * 70_000, 64),
    Case("an offset beyond 32 bits", [4096] * 300, 2048, dtypes=[BF16], poolings=["mean", "last"]),
]


TUNINGS = [
    pytest.param(DEFAULT, id="default"),
    pytest.param(Tuning(warps=8), id="eight warps"),
    pytest.param(Tuning(registers=168), id="168 registers"),
    pytest.param(Tuning(block=32, waves=8), id="narrow blocks, more programs"),
    pytest.param(Tuning(step=4, stages=2, waves=2), id="a pipeline, fewer programs"),
    pytest.param(Tuning(warps=8, step=4, stages=3, block=128), id="a longer pipeline, wide blocks"),
]


class Inputs(NamedTuple):
    hidden: Tensor
    starts: Tensor
    ends: Tensor
    weight: Tensor
    bias: Tensor


def build(case: Case, dtype: torch.dtype, device: torch.device) -> Inputs:
    generator = torch.Generator(device).manual_seed(len(case.lengths) * 10_007 + case.hidden_size)
    lengths = torch.tensor(case.lengths, device=device)
    starts = (lengths + case.gap).cumsum(0) - lengths
    tokens = sum(case.lengths) + case.gap * (len(case.lengths) + 1)
    hidden = torch.randn(tokens, case.hidden_size, generator=generator, device=device, dtype=dtype)
    columns = sum(case.groups)
    weight = torch.randn(columns, case.hidden_size, generator=generator, device=device) * case.scale
    bias = torch.randn(columns, generator=generator, device=device)
    return Inputs(hidden, starts, starts + lengths - 1, weight, bias)


def oracle(inputs: Inputs, groups: Sequence[int], pooling: Pooling) -> Tensor:
    hidden, starts, ends, weight, bias = inputs
    rows = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        tokens = hidden[start : end + 1].double()
        pooled = {"mean": tokens.mean(0), "first": tokens[0], "last": tokens[-1]}[pooling]
        logits = weight.double() @ pooled + bias.double()
        rows.append(torch.cat([part.softmax(0) for part in torch.split(logits, list(groups))]))
    return torch.stack(rows)


def check(
    case: Case,
    dtype: torch.dtype,
    pooling: Pooling,
    implementation: Implementation,
    device: torch.device,
    tuning: Tuning = DEFAULT,
) -> None:
    inputs = build(case, dtype, device)
    out = torch.full((len(case.lengths), sum(case.groups)), math.nan, device=device)
    how: dict[str, Any] = {"out": out, "implementation": implementation, "tuning": tuning}
    returned = fused_heads(*inputs, case.groups, pooling, max_len=max(case.lengths), **how)
    assert returned is out
    # A logit's rounding error grows with the logits, and a probability moves by at most a quarter of it.
    tolerance = TOLERANCE[dtype] * max(1.0, case.scale * math.sqrt(case.hidden_size))
    torch.testing.assert_close(out.double(), oracle(inputs, case.groups, pooling), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("case", "dtype", "pooling"), ROWS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_agrees_with_float64(
    case: Case, dtype: torch.dtype, pooling: Pooling, implementation: Implementation, device: torch.device
) -> None:
    assert sum(case.lengths) * case.hidden_size < 2e6
    check(case, dtype, pooling, implementation, device)


@needs_gpu
@pytest.mark.parametrize(
    ("case", "dtype", "pooling"),
    [
        pytest.param(case, dtype, pooling, id=f"{case.why}, {str(dtype)[6:]}, {pooling}")
        for case in LARGE
        for dtype in case.dtypes
        for pooling in case.poolings
    ],
)
def test_large_inputs_agree_with_float64(
    case: Case, dtype: torch.dtype, pooling: Pooling, device: torch.device
) -> None:
    check(case, dtype, pooling, "triton", device)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 40) | st.sampled_from([64, 65, 300]), min_size=1, max_size=40),
    hidden_size=st.integers(64, 320),
    groups=st.lists(st.integers(1, 9), min_size=1, max_size=9).filter(lambda widths: sum(widths) <= MAX_COLUMNS),
    gap=st.integers(0, 2),
    dtype=st.sampled_from([*TOLERANCE]),
    pooling=st.sampled_from(POOLINGS),
)
def test_any_shape_agrees_with_float64(
    lengths: list[int],
    hidden_size: int,
    groups: list[int],
    gap: int,
    dtype: torch.dtype,
    pooling: Pooling,
    device: torch.device,
) -> None:
    check(Case("drawn", lengths, hidden_size, tuple(groups), gap=gap), dtype, pooling, "triton", device)


@pytest.mark.parametrize("tuning", TUNINGS[3:])  # what the interpreter tells apart
@pytest.mark.parametrize(
    "case",
    [
        Case("two sequences over many programs, a width that is no multiple of any block", [140, 3], 200),
        Case("eight to a tile, each dealt out to four rows", [1] * 32 + [66], 64),
    ],
    ids=lambda case: case.why,
)
def test_no_tuning_moves_a_result(case: Case, tuning: Tuning, device: torch.device) -> None:
    check(case, BF16, "mean", "triton", device, tuning)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_allocates_when_not_given_a_place(implementation: Implementation, device: torch.device) -> None:
    inputs = build(CASES[1], torch.float32, device)
    probabilities = fused_heads(*inputs, GROUPS, "mean", max_len=31, implementation=implementation)
    torch.testing.assert_close(probabilities.double(), oracle(inputs, GROUPS, "mean"), rtol=0, atol=4e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_int32_indices_mean_the_same(implementation: Implementation, device: torch.device) -> None:
    hidden, starts, ends, weight, bias = build(CASES[1], torch.float32, device)
    force: dict[str, Any] = {"max_len": 31, "implementation": implementation}
    long = fused_heads(hidden, starts, ends, weight, bias, GROUPS, "mean", **force)
    short = fused_heads(hidden, starts.int(), ends.int(), weight, bias, GROUPS, "mean", **force)
    assert torch.equal(long, short)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, of the interpreter: NaN is meant
@pytest.mark.parametrize("case", [CASES[1], Case("a full tile", [12] * 33, 384)], ids=["few", "a full tile"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_neighbours_do_not_leak(case: Case, implementation: Implementation, device: torch.device) -> None:
    """What stands around a sequence, NaN included, does not change its row: nobody's message spoils another's."""
    hidden, starts, ends, weight, bias = build(case, torch.float32, device)
    force: dict[str, Any] = {"max_len": 31, "implementation": implementation}
    before = fused_heads(hidden, starts, ends, weight, bias, GROUPS, "mean", **force)
    hidden[: starts[1]] = math.nan
    hidden[ends[1] + 1 :] = math.nan
    after = fused_heads(hidden, starts, ends, weight, bias, GROUPS, "mean", **force)
    assert torch.equal(after[1], before[1])
    assert after[0].isnan().all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_generous_max_len_changes_nothing_but_the_cut(implementation: Implementation, device: torch.device) -> None:
    inputs = build(CASES[1], torch.float32, device)
    for max_len in (32, 500, 10_000):
        probabilities = fused_heads(*inputs, GROUPS, "mean", max_len=max_len, implementation=implementation)
        torch.testing.assert_close(probabilities.double(), oracle(inputs, GROUPS, "mean"), rtol=0, atol=4e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_sequences(pooling: Pooling, implementation: Implementation, device: torch.device) -> None:
    none = torch.empty(0, dtype=torch.int64, device=device)
    weight, bias = torch.ones(COLUMNS, 64, device=device), torch.zeros(COLUMNS, device=device)
    for tokens, max_len in ((0, 0), (3, 3)):
        hidden = torch.ones(tokens, 64, device=device)
        out = fused_heads(
            hidden, none, none, weight, bias, GROUPS, pooling, max_len=max_len, implementation=implementation
        )
        assert out.shape == (0, COLUMNS)


def test_a_workspace_serves_call_after_call(device: torch.device) -> None:
    """Its counters are back at zero after each, whatever partials the last call has left."""
    workspace = new_workspace(COLUMNS, device)
    for case in (CASES[1], Case("split", [700, 3], 384), Case("tiles", [9] * 40, 384), CASES[1]):
        inputs = build(case, torch.float32, device)
        out = fused_heads(
            *inputs, GROUPS, "mean", max_len=max(case.lengths), workspace=workspace, implementation="triton"
        )
        torch.testing.assert_close(out.double(), oracle(inputs, GROUPS, "mean"), rtol=0, atol=4e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="only the interpreter lets us choose who comes last")
@pytest.mark.parametrize("lengths", [[700], [3, 900, 40], [70] * 33], ids=["one", "three", "eight a tile"])
def test_who_arrives_last_changes_nothing(
    lengths: list[int], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.runtime.interpreter import interpreter_builder

    from psychechat_kernels.fused_heads import kernel

    case = Case("shared tiles", lengths, 128)
    inputs, longest = build(case, torch.float32, device), max(lengths)
    expected = fused_heads(*inputs, GROUPS, "mean", max_len=longest, implementation="triton")
    cut = kernel.cut(len(lengths), longest, 128, 4, processors=2)
    assert cut.shared
    run_as = interpreter_builder.set_grid_idx
    for seed in range(3):
        order = torch.randperm(cut.programs, generator=torch.Generator().manual_seed(seed)).tolist()
        monkeypatch.setattr(interpreter_builder, "set_grid_idx", lambda x, y, z, order=order: run_as(order[x], y, z))
        assert torch.equal(fused_heads(*inputs, GROUPS, "mean", max_len=longest, implementation="triton"), expected)


def test_a_max_len_below_the_truth_leaves_the_workspace_usable(device: torch.device) -> None:
    """On a GPU nobody checks it, without waiting. The row is wrong, and only that."""
    from psychechat_kernels.fused_heads import kernel

    inputs, out = build(Case("split", [700], 384), torch.float32, device), torch.empty(1, COLUMNS, device=device)
    workspace = new_workspace(COLUMNS, device)
    kernel.launch(*inputs, GROUPS, "mean", 300, out, workspace)
    assert workspace[: kernel.MAX_PROGRAMS].eq(0).all()


def test_what_warms_up_leaves_the_workspace_ready(device: torch.device) -> None:
    from psychechat_kernels.fused_heads import kernel

    inputs, workspace = build(Case("two slices", [3], 128), torch.bfloat16, device), new_workspace(COLUMNS, device)
    warm_up(inputs.weight, inputs.bias, GROUPS, "mean", torch.bfloat16, workspace)
    assert workspace[: kernel.MAX_PROGRAMS].eq(0).all()
    packs = {kernel.cut(n, length, 384, 8, processors=132).pack for n, length in ((1, 2), (64, 2), (64, 100))}
    assert packs == {kernel.cut(n, m, 384, 8, 132).pack for n in range(1, 257) for m in (1, 64, 65, 512)}


def test_cuts_cover_the_work_and_fit_the_workspace() -> None:
    from psychechat_kernels.fused_heads import kernel

    for sequences in (1, 8, 31, 32, 257, 4096, 65_536, 70_000):
        for longest in (1, 8, 64, 65, 512, 5000, 32_768):
            for width in (64, 384, 1000, 4096, 8192):
                cut = kernel.cut(sequences, longest, width, 8, processors=132)
                assert cut.tiles * cut.pack >= sequences
                assert cut.splits * cut.tokens >= longest
                assert (cut.splits - 1) * cut.tokens < longest, "a split without tokens"
                assert cut.slices * cut.blocks * DEFAULT.block >= width
                assert (cut.slices - 1) * cut.blocks * DEFAULT.block < width, "a slice without columns"
                assert not cut.shared or cut.programs <= kernel.MAX_PROGRAMS


@pytest.mark.parametrize(
    ("sequences", "longest", "width"), [(1, 32_768, 384), (1, 32_768, 4096), (8, 4096, 1024), (4096, 8, 4096)]
)
def test_large_work_fills_a_gpu(sequences: int, longest: int, width: int) -> None:
    from psychechat_kernels.fused_heads import kernel

    assert kernel.cut(sequences, longest, width, 8, processors=132).programs >= 2 * 132


@needs_gpu
@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("lengths", [[32_768], [700] * 33], ids=["one long sequence", "many shared tiles"])
def test_ten_thousand_runs_are_bit_identical(lengths: list[int], tuning: Tuning, device: torch.device) -> None:
    """A race between a tile's programs would show as a sum in another order, or of partials not yet there.

    Those of the last run are wiped out first: read too early, they must not pass for this run's.
    """
    from psychechat_kernels.fused_heads import kernel

    inputs = build(Case("raced", lengths, 384), torch.bfloat16, device)
    workspace, out = new_workspace(COLUMNS, device), torch.empty(len(lengths), COLUMNS, device=device)
    partials = workspace[kernel.MAX_PROGRAMS :].view(torch.float32)
    how: dict[str, Any] = {"max_len": max(lengths), "tuning": tuning}
    expected = fused_heads(*inputs, GROUPS, "mean", implementation="triton", **how)
    differing = torch.zeros((), dtype=torch.int64, device=device)
    for _ in range(10_000):
        partials.fill_(math.nan)
        fused_heads(*inputs, GROUPS, "mean", out=out.fill_(math.nan), workspace=workspace, **how)
        differing += (out != expected).any()
    assert differing.item() == 0


@needs_gpu
def test_streams_with_a_workspace_each_do_not_meet(device: torch.device) -> None:
    inputs = [build(Case("raced", [700 + i] * 33, 384), torch.bfloat16, device) for i in range(2)]
    expected = [fused_heads(*own, GROUPS, "mean", max_len=701, implementation="triton") for own in inputs]
    workspaces = [new_workspace(COLUMNS, device) for _ in inputs]
    streams = [torch.cuda.Stream() for _ in inputs]  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    results: list[list[Tensor]] = [[], []]
    for _ in range(200):
        for i, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                results[i].append(fused_heads(*inputs[i], GROUPS, "mean", max_len=701, workspace=workspaces[i]))
    torch.cuda.synchronize()
    for i, own in enumerate(results):
        assert all(torch.equal(result, expected[i]) for result in own)


@needs_gpu
def test_a_cuda_graph_replays_it(device: torch.device) -> None:
    inputs = build(Case("split", [700, 3, 50], 384), torch.bfloat16, device)
    workspace, out = new_workspace(COLUMNS, device), torch.empty(3, COLUMNS, device=device)

    def call() -> None:
        fused_heads(*inputs, GROUPS, "mean", max_len=700, out=out, workspace=workspace)

    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    for seed in range(3):
        inputs.hidden.normal_(generator=torch.Generator(device).manual_seed(seed))
        out.fill_(math.nan)
        graph.replay()
        torch.testing.assert_close(out.double(), oracle(inputs, GROUPS, "mean"), rtol=0, atol=4e-6)


def arguments(device: torch.device, **change: object) -> dict[str, Any]:
    return {
        "hidden": torch.ones(3, 64, device=device),
        "starts": torch.tensor([0], device=device),
        "ends": torch.tensor([2], device=device),
        "weight": torch.ones(COLUMNS, 64, device=device),
        "bias": torch.zeros(COLUMNS, device=device),
        "groups": GROUPS,
        "pooling": "mean",
        "max_len": 3,
    } | change


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
        ({"out": torch.empty(1, COLUMNS, device="meta")}, "out must be"),
        ({"max_len": 0}, "max_len"),
        ({"max_len": 2}, "a sequence has 3 tokens"),
        ({"ends": torch.tensor([3])}, "range within the 3 tokens"),
        ({"starts": torch.tensor([-1])}, "range within"),
        ({"starts": torch.tensor([2]), "ends": torch.tensor([1])}, "non-empty"),
        ({"starts": torch.tensor([0, 1]), "ends": torch.tensor([1, 2])}, "overlap"),
        ({"starts": torch.tensor([1, 0]), "ends": torch.tensor([2, 0])}, "overlap"),
        ({"implementation": "cuda"}, "implementation"),
    ],
)
def test_refuses_what_does_not_fit(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        fused_heads(**arguments(torch.device("cpu"), **change))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hidden": torch.ones(64, 3).T}, "next to each other"),
        ({"weight": torch.ones(64, COLUMNS).T}, "contiguous"),
        ({"weight": torch.ones(65, 64), "bias": torch.ones(65), "groups": (60, 5)}, "at most 64 columns, not 65"),
        ({"workspace": torch.zeros(8, dtype=torch.int32)}, "new_workspace"),
    ],
)
def test_the_kernel_refuses_what_it_cannot_read(
    change: dict[str, object], complaint: str, device: torch.device
) -> None:
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in change.items()}
    with pytest.raises(ValueError, match=complaint):
        fused_heads(**arguments(device, **moved, implementation="triton"))


def test_beyond_the_kernels_columns_the_reference_answers(device: torch.device) -> None:
    """Wherever the tensors are, unless the kernel is asked for by name."""
    case = Case("one column too many", [12, 7, 31], 64, groups=(60, 5))
    inputs = build(case, torch.float32, device)
    found, reference = (
        fused_heads(*inputs, case.groups, "mean", max_len=31, implementation=implementation)
        for implementation in (None, "reference")
    )
    assert torch.equal(found, reference)
    torch.testing.assert_close(found.double(), oracle(inputs, case.groups, "mean"), rtol=0, atol=4e-6)


def test_the_kernel_is_for_a_gpu_and_for_as_many_columns_as_it_holds() -> None:
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    with pytest.warns(UserWarning, match="70 columns go through plain PyTorch: the kernel holds 64 at most"):
        assert not uses_kernel(70, gpu)
    with warnings.catch_warnings(record=True, action="always") as more:
        chosen = [uses_kernel(70, gpu), uses_kernel(MAX_COLUMNS, gpu), uses_kernel(70, cpu)]
    assert chosen == [False, True, False]
    assert not more, "it warns once, and never where the kernel is not for the device anyway"
    with pytest.raises(ValueError, match="at most 64"):
        new_workspace(MAX_COLUMNS + 1, cpu)


def test_the_kernel_needs_a_gpu_or_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    from psychechat_kernels.fused_heads import kernel

    monkeypatch.setattr(kernel, "INTERPRETED", False)
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1"):
        fused_heads(**arguments(torch.device("cpu")), implementation="triton")
