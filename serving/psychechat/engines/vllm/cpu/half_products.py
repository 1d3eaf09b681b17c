"""The encoder's products in bf16, everything else in fp32, and its layers in as few calls as there are products.

A CPU with bf16 products makes them twice as fast as those of fp32, and they are four fifths of the encoder's work.
vLLM's own bf16 would move attention and normalisation with them, whose CPU kernels are slow. What a product gives is
rounded to 8 bits of mantissa; sums, norms, attention and the heads are as before.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from vllm import __version__
from vllm.config import VllmConfig
from vllm.model_executor.layers.activation import GELU
from vllm.model_executor.models.bert import BertEncoder
from vllm.platforms import current_platform

from psychechat.engines.vllm import cpu


def wanted(config: VllmConfig) -> bool:
    """Whether the encoder's products are made in bf16: where they may be, in the vLLM that this was written for."""
    return _may_be_made(config) and not limits(config)


def limits(config: VllmConfig) -> tuple[str, ...]:
    """What is off for vLLM's version alone, for `/ready` to tell."""
    return cpu.limits(__version__, cpu.CLASSIFIER_LIMITS) if _may_be_made(config) else ()


def _may_be_made(config: VllmConfig) -> bool:
    """Whether the encoder computes in fp32, uncompiled, whole and on a CPU that has such products.

    Switch: `additional_config: {half_products: false}`.
    """
    return (
        current_platform.is_cpu()
        and cpu.is_on("half_products", config)
        and config.model_config.dtype == torch.float32
        and config.model_config.enforce_eager
        and config.quant_config is None
        and config.lora_config is None
        and config.parallel_config.world_size == 1
        and supported()
    )


def supported() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def install(model: nn.Module) -> None:
    """Replacement of the layers of each BERT within a model whose weights are loaded.

    Other encoders stay as they are, and a BERT with another activation than its own.
    """
    for encoder in [module for module in model.modules() if isinstance(module, BertEncoder)]:
        if all(_has_exact_gelu(layer) for layer in encoder.layer):
            encoder.layer = nn.ModuleList(HalfLayer(layer) for layer in encoder.layer)


def _has_exact_gelu(layer: Any) -> bool:
    return isinstance(layer.intermediate.intermediate_act_fn, GELU)


class Product:
    """`activation(rows @ weight.T + bias)` in bf16: of a linear layer, its weight laid out for the CPU."""

    def __init__(self, linear: Any, activation: str = "none") -> None:
        """`activation`: "none" or "gelu", which is made on the way out."""
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().bfloat16())
        self._bias = linear.bias.detach().bfloat16()
        self._activation = activation

    def __call__(self, rows: Tensor) -> Tensor:
        """`rows` [tokens, in], bf16 as the result [tokens, out]."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._weight, self._bias, self._activation, [], "none" if self._activation == "gelu" else ""
        )
        return product


class HalfLayer(nn.Module):
    """One of BERT's layers, computed as vLLM's own but for its products."""

    def __init__(self, layer: Any) -> None:
        """`layer`: vLLM's, a `BertLayer`."""
        super().__init__()
        attention = layer.attention
        self.attn = attention.self.attn
        self._sizes = [attention.self.q_size, attention.self.kv_size, attention.self.kv_size]
        self._asked = Product(attention.self.qkv_proj)
        self._mixed = Product(attention.output.dense)
        self._widened = Product(layer.intermediate.dense, "gelu")
        self._narrowed = Product(layer.output.dense)
        self._norms = _norm(attention.output.LayerNorm), _norm(layer.output.LayerNorm)

    def forward(self, hidden: Tensor) -> Tensor:
        """[tokens, H] to the same, fp32."""
        query, key, value = torch.split(self._asked(hidden.bfloat16()).float(), self._sizes, dim=-1)
        attended = self._mixed(self.attn(query, key, value).bfloat16())
        hidden = layer_norm(attended.float().add_(hidden), *self._norms[0])
        changed = self._narrowed(self._widened(hidden.bfloat16()))
        return layer_norm(changed.float().add_(hidden), *self._norms[1])


def _norm(norm: nn.LayerNorm) -> tuple[Any, ...]:
    return norm.normalized_shape, norm.weight, norm.bias, norm.eps
