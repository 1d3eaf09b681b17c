"""A start from which a very small model soon learns to name what the seeker named.

Naming is copying, and a model this small, left to itself, finds the heads that copy only after many millions of
tokens: more than an hour of one CPU core. So it starts with an induction circuit (Olsson et al., "In-context Learning
and Induction Heads", 2022): what followed a token the last time is likely to follow it again. Training may change it.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

PREVIOUS = 6
"""Rotary pairs, the fastest ones, by which the first head tells one position back from all others."""


def start(model: Qwen3ForCausalLM) -> None:
    """Set the circuit's weights in place, drawing from torch's generator.

    - All embeddings share a constant direction and leave a subspace free.
    - The first head of the first layer turns that constant by one position, so that it sees the token before, and
      writes it into the free subspace.
    - The first head of the second layer compares its own token with what stands there, in the slow rotary pairs, which
      survive distance: it sees what came after its own token before.
    - Heads above look for what resembles their own token. All but the first layer's write what they see: `o_proj`
      starts as `v_proj` transposed, which names a token because embeddings are tied.
    """
    config: Any = model.config
    size, width, groups = config.head_dim, config.hidden_size, config.num_key_value_heads
    heads = config.num_attention_heads // groups
    angles = config.rope_parameters["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    constant = torch.full((width,), width**-0.5)
    others = torch.linalg.qr(torch.cat((constant[:, None], torch.randn(width, width - 1)), 1))[0].T[1:]
    previous, free = others[:size], others[size:]

    def part() -> Tensor:
        rows: Tensor = torch.linalg.qr(torch.randn(len(free), size))[0].T @ free
        return rows

    def both(dimensions: Tensor) -> Tensor:
        return torch.cat((dimensions, dimensions + size // 2))

    embeddings = model.model.embed_tokens.weight
    embeddings.copy_(embeddings @ free.T @ free + 0.3 * constant)
    fast, slow = torch.arange(PREVIOUS), torch.arange(size // 4, size // 2)
    before, after, *above = (layer.self_attn for layer in model.model.layers)
    own = part()
    shown = torch.zeros(size)
    shown[fast], shown[fast + size // 2] = angles[fast].cos(), angles[fast].sin()
    before.q_proj.weight[:size] = (torch.arange(size) < PREVIOUS).float()[:, None] * constant
    before.k_proj.weight[:size] = shown[:, None] * constant
    before.v_proj.weight[:size] = own
    before.o_proj.weight[:, :size] = 0.2 * previous.T
    for norm in (before.q_norm, before.k_norm):
        norm.weight[both(fast)] = 2.0
    compared = torch.zeros(size, 1)
    compared[both(slow)] = 1.0
    for attention in (after, *above):
        for group in range(groups):
            kept, first = slice(group * size, (group + 1) * size), group * heads
            attention.v_proj.weight[kept] = part()
            for head in range(first, first + heads):
                written = attention.o_proj.weight[:, head * size : (head + 1) * size]
                written.copy_((0.8 if attention is after and head == 0 else 0.2) * attention.v_proj.weight[kept].T)
            if attention is not after:
                attention.k_proj.weight[kept] = compared * part()
                attention.q_proj.weight[first * size : (first + 1) * size] = attention.k_proj.weight[kept]
    after.q_proj.weight[:size] = compared * own
    after.k_proj.weight[:size] = compared * previous
    for norm in (after.q_norm, after.k_norm):
        norm.weight[both(slow)] = 1.4
