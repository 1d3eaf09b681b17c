"""The fused heads in plain PyTorch: the specification, the CPU path and what the kernel is tested against."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Decoding:
    """What to read out of the probabilities in the same call, and where to write it.

    The first column of a decoded group says that it is absent, the others are its levels. Of each sequence's decoded
    groups those whose presence (one minus the first column) reaches the threshold are named, the most probable first
    and of equals the first, as many as `labels` has places for.
    """

    groups: int
    """How many groups are decoded, from the first on. At least as many as `labels` has places."""
    threshold: float
    """Above 0."""
    values: Tensor
    """What a label adds to the score, by column: int32 [columns]."""
    labels: Tensor
    """Written: the column of each named group's most probable level, -1 for none: int32 [sequences, places]."""
    scores: Tensor
    """Written: the sum of the labels' values: int32 [sequences]."""


def fused_heads(
    hidden: Tensor,
    starts: Tensor,
    ends: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: Sequence[int],
    pooling: str,
    out: Tensor,
    decoding: Decoding | None = None,
) -> None:
    """Write `softmax_g(weight @ pool(hidden[starts[i] .. ends[i]]) + bias)` for each sequence i and group g to `out`.

    The arguments are those of `op.fused_heads`, which has checked them.
    """
    logits = torch.addmm(bias.float(), _POOL[pooling](hidden, starts.long(), ends.long()), weight.float().T)
    widths = list(groups)
    for source, target in zip(torch.split(logits, widths, dim=1), torch.split(out, widths, dim=1), strict=True):
        target.copy_(source.softmax(dim=1))
    if decoding is not None:
        _decode(out, widths[: decoding.groups], decoding)


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


def _decode(probabilities: Tensor, widths: list[int], decoding: Decoding) -> None:
    parts = torch.split(probabilities[:, : sum(widths)], widths, dim=1)
    first = torch.tensor([sum(widths[:g]) for g in range(len(widths))], device=probabilities.device)
    presence = torch.stack([1.0 - part[:, 0] for part in parts], dim=1)
    level = torch.stack([part[:, 1:].argmax(dim=1) + 1 for part in parts], dim=1) + first
    ranked = presence.argsort(dim=1, descending=True, stable=True)[:, : decoding.labels.shape[1]]
    labels = level.gather(1, ranked)
    found = presence.gather(1, ranked) >= decoding.threshold
    decoding.labels.copy_(torch.where(found, labels, -1))
    decoding.scores.copy_(torch.where(found, decoding.values[labels], 0).sum(dim=1))
