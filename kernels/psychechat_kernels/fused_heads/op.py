"""The fused heads as callers see them: arguments checked, implementation chosen."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from psychechat_kernels.fused_heads import reference
from psychechat_kernels.fused_heads.tuning import DEFAULT, Tuning

Pooling = Literal["mean", "first", "last"]
Implementation = Literal["triton", "reference"]

MAX_COLUMNS = 64
"""Of the kernel's heads, which stay in registers: with more, half of its variants spill. The reference takes any."""

_HIDDEN_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def fused_heads(
    hidden: Tensor,
    starts: Tensor,
    ends: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: Sequence[int],
    pooling: Pooling,
    *,
    max_len: int,
    out: Tensor | None = None,
    workspace: Tensor | None = None,
    implementation: Implementation | None = None,
    tuning: Tuning = DEFAULT,
) -> Tensor:
    """Pool packed sequences, apply the concatenated heads and normalise each group of columns.

    `softmax_g(weight @ pool(hidden[starts[i] .. ends[i]]) + bias)` for every sequence i and group g, in fp32. Sequences
    follow each other, and may leave gaps. With `out` and `workspace` given, the kernel allocates nothing and never
    waits for the device, so a CUDA graph can capture it.

    Args:
        hidden: packed hidden states, [tokens, H]; fp32, fp16 or bf16.
        starts: index of the first token of each sequence, ascending, [sequences]; int32 or int64.
        ends: index of the last token of each sequence, inclusive, [sequences]; of the type of `starts`.
        weight: the heads side by side, [columns, H]; temperatures are folded in.
        bias: [columns].
        groups: widths of the column groups, in order; they add up to `columns`.
        pooling: "mean", "first" or "last".
        max_len: tokens of the longest sequence, or more. Known to the caller, so that nobody asks the device.
        out: where to write, fp32 [sequences, columns]; a new tensor if None.
        workspace: from `new_workspace`, for one stream at a time; a new one if None. The reference needs none.
        implementation: force one; None takes the kernel where `uses_kernel`, and the reference elsewhere.
        tuning: of the kernel. The reference has none.

    Returns:
        fp32 probabilities, [sequences, columns]: softmax within each group. Empty for no sequences.

    Raises:
        ValueError: an argument has the wrong shape, type, device or value. Whether indices lie within `hidden` is
            checked on CPU only: elsewhere it would wait for the device.
        RuntimeError: `implementation="triton"` for CPU tensors, unless Triton interprets (`TRITON_INTERPRET=1`).
    """
    if implementation not in (None, "triton", "reference"):
        raise ValueError(f"implementation must be 'triton', 'reference' or None, not {implementation!r}")
    _check(hidden, starts, ends, weight, bias, groups, pooling, max_len, out)
    if out is None:
        out = torch.empty(len(starts), len(weight), dtype=torch.float32, device=hidden.device)
    if len(starts) == 0:
        return out
    if implementation == "triton" or (implementation is None and uses_kernel(len(weight), hidden.device)):
        from psychechat_kernels.fused_heads import kernel  # Triton is needed where the kernel is

        if workspace is None:
            workspace = new_workspace(len(weight), hidden.device)
        _check_for_kernel(hidden, starts, ends, weight, bias, out, workspace)
        kernel.launch(hidden, starts, ends, weight, bias, tuple(groups), pooling, max_len, out, workspace, tuning)
    else:
        reference.fused_heads(hidden, starts, ends, weight, bias, groups, pooling, out)
    return out


def uses_kernel(columns: int, device: torch.device) -> bool:
    """Whether tensors of this device go through the kernel, unless told otherwise: on a GPU, up to MAX_COLUMNS.

    Warns, once for each number of columns, where these alone stand in the way.
    """
    if device.type == "cuda" and columns > MAX_COLUMNS:
        _warn_of(columns)
    return device.type == "cuda" and columns <= MAX_COLUMNS


@cache
def _warn_of(columns: int) -> None:
    warnings.warn(
        f"heads of {columns} columns go through plain PyTorch: the kernel holds {MAX_COLUMNS} at most", stacklevel=3
    )


def new_workspace(columns: int, device: torch.device) -> Tensor:
    """Scratch memory for heads of `columns` columns: int32, zeroed once; the kernel leaves it ready for its next call.

    Its size (17 MB for 33 to 64 columns) suffices for any number and length of sequences. Calls that may overlap, on
    different streams, need one each. Raises ValueError for more columns than the kernel takes.
    """
    from psychechat_kernels.fused_heads import kernel

    _check_columns(columns)
    return torch.zeros(kernel.workspace_words(columns), dtype=torch.int32, device=device)


def warm_up(
    weight: Tensor, bias: Tensor, groups: Sequence[int], pooling: Pooling, dtype: torch.dtype, workspace: Tensor
) -> None:
    """Compile what calls with these heads will launch, seconds each, so that no request waits for it.

    For indices of int32, and batches in which programs share tiles: of vLLM's, all.
    """
    few, many = 1, 64
    for sequences, length in ((few, 2), (many, 2), (many, 100)):
        hidden = torch.zeros(sequences * length, weight.shape[1], dtype=dtype, device=weight.device)
        starts = torch.arange(0, len(hidden), length, dtype=torch.int32, device=weight.device)
        fused_heads(
            *(hidden, starts, starts + length - 1, weight, bias, groups, pooling),
            max_len=length,
            workspace=workspace,
            implementation="triton",
        )


def _check_for_kernel(
    hidden: Tensor, starts: Tensor, ends: Tensor, weight: Tensor, bias: Tensor, out: Tensor, workspace: Tensor
) -> None:
    from psychechat_kernels.fused_heads import kernel

    if not (hidden.is_cuda or kernel.INTERPRETED):
        raise RuntimeError(
            "the Triton kernel runs on GPU tensors; on a CPU use implementation=None, or set TRITON_INTERPRET=1 "
            "before the first import to interpret it"
        )
    _check_columns(len(weight))
    if hidden.stride(1) != 1 or not (starts.is_contiguous() and ends.is_contiguous()):
        raise ValueError("the kernel needs the columns of hidden, and starts and ends, next to each other in memory")
    if not (weight.is_contiguous() and bias.is_contiguous() and out.is_contiguous()):
        raise ValueError("the kernel needs contiguous weight, bias and out")
    words = kernel.workspace_words(len(weight))
    if workspace.dtype != torch.int32 or workspace.device != hidden.device or workspace.numel() < words:
        raise ValueError(f"workspace must be int32 [{words}] on {hidden.device}: see new_workspace")


def _check_columns(columns: int) -> None:
    if columns > MAX_COLUMNS:
        raise ValueError(f"the kernel takes at most {MAX_COLUMNS} columns, not {columns}; use 'reference'")


def _check(
    hidden: Tensor,
    starts: Tensor,
    ends: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: Sequence[int],
    pooling: str,
    max_len: int,
    out: Tensor | None,
) -> None:
    if hidden.ndim != 2 or hidden.dtype not in _HIDDEN_DTYPES:
        raise ValueError(f"hidden must be [tokens, H] of a float type, not {list(hidden.shape)} {hidden.dtype}")
    if starts.ndim != 1 or starts.shape != ends.shape:
        raise ValueError(f"starts and ends must be [sequences], not {list(starts.shape)} and {list(ends.shape)}")
    if starts.dtype not in (torch.int32, torch.int64) or starts.dtype != ends.dtype:
        raise ValueError(f"starts and ends must both be int32 or int64, not {starts.dtype} and {ends.dtype}")
    if weight.ndim != 2 or weight.shape[1] != hidden.shape[1] or not weight.is_floating_point():
        raise ValueError(
            f"weight must be [columns, {hidden.shape[1]}] of a float type, not {list(weight.shape)} {weight.dtype}"
        )
    columns = weight.shape[0]
    if bias.shape != (columns,) or not bias.is_floating_point():
        raise ValueError(f"bias must be [{columns}] of a float type, not {list(bias.shape)} {bias.dtype}")
    if not groups or min(groups) < 1 or sum(groups) != columns:
        raise ValueError(f"groups must be positive widths that add up to {columns} columns, not {tuple(groups)}")
    if pooling not in ("mean", "first", "last"):
        raise ValueError(f"pooling must be 'mean', 'first' or 'last', not {pooling!r}")
    if any(tensor.device != hidden.device for tensor in (starts, ends, weight, bias)):
        raise ValueError("all tensors must be on one device")
    shape = (len(starts), columns)
    if out is not None and (out.shape != shape or out.dtype != torch.float32 or out.device != hidden.device):
        raise ValueError(
            f"out must be {torch.float32} {list(shape)} on {hidden.device}, not {out.dtype} {list(out.shape)} "
            f"on {out.device}"
        )
    if len(starts) and max_len < 1:
        raise ValueError(f"max_len must be at least 1, not {max_len}")
    if len(starts) and hidden.device.type == "cpu":
        if starts.min() < 0 or ends.max() >= len(hidden) or bool((ends < starts).any()):
            raise ValueError(f"every sequence must be a non-empty range within the {len(hidden)} tokens")
        if bool((starts[1:] <= ends[:-1]).any()):
            raise ValueError("sequences must follow each other without overlap")
        if (longest := int((ends - starts).max()) + 1) > max_len:
            raise ValueError(f"max_len is {max_len}, but a sequence has {longest} tokens")
