"""A layer with products in bf16 gives what BERT's own gives, as near as bf16 is; and when an engine takes it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

HIDDEN, HEADS, WIDE = 64, 4, 256


class Attention(nn.Module):
    """Of one sequence, in float32."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        assert query.dtype == torch.float32
        q, k, v = (part.reshape(len(part), HEADS, -1).transpose(0, 1) for part in (query, key, value))
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        return attended.transpose(0, 1).reshape(len(query), HIDDEN)


def layer(seed: int) -> Any:
    """As vLLM names the parts of a BERT layer, with random weights."""
    torch.manual_seed(seed)
    own = SimpleNamespace(qkv_proj=nn.Linear(HIDDEN, 3 * HIDDEN), attn=Attention(), q_size=HIDDEN, kv_size=HIDDEN)
    mixed = SimpleNamespace(dense=nn.Linear(HIDDEN, HIDDEN), LayerNorm=nn.LayerNorm(HIDDEN))
    return SimpleNamespace(
        attention=SimpleNamespace(self=own, output=mixed),
        intermediate=SimpleNamespace(dense=nn.Linear(HIDDEN, WIDE)),
        output=SimpleNamespace(dense=nn.Linear(WIDE, HIDDEN), LayerNorm=nn.LayerNorm(HIDDEN)),
    )


def plain(of: Any, hidden: Tensor) -> Tensor:
    own, mixed = of.attention.self, of.attention.output
    attended = own.attn(*own.qkv_proj(hidden).split(HIDDEN, -1))
    hidden = mixed.LayerNorm(mixed.dense(attended) + hidden)
    wide = nn.functional.gelu(of.intermediate.dense(hidden))
    return layer_norm(linear(wide, of.output.dense.weight, of.output.dense.bias) + hidden, (HIDDEN,))


@pytest.mark.parametrize("tokens", [1, 3, 64, 513])
@torch.inference_mode()
def test_a_layer_is_near_the_one_that_it_replaces(tokens: int) -> None:
    from psychechat.engines.vllm.cpu.half_products import HalfLayer, supported

    if not supported():
        pytest.skip("this CPU has no products in bf16")
    of, hidden = layer(tokens), torch.randn(tokens, HIDDEN)
    expected, found = plain(of, hidden), HalfLayer(of)(hidden)
    assert found.dtype == torch.float32
    assert (found - expected).norm() / expected.norm() < 0.005  # bf16 has 8 bits
    assert not torch.equal(found, expected)


def config(**changed: Any) -> Any:
    given: dict[str, Any] = {"dtype": torch.float32, "eager": True, "switches": {}, "quant": None, "lora": None}
    given |= {"world": 1} | changed
    return SimpleNamespace(
        additional_config=given["switches"],
        model_config=SimpleNamespace(dtype=given["dtype"], enforce_eager=given["eager"]),
        quant_config=given["quant"],
        lora_config=given["lora"],
        parallel_config=SimpleNamespace(world_size=given["world"]),
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"switches": {"half_products": False}},
        {"dtype": torch.bfloat16},
        {"eager": False},
        {"quant": "int8"},
        {"lora": "an adapter"},
        {"world": 2},
    ],
    ids=str,
)
def test_other_engines_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
    from vllm.platforms import current_platform

    from psychechat.engines.vllm.cpu import half_products

    monkeypatch.setattr(type(current_platform), "is_cpu", lambda _: True)
    monkeypatch.setattr(half_products, "supported", lambda: True)
    assert half_products.wanted(config())
    assert not half_products.wanted(config(**changed))


def test_a_cpu_without_such_products_and_another_vllm_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.platforms import current_platform

    from psychechat.engines.vllm import cpu
    from psychechat.engines.vllm.cpu import half_products

    monkeypatch.setattr(type(current_platform), "is_cpu", lambda _: True)
    monkeypatch.setattr(half_products, "supported", lambda: False)
    assert not half_products.wanted(config())
    monkeypatch.setattr(half_products, "supported", lambda: True)
    assert half_products.wanted(config())
    monkeypatch.setattr(cpu, "VLLM", "0.31.1")
    assert not half_products.wanted(config())


def test_a_classifier_beside_another_vllm_tells_it_and_warns_once(
    demo_classifier: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from vllm import __version__
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    from psychechat.engines.vllm import cpu
    from psychechat.engines.vllm.classifier import VllmClassifier
    from psychechat.engines.vllm.cpu import half_products

    def build(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(vllm_config=config(), shutdown=lambda: None)

    def limits() -> tuple[str, ...]:
        classifier = VllmClassifier(demo_classifier)
        classifier.shutdown()
        return classifier.limits

    monkeypatch.setattr(AsyncLLM, "from_engine_args", build)
    monkeypatch.setattr(type(current_platform), "is_cpu", lambda _: True)
    monkeypatch.setattr(half_products, "supported", lambda: True)
    assert limits() == ()
    monkeypatch.setattr(cpu, "VLLM", "0.31.1")
    assert limits() == ("half_products",)
    assert [line.getMessage() for line in caplog.records if line.name.startswith("psychechat")] == [
        f"vLLM is {__version__} and not 0.31.1: off on this CPU are half_products"
    ]


def test_only_what_another_vllm_takes_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings nor the machine can be mended by the version that we were written for."""
    from vllm.platforms import current_platform

    from psychechat.engines.vllm import cpu
    from psychechat.engines.vllm.cpu import half_products

    monkeypatch.setattr(type(current_platform), "is_cpu", lambda _: True)
    monkeypatch.setattr(half_products, "supported", lambda: True)
    assert half_products.limits(config()) == ()
    monkeypatch.setattr(cpu, "VLLM", "0.31.1")
    assert half_products.limits(config()) == ("half_products",)
    assert half_products.limits(config(switches={"half_products": False})) == ()
    monkeypatch.setattr(half_products, "supported", lambda: False)
    assert half_products.limits(config()) == ()
