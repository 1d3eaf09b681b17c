"""What is compared: ways from packed hidden states to probabilities, all writing the same [sequences, columns]."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from psychechat_kernels.fused_heads import Pooling, fused_heads, new_workspace, reference
from psychechat_kernels.fused_heads.tuning import DEFAULT, Tuning

GROUPS = (4,) * 8 + (5,)
EMOTION = 32
"""Columns of the emotion head, eight groups of four; the rest is the risk head."""
_CHUNK_BYTES = 16 * 2**20


class Inputs(NamedTuple):
    """A batch as vLLM holds it."""

    hidden: Tensor
    starts: Tensor
    ends: Tensor
    weight: Tensor
    bias: Tensor
    lengths: Tensor
    """On the host, pinned where there is a GPU: vLLM's poolers know them there."""


Contender = Callable[[Inputs, Pooling, int, Tensor], None]
"""(inputs, pooling, longest, out): writes `out`, without waiting for the device."""


def contenders(device: torch.device, tuning: Tuning = DEFAULT) -> Mapping[str, Contender]:
    """By name, ours first. The compiled one compiles at its first call for each pooling."""
    compiled = torch.compile(reference_heads, dynamic=True)
    return {"fused": fused(device, tuning), "reference": reference_heads, "compiled": compiled, "vllm": vllm_chain}


def fused(device: torch.device, tuning: Tuning) -> Contender:
    """Our kernel, with a workspace of its own."""
    workspace = new_workspace(sum(GROUPS), device)

    def run(inputs: Inputs, pooling: Pooling, longest: int, out: Tensor) -> None:
        hidden, starts, ends, weight, bias, _ = inputs
        fused_heads(
            *(hidden, starts, ends, weight, bias, GROUPS, pooling),
            max_len=longest,
            out=out,
            workspace=workspace,
            implementation="triton",
            tuning=tuning,
        )

    return run


def reference_heads(inputs: Inputs, pooling: Pooling, longest: int, out: Tensor) -> None:
    hidden, starts, ends, weight, bias, _ = inputs
    reference.fused_heads(hidden, starts, ends, weight, bias, GROUPS, pooling, out)


def vllm_chain(inputs: Inputs, pooling: Pooling, longest: int, out: Tensor) -> None:
    """Pooling, then a linear layer and a softmax for each head, as vLLM 0.32's pooler classes would do it.

    Written anew from what `MeanPool`, `CLSPool` and `LastPool` do; a test compares their results.
    """
    pooled = {"mean": mean_pool, "first": first_pool, "last": last_pool}[pooling](inputs).float()
    emotion = functional.linear(pooled, inputs.weight[:EMOTION], inputs.bias[:EMOTION])
    out[:, :EMOTION] = emotion.view(-1, 8, 4).softmax(-1).flatten(1)
    out[:, EMOTION:] = functional.linear(pooled, inputs.weight[EMOTION:], inputs.bias[EMOTION:]).softmax(-1)


def mean_pool(inputs: Inputs) -> Tensor:
    """Each token's sequence by repetition, then fp32 sums in chunks of tokens, then a division."""
    hidden, sequences = inputs.hidden, len(inputs.lengths)
    lengths = inputs.lengths.to(hidden.device, non_blocking=True)
    of_token = torch.repeat_interleave(
        torch.arange(sequences, device=hidden.device), lengths, output_size=int(inputs.lengths.sum())
    )
    sums = torch.zeros(sequences, hidden.shape[1], dtype=torch.float32, device=hidden.device)
    chunk = max(1, _CHUNK_BYTES // (4 * hidden.shape[1]))
    for start in range(0, len(hidden), chunk):
        part = slice(start, start + chunk)
        sums.index_add_(0, of_token[part], hidden[part].float())
    return sums / lengths.unsqueeze(1)


def first_pool(inputs: Inputs) -> Tensor:
    return inputs.hidden[inputs.starts]


def last_pool(inputs: Inputs) -> Tensor:
    return inputs.hidden[inputs.ends]
