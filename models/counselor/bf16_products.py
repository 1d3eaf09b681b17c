"""The training step's large products in bf16, everything else in fp32.

On CPUs with AVX512-BF16 this doubles the speed of a product. Autocast is no way to it here: it also moves attention and
normalisation to bf16, whose CPU kernels are slow. On CPUs without bf16 products it would be slower: then leave it off.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Qwen3ForCausalLM
from transformers.masking_utils import AttentionMaskInterface

from models.counselor.packing import Node

NAME = "tree-halves"


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        flat, half = rows.reshape(-1, rows.shape[-1]).bfloat16(), weight.bfloat16()
        ctx.save_for_backward(flat, half)
        return (flat @ half.t()).float().view(*rows.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        flat, half = ctx.saved_tensors
        gradient = gradients[0].reshape(flat.shape[0], -1).bfloat16()
        shape = (*gradients[0].shape[:-1], flat.shape[1])
        return (gradient @ half).float().view(shape), (gradient.t() @ flat).float()


class _Attention(torch.autograd.Function):
    """`packing.attention` with its backward written out: autograd's would fill a whole-row gradient for every slice.

    Heads that share keys are stacked as rows: query [kv heads, heads per kv head, tokens, head_dim].
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, nodes: Sequence[Node]) -> Tensor:
        half = value.bfloat16()
        output = torch.empty_like(query)
        shares = []
        for node in nodes:
            keys, values, own = _spans(key, node), _spans(half, node), node.end - node.start
            scores = torch.matmul(query[:, :, node.start : node.end], keys.transpose(-1, -2)[:, None])
            scores[..., keys.shape[1] - own :].masked_fill_(_later(own), -torch.inf)
            share = scores.softmax(-1).bfloat16()
            output[:, :, node.start : node.end] = torch.matmul(share, values[:, None])
            shares.append(share)
        ctx.save_for_backward(query, key, half, output, *shares)
        ctx.nodes = nodes
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, half, output, *shares = ctx.saved_tensors
        gradient = gradients[0]
        along = (gradient * output).sum(-1, keepdim=True)
        halves = (query.bfloat16(), key.bfloat16(), gradient.bfloat16())
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(key)
        for node, share in zip(ctx.nodes, shares, strict=True):
            rows = slice(node.start, node.end)
            asked, came = (part[:, :, rows].flatten(1, 2) for part in (halves[0], halves[2]))
            keys, values = _spans(halves[1], node), _spans(half, node)
            flat = share.flatten(1, 2)
            wanted = torch.bmm(came, values.transpose(1, 2)).float()
            wanted = wanted.sub_(along[:, :, rows].flatten(1, 2)).mul_(flat).bfloat16()
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
