"""The fused heads as callers see them: arguments checked, implementation chosen."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from psychechat_kernels.fused_heads import reference

Pooling = Literal["mean", "first", "last"]
Implementation = Literal["triton", "reference"]

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
) -> Tensor:
    """Pool packed sequences, apply the concatenated heads and normalise each group of columns.

    `softmax_g(weight @ pool(hidden[starts[i] .. ends[i]]) + bias)` for every sequence i and group g, in fp32.

    Args:
        hidden: packed hidden states, [tokens, H]; fp32, fp16 or bf16.
        starts: index of the first token of each sequence, [sequences]; int32 or int64.
        ends: index of the last token of each sequence, inclusive, [sequences]; of the type of `starts`.
        weight: the heads side by side, [columns, H]; temperatures are folded in.
        bias: [columns].
        groups: widths of the column groups, in order; they add up to `columns`.
        pooling: "mean", "first" or "last".
        max_len: tokens of the longest sequence, or more. Known to the caller, so that nobody asks the device.
        out: where to write, fp32 [sequences, columns]; a new tensor if None.
        workspace: scratch memory of the kernel, allocated once by the caller. The reference needs none.
        implementation: force one; None chooses by device.

    Returns:
        fp32 probabilities, [sequences, columns]: softmax within each group. Empty for no sequences.

    Raises:
        ValueError: an argument has the wrong shape, type, device or value. Whether indices lie within `hidden` is
            checked on CPU only: elsewhere it would wait for the device.
        NotImplementedError: `implementation="triton"`, which comes with a later release.
    """
    _check(hidden, starts, ends, weight, bias, groups, pooling, max_len, out)
    if implementation == "triton":
        raise NotImplementedError(
            "the Triton kernel comes with a later release; use implementation='reference' or None"
        )
    if implementation not in (None, "reference"):
        raise ValueError(f"implementation must be 'triton', 'reference' or None, not {implementation!r}")
    return reference.fused_heads(
        hidden, starts, ends, weight, bias, groups, pooling, max_len=max_len, out=out, workspace=workspace
    )


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
    if out is not None and (out.shape != (len(starts), columns) or out.dtype != torch.float32):
        raise ValueError(f"out must be fp32 [{len(starts)}, {columns}], not {list(out.shape)} {out.dtype}")
    tensors = [starts, ends, weight, bias] + ([] if out is None else [out])
    if any(tensor.device != hidden.device for tensor in tensors):
        raise ValueError("all tensors must be on one device")
    if len(starts) and max_len < 1:
        raise ValueError(f"max_len must be at least 1, not {max_len}")
    if len(starts) and hidden.device.type == "cpu":
        if starts.min() < 0 or ends.max() >= len(hidden) or bool((ends < starts).any()):
            raise ValueError(f"every sequence must be a non-empty range within the {len(hidden)} tokens")
        if (longest := int((ends - starts).max()) + 1) > max_len:
            raise ValueError(f"max_len is {max_len}, but a sequence has {longest} tokens")
