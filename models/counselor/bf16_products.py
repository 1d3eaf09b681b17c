"""The training step's large products in bf16, everything else in fp32.

On CPUs with AVX512-BF16 this doubles the speed of a product. Autocast is no way to it here: it also moves attention and
normalisation to bf16, whose CPU kernels are slow. On CPUs without bf16 products it would be slower: then leave it off.

A kernel for bf16 is made for each shape the first time, which takes longer than a product. So rows are filled up to few
lengths, and attention, whose shapes are never the same, is fp32: 3,907 tokens/s beside 2,622 on two cores.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Qwen3ForCausalLM
from transformers.masking_utils import AttentionMaskInterface

from models.counselor.packing import Node

NAME = "tree-by-hand"
LENGTHS = 128
"""A product has a multiple of so many rows."""


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        flat, half = _filled(rows), weight.bfloat16()
        ctx.save_for_backward(flat, half)
        return _emptied(flat @ half.t(), rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        flat, half = ctx.saved_tensors
        gradient = _filled(gradients[0])
        return _emptied(gradient @ half, gradients[0]), (gradient.t() @ flat).float()


def _filled(rows: Tensor) -> Tensor:
    """[..., size] -> [a multiple of LENGTHS, size], in bf16."""
    flat = rows.reshape(-1, rows.shape[-1])
    filled = flat.new_zeros(flat.shape[0] + -flat.shape[0] % LENGTHS, flat.shape[1], dtype=torch.bfloat16)
    filled[: flat.shape[0]] = flat
    return filled


def _emptied(filled: Tensor, rows: Tensor) -> Tensor:
    """The first of them in fp32, as many and in the shape as `rows` has them."""
    shape = rows.shape[:-1]
    return filled[: shape.numel()].float().view(*shape, -1)


class _Attention(torch.autograd.Function):
    """`packing.attention` with its backward written out: autograd's would fill a whole-row gradient for every slice.

    Heads that share keys are stacked as rows: query [kv heads, heads per kv head, tokens, head_dim].
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, nodes: Sequence[Node]) -> Tensor:
        output = torch.empty_like(query)
        shares = []
        for node in nodes:
            keys, values, own = _spans(key, node), _spans(value, node), node.end - node.start
            scores = torch.matmul(query[:, :, node.start : node.end], keys.transpose(-1, -2)[:, None])
            scores[..., keys.shape[1] - own :].masked_fill_(_later(own), -torch.inf)
            share = scores.softmax(-1)
            output[:, :, node.start : node.end] = torch.matmul(share, values[:, None])
            shares.append(share)
        ctx.save_for_backward(query, key, value, output, *shares)
        ctx.nodes = nodes
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, output, *shares = ctx.saved_tensors
        gradient = gradients[0]
        along = (gradient * output).sum(-1, keepdim=True)
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(key)
        for node, share in zip(ctx.nodes, shares, strict=True):
            rows = slice(node.start, node.end)
            asked, came = (part[:, :, rows].flatten(1, 2) for part in (query, gradient))
            keys, values = _spans(key, node), _spans(value, node)
            flat = share.flatten(1, 2)
            wanted = torch.bmm(came, values.transpose(1, 2))
            wanted = wanted.sub_(along[:, :, rows].flatten(1, 2)).mul_(flat)
            to_query[:, :, rows] = torch.bmm(wanted, keys).view(share.shape[0], share.shape[1], -1, query.shape[-1])
            _spread(to_key, torch.bmm(wanted.transpose(1, 2), asked), node)
            _spread(to_value, torch.bmm(flat.transpose(1, 2), came), node)
        return to_query, to_key, to_value, None


def _spans(tensor: Tensor, node: Node) -> Tensor:
    spans = (*node.ancestors, (node.start, node.end))
    return torch.cat([tensor[:, start:end] for start, end in spans], 1)


def _spread(whole: Tensor, part: Tensor, node: Node) -> None:
    at = 0
    for start, end in (*node.ancestors, (node.start, node.end)):
        whole[:, start:end] += part[:, at : at + end - start]
        at += end - start


def _later(size: int) -> Tensor:
    return torch.ones(size, size, dtype=torch.bool).triu(1)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float = 1.0,
    nodes: Sequence[Node] = (),
    **_: object,
) -> tuple[Tensor, None]:
    """As `packing.attention`."""
    groups, tokens, size = key.shape[1:]
    stacked = (query[0] * scaling).view(groups, -1, tokens, size)
    apply: Any = _Attention.apply
    output = apply(stacked, key[0].contiguous(), value[0].contiguous(), nodes)
    return output.view(1, -1, tokens, size).transpose(1, 2), None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)


def _forward(layer: nn.Linear, rows: Tensor) -> Tensor:
    apply: Any = _Product.apply
    result: Tensor = apply(rows, layer.weight)
    return result


def use(model: Qwen3ForCausalLM) -> None:
    """Make this model multiply in bf16 and attend along the tree. Its linear layers have no bias, as Qwen3's.

    Weights and gradients stay fp32.
    """
    model.set_attn_implementation(NAME)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            vars(layer)["forward"] = partial(_forward, layer)


def supported() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported())
