"""The fused heads in plain PyTorch: the specification, the CPU path and what the kernel is tested against."""

from collections.abc import Sequence

import torch
from torch import Tensor


def fused_heads(
    hidden: Tensor,
    starts: Tensor,
    ends: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: Sequence[int],
    pooling: str,
    *,
    max_len: int,
    out: Tensor | None = None,
    workspace: Tensor | None = None,
) -> Tensor:
    """Pool packed sequences, apply the concatenated heads and normalise each group of columns.

    `softmax_g(weight @ pool(hidden[starts[i] .. ends[i]]) + bias)` for every sequence i and group g, in fp32.

    Args:
        hidden: packed hidden states, [tokens, H].
        starts: index of the first token of each sequence, [sequences].
        ends: index of the last token of each sequence, inclusive, [sequences].
        weight: the heads side by side, [columns, H]; temperatures are folded in.
        bias: [columns].
        groups: widths of the column groups, in order; they add up to `columns`.
        pooling: "mean", "first" or "last".
        max_len: tokens of the longest sequence, or more. Known to the caller, so that nobody asks the device.
        out: where to write; a new tensor if None.
        workspace: scratch memory of the kernel. Not needed here.

    Returns:
        fp32 probabilities, [sequences, columns]: softmax within each group.
    """
    logits = torch.addmm(bias.float(), _POOL[pooling](hidden, starts.long(), ends.long()), weight.float().T)
    if out is None:
        out = torch.empty_like(logits)
    widths = list(groups)
    for source, target in zip(torch.split(logits, widths, dim=1), torch.split(out, widths, dim=1), strict=True):
        target.copy_(source.softmax(dim=1))
    return out


def _mean(hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    lengths = ends - starts + 1
    sequence = torch.arange(len(lengths), device=hidden.device).repeat_interleave(lengths)
    # Token t of the flattened ranges lies (t - tokens in earlier sequences) after its sequence's start.
    shift = starts - (lengths.cumsum(0) - lengths)
    token = torch.arange(len(sequence), device=hidden.device) + shift[sequence]
    sums = torch.zeros(len(lengths), hidden.shape[1], dtype=torch.float32, device=hidden.device)
    return sums.index_add_(0, sequence, hidden[token].float()) / lengths.unsqueeze(1)


def _first(hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    return hidden[starts].float()


def _last(hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    return hidden[ends].float()


_POOL = {"mean": _mean, "first": _first, "last": _last}
