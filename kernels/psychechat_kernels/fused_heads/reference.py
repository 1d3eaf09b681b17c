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
    out: Tensor,
) -> None:
    """Write `softmax_g(weight @ pool(hidden[starts[i] .. ends[i]]) + bias)` for each sequence i and group g to `out`.

    The arguments are those of `op.fused_heads`, which has checked them.
    """
    logits = torch.addmm(bias.float(), _POOL[pooling](hidden, starts.long(), ends.long()), weight.float().T)
    widths = list(groups)
    for source, target in zip(torch.split(logits, widths, dim=1), torch.split(out, widths, dim=1), strict=True):
        target.copy_(source.softmax(dim=1))


def _mean(hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    token = torch.arange(len(hidden), device=hidden.device)
    # The first sequence that does not end before the token; if it starts after it, the token belongs to none. Those
    # are added up in a last row that is dropped, and the device is never waited for.
    sequence = torch.searchsorted(ends, token)
    begins = torch.cat([starts, starts.new_full((1,), len(hidden))])
    sequence = torch.where(begins[sequence] <= token, sequence, len(starts))
    sums = torch.zeros(len(starts) + 1, hidden.shape[1], dtype=torch.float32, device=hidden.device)
    sums.index_add_(0, sequence, hidden.float())
    return sums[:-1] / (ends - starts + 1).unsqueeze(1)


def _first(hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    return hidden[starts].float()


def _last(hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    return hidden[ends].float()


_POOL = {"mean": _mean, "first": _first, "last": _last}
