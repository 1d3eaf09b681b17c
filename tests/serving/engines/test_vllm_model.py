"""Tiny random encoders and decoders with heads, served by vLLM, against transformers and the reference heads."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from psychechat.emotion import Group
from psychechat.engines.base import Call
from psychechat.engines.vllm.windows import WIDTHS, Windows, assess
from psychechat.risk import Severity
from psychechat_kernels.fused_heads import Pooling, fused_heads

if TYPE_CHECKING:  # vLLM is imported when its engine is built, and not on collection
    from psychechat.engines.vllm.classifier import VllmClassifier
    from psychechat.engines.vllm.model import FusedHeads

OutputTo = Callable[[Path], AbstractContextManager[None]]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

WORDS = ["<s>", "</s>", "<unk>", *(f"w{i}" for i in range(125))]
LONG = " ".join(f"w{i}" for i in range(90))
TEXTS = ["w1 w2 w3", LONG, "w7", LONG + " w7", "w3 w2 w1", LONG + " w1"]
HIDDEN, LONGEST = 64, 128


def bert() -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    return BertModel(  # type: ignore[no-untyped-call]
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=96,
            max_position_embeddings=LONGEST,
        ),
        add_pooling_layer=False,
    )


def qwen3() -> Any:
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(2)
    return Qwen3Model(
        Qwen3Config(
            vocab_size=len(WORDS),
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            intermediate_size=96,
            max_position_embeddings=LONGEST,
            tie_word_embeddings=True,
        )
    )


def write(folder: Path, model: Any, architecture: str, pooling: Pooling) -> Path:
    """The model as a folder with random heads, as `models.train_heads` would write it."""
    model.eval().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "architectures": [architecture],
        "psychechat": {"groups": WIDTHS, "pooling": pooling, "prefix": ""},
    }
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(3)
    heads = {
        "heads.weight": torch.randn(sum(WIDTHS), HIDDEN, generator=generator),
        "heads.bias": torch.randn(sum(WIDTHS), generator=generator),
    }
    save_file(load_file(folder / "model.safetensors") | heads, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@torch.inference_mode()
def plain(folder: Path, model: Any, pooling: Pooling, text: str) -> list[float]:
    """A row of probabilities without vLLM."""
    (window,) = Windows.of(folder, LONGEST).cut(text)
    hidden = model(torch.tensor([window])).last_hidden_state[0]
    tensors = load_file(folder / "model.safetensors")
    row = fused_heads(
        hidden,
        torch.tensor([0]),
        torch.tensor([len(window) - 1]),
        tensors["heads.weight"],
        tensors["heads.bias"],
        WIDTHS,
        pooling,
        max_len=len(window),
    )
    return [float(value) for value in row[0]]


@pytest.fixture
def vllm_for(tmp_path: Path, output_to: OutputTo) -> Iterator[Callable[..., "VllmClassifier"]]:
    """Starts engines that stop at the test's end."""
    started: list[VllmClassifier] = []

    def start(folder: Path, **engine_args: Any) -> "VllmClassifier":
        with pytest.MonkeyPatch.context() as patch, output_to(tmp_path / "engine.log"):
            patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
            from psychechat.engines.vllm.classifier import VllmClassifier

            started.append(VllmClassifier(folder, max_model_len=LONGEST, **engine_args))
        return started[-1]

    yield start
    with output_to(tmp_path / "end.log"):
        for classifier in started:
            classifier.shutdown()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("build", "architecture", "pooling", "chunked"),
    [
        pytest.param(bert, "PsychechatBertModel", "mean", False, id="an encoder, mean"),
        pytest.param(qwen3, "PsychechatQwen3ForCausalLM", "mean", False, id="a decoder, mean"),
        pytest.param(qwen3, "PsychechatQwen3ForCausalLM", "last", True, id="a decoder, last token"),
    ],
)
async def test_equals_transformers(
    build: Callable[[], Any],
    architecture: str,
    pooling: Pooling,
    chunked: bool,
    tmp_path: Path,
    vllm_for: Callable[..., "VllmClassifier"],
) -> None:
    """Any architecture. The batch is too small for all texts at once: where the last token is enough, one is cut."""
    model = build()
    folder = write(tmp_path / "model", model, architecture, pooling)
    classifier = vllm_for(folder, max_num_batched_tokens=LONGEST, max_num_seqs=8)
    assert classifier._engine.vllm_config.scheduler_config.enable_chunked_prefill is chunked
    found = await classifier.classify(TEXTS, Call("test", "session"))
    for text, assessment in zip(TEXTS, found, strict=True):
        expected = assess([plain(folder, model, pooling, text)])
        for group in Group:
            assert assessment.groups[group] == pytest.approx(expected.groups[group], abs=2e-5)
        for severity in Severity:
            assert assessment.risk[severity] == pytest.approx(expected.risk[severity], abs=2e-5)


def batch(scheduled: list[int], prompts: list[int]) -> Any:
    """vLLM's description of a batch: of each prompt, how many tokens are there."""
    import numpy as np
    from vllm import PoolingParams
    from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

    metadata = PoolingMetadata(
        prompt_lens=torch.tensor(prompts),
        prompt_token_ids=None,
        prompt_token_ids_cpu=None,
        pooling_params=[PoolingParams(task="classify") for _ in prompts],
        pooling_states=[PoolingStates() for _ in prompts],
    )
    metadata.build_pooling_cursor(np.array(scheduled), torch.tensor(scheduled), torch.device("cpu"))
    return metadata


def pooler(pooling: Pooling) -> "FusedHeads":
    from psychechat.engines.vllm.model import FusedHeads

    built = FusedHeads(HIDDEN, WIDTHS, pooling)
    generator = torch.Generator().manual_seed(4)
    built.weight.copy_(torch.randn(built.weight.shape, generator=generator))
    built.bias.copy_(torch.randn(built.bias.shape, generator=generator))
    return built


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_the_pooler_hands_the_kernel_what_vllm_holds(pooling: Pooling) -> None:
    """The kernel, interpreted, on vLLM's own packed tokens and cursor gives what the pooler gives by the reference."""
    heads, metadata, hidden = pooler(pooling), batch([5, 1, 30], [5, 1, 30]), torch.randn(36, HIDDEN)
    cursor = metadata.get_pooling_cursor()
    rows = fused_heads(
        hidden,
        cursor.first_token_indices_gpu,
        cursor.last_token_indices_gpu,
        heads.weight,
        heads.bias,
        heads.groups,
        pooling,
        max_len=30,
        implementation="triton",
    )
    torch.testing.assert_close(heads(hidden, metadata), rows, rtol=0, atol=2e-6)


def test_the_pooler_takes_an_empty_batch() -> None:
    assert pooler("mean")(torch.empty(0, HIDDEN), batch([], [])).shape == (0, sum(WIDTHS))


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_pooler_refuses_a_part_of_a_sequence(pooling: Pooling) -> None:
    with pytest.raises(RuntimeError, match="whole sequences"):
        pooler(pooling)(torch.randn(9, HIDDEN), batch([5, 4], [5, 7]))


def test_the_last_token_needs_no_others() -> None:
    assert pooler("last")(torch.randn(9, HIDDEN), batch([5, 4], [5, 7])).shape == (2, sum(WIDTHS))


def test_a_folder_without_heads_is_refused(tmp_path: Path, vllm_for: Callable[..., "VllmClassifier"]) -> None:
    folder = write(tmp_path / "model", bert(), "PsychechatBertModel", "mean")
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k != "heads.bias"}, folder / "model.safetensors")
    with pytest.raises(RuntimeError):
        vllm_for(folder)
    assert "the model folder lacks heads.weight or heads.bias" in (tmp_path / "engine.log").read_text()


def test_every_architecture_of_vllms_has_a_twin_with_heads() -> None:
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from psychechat.engines.vllm.plugin import register

    register()
    register()  # vLLM may call it again
    names = ModelRegistry.get_supported_archs()
    originals = {name for name in names if not name.startswith("Psychechat")}
    assert len(originals) > 100
    assert {f"Psychechat{name}" for name in originals} == set(names) - originals
    assert MODELS_CONFIG_MAP["PsychechatGteNewModel"] is MODELS_CONFIG_MAP["GteNewModel"]


def test_an_unknown_name_is_no_class() -> None:
    from psychechat.engines.vllm import model

    with pytest.raises(AttributeError, match="PsychechatNoSuchModel"):
        _ = model.PsychechatNoSuchModel
