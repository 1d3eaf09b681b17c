"""The fused heads as one Triton kernel: pool, project and normalise, with one read of the hidden states.

A tile is up to 32 sequences. Its work is cut along the tokens (splits) and along the hidden dimension (slices), one
program each. Both cuts are sums: a program adds up its tokens, projects its columns of the sum onto the heads and
leaves partial logits in the workspace. The last program of a tile to arrive adds the partials in a fixed order and
finishes the tile, so the result does not depend on who came last.

With `TRITON_INTERPRET=1` set when this module is imported, the kernel runs on CPU tensors, slowly, for tests.
"""

from functools import cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from psychechat_kernels.fused_heads.tuning import DEFAULT, Tuning

INTERPRETED: bool = triton.knobs.runtime.interpret
"""Whether the kernel runs in Triton's interpreter, on CPU tensors, instead of on a GPU."""

ROWS = 32
"""Rows of a tile, each a share of one sequence's tokens: as many as a matrix product takes without spilling."""
MAX_PROGRAMS = 2048
"""Programs of one launch that may share tiles. Bounds the workspace, whatever the input."""
_SHORT, _LONG = 64, 512
"""Tokens up to which each sequence is one row, and tokens that one program may get of a sequence in any case."""


class Cut(NamedTuple):
    """How a launch divides its work into tiles x splits x slices programs, the slices running fastest."""

    pack: int
    """Sequences in a tile; each has ROWS // pack of its rows."""
    step: int
    """Tokens that a row reads at once."""
    tiles: int
    splits: int
    tokens: int
    """Of each sequence, in a split."""
    slices: int
    blocks: int
    """Of hidden columns, as many as the tuning holds at a time, in a slice."""

    @property
    def programs(self) -> int:
        return self.tiles * self.splits * self.slices

    @property
    def shared(self) -> bool:
        """Whether several programs work on one tile, and so need the workspace."""
        return self.splits * self.slices > 1


def cut(
    sequences: int,
    longest: int,
    width: int,
    step: int,
    processors: int,
    *,
    block: int = DEFAULT.block,
    waves: int = DEFAULT.waves,
) -> Cut:
    """Enough programs to fill the processors: first by slices, which read no weight twice, then by splits.

    `longest` is the most tokens that are read of one sequence, `width` the hidden size.
    """
    pack = 1 if sequences < ROWS else ROWS if longest <= _SHORT else ROWS // 4
    stride = step * ROWS // pack
    tiles = triton.cdiv(sequences, pack)
    wanted, room = waves * processors, max(1, MAX_PROGRAMS // tiles)
    all_blocks = triton.cdiv(width, block)
    blocks = triton.cdiv(all_blocks, min(all_blocks, triton.cdiv(wanted, tiles), room))
    slices = triton.cdiv(all_blocks, blocks)
    splits = max(triton.cdiv(wanted, tiles * slices), triton.cdiv(longest, _LONG))
    splits = max(1, min(splits, triton.cdiv(longest, stride), room // slices))
    tokens = triton.cdiv(triton.cdiv(longest, splits), stride) * stride
    return Cut(pack, step, tiles, triton.cdiv(longest, tokens), tokens, slices, blocks)


def step(pooling: str, hidden: torch.dtype, tuning: Tuning = DEFAULT) -> int:
    """Tokens that a row reads at once: as many as the registers hold beside the heads."""
    return (tuning.step or 16 // hidden.itemsize) if pooling == "mean" else 1


def held_columns(columns: int) -> int:
    """The width of the heads inside the kernel: a power of two, at least 16."""
    return max(16, int(triton.next_power_of_2(columns)))


def workspace_words(columns: int) -> int:
    """The workspace in 32-bit words: an arrival counter a tile, then partial logits for each program."""
    return MAX_PROGRAMS + MAX_PROGRAMS * ROWS * held_columns(columns)


def launch(
    hidden: Tensor,
    starts: Tensor,
    ends: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: tuple[int, ...],
    pooling: str,
    max_len: int,
    out: Tensor,
    workspace: Tensor,
    tuning: Tuning = DEFAULT,
) -> None:
    """Start the kernel on the current stream. `op.fused_heads` has checked the arguments; there is a sequence.

    The counters in `workspace` (int32) must be zero, and are zero again when the kernel is done.
    """
    longest, width = max_len if pooling == "mean" else 1, hidden.shape[1]
    at_once, gpu = step(pooling, hidden.dtype, tuning), processors(hidden.device)
    work = cut(len(starts), longest, width, at_once, gpu, block=tuning.block, waves=tuning.waves)
    with torch.cuda.device(hidden.get_device()):  # -1, no GPU, changes nothing
        fused_heads_kernel[(work.programs,)](
            hidden,
            starts,
            ends,
            weight,
            bias,
            out,
            workspace[:MAX_PROGRAMS],
            workspace[MAX_PROGRAMS:].view(torch.float32),
            len(starts),
            width,
            hidden.stride(0),
            work.splits,
            work.tokens,
            work.slices,
            work.blocks,
            POOLING=pooling,
            GROUPS=groups,
            SHARED=work.shared,
            PACK=work.pack,
            STEP=work.step,
            ROWS=ROWS,
            BLOCK=tuning.block,
            HELD=held_columns(sum(groups)),
            STAGES=tuning.stages,
            **compiler_options(tuning),
        )


def compiler_options(tuning: Tuning) -> dict[str, int | bool]:
    """What Triton is told beside the kernel's own constants."""
    options: dict[str, int | bool] = {"num_warps": tuning.warps, "enable_fp_fusion": True}
    return options if tuning.registers is None else options | {"maxnreg": tuning.registers}


@cache
def processors(device: torch.device) -> int:
    """Multiprocessors of the GPU; in the interpreter a few, so that small inputs are cut too."""
    return 2 if INTERPRETED else torch.cuda.get_device_properties(device).multi_processor_count


VARYING = ["sequences", "splits", "tokens", "slices", "blocks"]
"""Arguments that change from call to call without making another kernel worth compiling."""


@triton.jit(do_not_specialize=VARYING)  # type: ignore[untyped-decorator]
def fused_heads_kernel(  # type: ignore[no-untyped-def]
    hidden,  # [tokens, width], rows `stride` apart
    starts,  # [sequences]
    ends,
    weight,  # [columns, width]
    bias,  # [columns]
    out,  # fp32 [sequences, columns]
    arrivals,  # int32 [tiles], zero
    partials,  # fp32 [programs, PACK, HELD]
    sequences,
    width,
    stride,
    splits,
    tokens,
    slices,
    blocks,
    POOLING: tl.constexpr,
    GROUPS: tl.constexpr,
    SHARED: tl.constexpr,
    PACK: tl.constexpr,
    STEP: tl.constexpr,
    BLOCK: tl.constexpr,
    HELD: tl.constexpr,
    ROWS: tl.constexpr,
    STAGES: tl.constexpr,
):
    program = tl.program_id(0)
    slice_ = program % slices
    split = program // slices % splits
    tile = program // slices // splits

    # Which sequences, and which tokens of them: all, or one. Beyond the last sequence lengths are 0, nothing is read.
    sequence = tile * PACK + tl.arange(0, PACK)
    real = sequence < sequences
    first = tl.load(starts + sequence, mask=real, other=0).to(tl.int64)
    last = tl.load(ends + sequence, mask=real, other=-1).to(tl.int64)
    if POOLING == "first":
        last = tl.where(real, first, -1)
    if POOLING == "last":
        first = tl.where(real, last, 0)
    length = (last - first + 1).to(tl.int32)
    longest = tl.max(length, axis=0)
    begin = split * tokens
    if begin >= longest:
        return
    stop = tl.minimum(length, begin + tokens)

    # Each sequence is dealt out to SHARES rows, token by token.
    SHARES: tl.constexpr = ROWS // PACK
    share = tl.arange(0, ROWS) % SHARES
    row_first = _repeat(first, SHARES)
    row_stop = _repeat(stop, SHARES)

    # Pool this split's tokens and project them, a block of hidden columns at a time.
    column = tl.arange(0, HELD)
    columns: tl.constexpr = _total(GROUPS, len(GROUPS))
    offset = tl.load(bias + column, mask=column < columns, other=0.0).to(tl.float32)  # early: it is not in a cache
    row_logits = tl.zeros([ROWS, HELD], tl.float32)
    for block in range(slice_ * blocks, tl.minimum((slice_ + 1) * blocks, tl.cdiv(width, BLOCK))):
        h = block * BLOCK + tl.arange(0, BLOCK)
        within = h < width
        heads = tl.load(  # asked for before the tokens, so that it arrives while they are added up
            weight + column[:, None] * width + h[None, :],
            mask=(column < columns)[:, None] & within[None, :],
            other=0.0,
        ).to(tl.float32)
        sums = tl.zeros([ROWS, BLOCK], tl.float32)
        for token in tl.range(begin, tl.minimum(longest, begin + tokens), STEP * SHARES, num_stages=STAGES):
            for step in tl.static_range(STEP):  # loads that do not wait for each other
                t = token + step * SHARES + share
                at = hidden + (row_first + t) * stride
                mask = (t < row_stop)[:, None] & within[None, :]
                sums += tl.load(at[:, None] + h[None, :], mask=mask, other=0.0).to(tl.float32)
        row_logits = tl.dot(sums, tl.trans(heads), row_logits, input_precision="tf32x3")
    logits = tl.sum(tl.reshape(row_logits, [PACK, SHARES, HELD]), axis=1)

    # The last of the tile's programs to arrive goes on, with the sum of what all have left.
    if SHARED:
        cell = tl.arange(0, PACK)[:, None] * HELD + column[None, :]
        tl.store(partials + program * (PACK * HELD) + cell, logits)
        expected = tl.minimum(tl.cdiv(longest, tokens), splits) * slices
        tl.debug_barrier()  # every thread's part is written before the one that counts
        arrived = tl.atomic_add(arrivals + tile, 1, sem="acq_rel", scope="gpu")
        if arrived != expected - 1:
            return
        tl.store(arrivals + tile, 0)
        total = tl.zeros([PACK * HELD], tl.float32)
        for other in range(0, expected, 64 // PACK):
            p = other + tl.arange(0, 64 // PACK)
            at = partials + (tile * splits * slices + p) * (PACK * HELD)
            some = tl.load(
                at[:, None] + tl.arange(0, PACK * HELD)[None, :],
                mask=(p < expected)[:, None],
                other=0.0,
                cache_modifier=".cg",  # from L2, where the other programs' stores are
            )
            total += tl.sum(some, axis=0)
        logits = tl.reshape(total, [PACK, HELD])

    logits = logits / tl.maximum(length, 1).to(tl.float32)[:, None] + offset[None, :]

    # Softmax within each group.
    probabilities = tl.zeros([PACK, HELD], tl.float32)
    for g in tl.static_range(len(GROUPS)):
        low, high = _total(GROUPS, g), _total(GROUPS, g + 1)
        group = ((column >= low) & (column < high))[None, :]
        scaled = tl.where(group, logits, float("-inf"))
        powers = tl.exp(scaled - tl.max(scaled, axis=1)[:, None])
        probabilities = tl.where(group, powers / tl.sum(powers, axis=1)[:, None], probabilities)
    tl.store(
        out + sequence[:, None].to(tl.int64) * columns + column[None, :],
        probabilities,
        mask=real[:, None] & (column < columns)[None, :],
    )


@triton.jit  # type: ignore[untyped-decorator]
def _repeat(values, TIMES: tl.constexpr):  # type: ignore[no-untyped-def]
    """[n] to [n * TIMES], each value TIMES times."""
    wide = tl.broadcast_to(values[:, None], [values.shape[0], TIMES])
    return tl.reshape(wide, [values.shape[0] * TIMES])


@triton.constexpr_function  # type: ignore[untyped-decorator]
def _total(groups: tuple[int, ...], count: int) -> int:
    """The columns of the first `count` groups."""
    return sum(groups[:count])
