"""Sizes beside those of whom they are to foresee: vLLM's own KV arithmetic, and the models' own parameters."""

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch

from psychechat.sizing import shapes
from psychechat.sizing.cards import CARDS, Card
from psychechat.sizing.memory import BLOCK, Asked, Fit, kv_heads, kv_token_bytes, kv_tokens, weight_bytes

if TYPE_CHECKING:
    from vllm.v1.kv_cache_interface import KVCacheSpec

pytestmark = [
    pytest.mark.engine,  # none is started; in their lane vLLM is imported once
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ODD: dict[str, Any] = {
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "hidden_size": 96,
    "intermediate_size": 208,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
"""A small model, of which a test says the rest."""
OTHERS = {
    "llama with biases, tied": {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "tie": True},
    "llama, as many KV heads": {"model_type": "llama", "num_key_value_heads": 8},
    "mistral, heads of a width of their own": {"model_type": "mistral", "head_dim": 24, "sliding_window": None},
    "qwen3 with biases": {"model_type": "qwen3", "attention_bias": True, "head_dim": 32},
    "qwen2, tied": {"model_type": "qwen2", "tie": True},
}


def odd(name: str) -> dict[str, Any]:
    changes = dict(OTHERS[name])
    return ODD | {"tie_word_embeddings": changes.pop("tie", False)} | changes


ALL = {**shapes.known(), **{name: odd(name) for name in OTHERS}}


def in_full(config: Mapping[str, Any]) -> dict[str, Any]:
    """One architecture for all: vLLM looks into each in a process of its own, and reckons with the config alone."""
    return {**config, "architectures": ["Qwen3ForCausalLM"], "torch_dtype": "bfloat16"}


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_those_of_the_model_itself(name: str) -> None:
    """Of its layers two: they are alike, and a large model is not built in a test."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = {**ALL[name], "num_hidden_layers": 2}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))  # type: ignore[no-untyped-call]
    shape = shapes.parse(config)
    assert shape.parameters == model.num_parameters()
    linear = [part.weight.numel() for part in model.model.layers.modules() if isinstance(part, torch.nn.Linear)]
    assert shape.linear_parameters == sum(linear)
    assert weight_bytes(shape, Asked()) == 2 * model.num_parameters()
    assert weight_bytes(shape, Asked(quantization="fp8")) == 2 * model.num_parameters() - sum(linear)


class VllmsOwn:
    """A model's folder, as vLLM sees it: per-card heads, bytes of a block, blocks of so much memory."""

    def __init__(self, folder: Path, config: Mapping[str, Any], asked: Asked) -> None:
        from vllm.config import CacheConfig, ModelConfig, ParallelConfig, VllmConfig
        from vllm.v1.kv_cache_interface import FullAttentionSpec

        (folder / "config.json").write_text(json.dumps(in_full(config)))
        parallel = ParallelConfig(tensor_parallel_size=asked.tensor_parallel_size)
        model = ModelConfig(
            model=str(folder), skip_tokenizer_init=True, dtype="bfloat16", max_model_len=asked.max_model_len
        )
        self.config = VllmConfig(
            model_config=model, parallel_config=parallel, cache_config=CacheConfig(block_size=BLOCK)
        )
        self.config.cache_config.kv_cache_layout = "LBNHC"  # the engine's core asks the attention's backend
        self.heads = model.get_num_kv_heads(parallel)
        self.specs: dict[str, KVCacheSpec] = {
            f"layers.{number}": FullAttentionSpec(
                block_size=BLOCK,
                num_kv_heads=self.heads,
                head_size=model.get_head_size(),
                dtype=torch.float8_e4m3fn if asked.kv_cache_dtype == "fp8" else torch.bfloat16,
            )
            for number in range(model.get_num_layers(parallel))
        }

    @property
    def block_bytes(self) -> int:
        return sum(spec.page_size_bytes for spec in self.specs.values())

    def tokens(self, memory: int) -> int:
        """Raises ValueError, as it does at a start, if a context does not fit."""
        from vllm.v1.core.kv_cache_utils import get_kv_cache_configs

        [config] = get_kv_cache_configs(self.config, [self.specs], [memory])
        return config.num_blocks * BLOCK


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        pytest.param("Qwen/Qwen3-8B", Asked(), id="one card"),
        pytest.param("Qwen/Qwen3-8B", Asked(kv_cache_dtype="fp8", max_model_len=4096), id="fp8"),
        pytest.param("Qwen/Qwen3-32B", Asked(tensor_parallel_size=4), id="four cards"),
        pytest.param("Qwen/Qwen2.5-7B-Instruct", Asked(tensor_parallel_size=2), id="two cards"),
        pytest.param("llama, as many KV heads", Asked(max_model_len=1024), id="as many KV heads"),
        pytest.param("mistral, heads of a width of their own", Asked(max_model_len=4096), id="wide heads"),
        pytest.param("qwen2, tied", Asked(tensor_parallel_size=8, max_model_len=4096), id="more cards than KV heads"),
    ],
)
def test_kv_memory_is_what_vllm_makes_of_it(name: str, asked: Asked, tmp_path: Path) -> None:
    own, shape = VllmsOwn(tmp_path, ALL[name], asked), shapes.parse(ALL[name])
    assert kv_heads(shape, asked) == own.heads
    assert kv_token_bytes(shape, asked) * BLOCK == own.block_bytes
    for memory in (20 * 2**30, 20 * 2**30 - 1, 1000 * own.block_bytes + 1, 2000 * own.block_bytes - 1):
        if memory >= (asked.max_model_len // BLOCK + 1) * own.block_bytes:
            assert kv_tokens(shape, asked, memory) == own.tokens(memory)


def test_what_serves_starts_and_one_block_less_does_not(tmp_path: Path) -> None:
    """vLLM wants room for one whole context, and keeps a block to itself."""
    asked = Asked(gpu_memory_utilization=1.0, working_gib=0.0, max_model_len=4096, sequence_tokens=512)
    config = ALL["llama, as many KV heads"]
    own, shape = VllmsOwn(tmp_path, config, asked), shapes.parse(config)
    enough = (asked.max_model_len // BLOCK + 1) * own.block_bytes

    def on(kv_bytes: int) -> Fit:
        card = Card(0, "", (kv_bytes + weight_bytes(shape, asked)) / 2**30, 1.0, 1.0, (9, 0))
        return Fit(shape, asked, card)

    assert on(enough).kv_bytes == enough
    assert on(enough).serves
    assert own.tokens(enough) == on(enough).kv_tokens
    assert not on(enough - 1).serves
    with pytest.raises(ValueError, match="KV cache"):
        own.tokens(enough - 1)


def test_cards_are_named_by_what_they_are_sold_as() -> None:
    """A card shows less than its name says, if that is read as GiB, and no more than a tenth less."""
    for gigabytes, card in CARDS.items():
        assert 0.9 * gigabytes < card.memory < gigabytes


def test_memory_that_is_given_spares_no_engine_what_must_be_free_when_it_starts() -> None:
    """What `psychechat size` and the refusal of two engines on one GPU say of `gpu_memory_utilization`."""
    from vllm.config import CacheConfig
    from vllm.utils.mem_utils import MemorySnapshot
    from vllm.v1.worker.utils import request_memory

    half_taken = MemorySnapshot(free_memory=40 * 2**30, total_memory=80 * 2**30, device="cpu", auto_measure=False)
    with pytest.raises(ValueError, match="less than desired GPU memory utilization"):
        request_memory(half_taken, CacheConfig(kv_cache_memory_bytes=2**30))
    request_memory(half_taken, CacheConfig(kv_cache_memory_bytes=2**30, gpu_memory_utilization=0.45))


class TestAttention:
    """vLLM's own choice for a card, made without one. FlashInfer, which is in the image, takes what comes to it."""

    @pytest.fixture(autouse=True)
    def _cuda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """CUDA's platform can be imported."""
        monkeypatch.setitem(sys.modules, "vllm._C_stable_libtorch", ModuleType("_C_stable_libtorch"))

    def platform(self, card: Card) -> Any:
        from vllm.platforms.cuda import CudaPlatformBase
        from vllm.platforms.interface import DeviceCapability

        class Platform(CudaPlatformBase):
            @classmethod
            def get_device_capability(cls, device_id: int = 0) -> DeviceCapability:
                return DeviceCapability(*card.capability)

            @classmethod
            def get_device_name(cls, device_id: int = 0) -> str:
                return card.name

        return Platform()

    def chosen(self, card: Card, kv_cache_dtype: Any, monkeypatch: pytest.MonkeyPatch) -> str:
        from vllm.v1.attention.backends import fa_utils, flash_attn  # noqa: F401  as a CPU imports it
        from vllm.v1.attention.backends.registry import AttentionBackendEnum
        from vllm.v1.attention.selector import AttentionSelectorConfig

        platform = self.platform(card)
        version = 3 if card.capability[0] == 9 else 2  # by get_flash_attn_version, where there are the kernels
        monkeypatch.setattr(fa_utils, "current_platform", platform)
        monkeypatch.setattr(fa_utils, "get_flash_attn_version", lambda **given: version)
        config = AttentionSelectorConfig(
            head_size=128,
            dtype=torch.bfloat16,
            kv_cache_dtype=kv_cache_dtype,
            block_size=BLOCK,
            use_mla=False,
            has_sink=False,
            use_sparse=False,
            use_mm_prefix=False,
            use_per_head_quant_scales=False,
        )
        taken, refused = platform.get_valid_backends(platform.get_device_capability(), config)
        priority, reasons = refused[AttentionBackendEnum.FLASHINFER]
        assert all("No module named 'flashinfer'" in reason for reason in reasons)
        return str(min([(one.priority, one.backend.name) for one in taken] + [(priority, "FLASHINFER")])[1])

    @pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
    @pytest.mark.parametrize("gigabytes", CARDS)
    def test_a_backend_is_named_where_vllm_would_take_one_that_needs_nvcc(
        self, gigabytes: int, kv_cache_dtype: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fit = Fit(shapes.of("Qwen3-8B"), Asked(kv_cache_dtype=kv_cache_dtype), CARDS[gigabytes])
        by_itself = self.chosen(fit.card, kv_cache_dtype, monkeypatch)
        assert fit.attention_backend == ("TRITON_ATTN" if by_itself == "FLASHINFER" else None)

    @pytest.mark.parametrize("gigabytes", CARDS)
    def test_the_one_that_is_named_reads_fp8_on_the_cards_of_which_we_say_so(
        self, gigabytes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from vllm.config import AttentionConfig
        from vllm.v1.attention.backends import triton_attn

        fit = Fit(shapes.of("Qwen3-8B"), Asked(kv_cache_dtype="fp8"), CARDS[gigabytes])
        backend = AttentionConfig(backend=fit.attention_backend or "TRITON_ATTN").backend  # type: ignore[arg-type]
        assert backend is not None
        assert backend.get_class() is triton_attn.TritonAttentionBackend
        monkeypatch.setattr(triton_attn, "current_platform", self.platform(fit.card))
        refused = None if fit.reads_kv else "FP8 KV cache is not supported"
        with pytest.raises(ValueError, match=refused) if refused else nullcontext():
            triton_attn.TritonAttentionImpl(32, 128, 1.0, 8, None, None, "fp8")
