"""Tiny random encoders and decoders with heads, served by vLLM, against transformers and the reference heads."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models import train_heads
from models.heads import Heads
from psychechat.emotion import Group
from psychechat.engines.base import Call, Pair
from psychechat.engines.vllm.windows import DRAFT_WIDTHS, WIDTHS, Window, Windows, assess, hurting
from psychechat.risk import Severity
from psychechat_kernels.fused_heads import Pooling, fused_heads
from tests.models import tiny

if TYPE_CHECKING:  # vLLM is imported when its engine is built, and not on collection
    from psychechat.engines.vllm.classifier import VllmClassifier
    from psychechat.engines.vllm.model import FusedHeads

OutputTo = Callable[[Path], AbstractContextManager[None]]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

LONG = " ".join(f"w{i}" for i in range(57)) + " good dark noon bad" * 9
TEXTS = ["w1 w2 w3", LONG, "w7", LONG + " w7", "w3 w2 w1", LONG + " w1", "w1 w2 w3 w4 w5. w6 w7 w8 w9! w4 w4 w4 w4 bad"]
LONGEST = 128
CALL = Call("test", "session", tenant_salt="tenant")
EXACT = {"additional_config": {"half_products": False}}
"""In float32 throughout, whatever the CPU could do."""


def with_heads(
    build: Callable[[Path], Path], folder: Path, pooling: Pooling, widths: Sequence[int] = WIDTHS
) -> tuple[Path, Path]:
    """A tiny random model, and the folder that `models.train_heads` makes of it, with random heads."""
    encoder, out = build(folder / "encoder"), folder / "model"
    out.mkdir()
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(sum(widths), tiny.HIDDEN, generator=generator)
    weight[sum(WIDTHS) :] *= 0.1  # else a third head would be sure of every draft
    heads = Heads(weight, torch.randn(sum(widths), generator=generator))
    train_heads.write(encoder, out, heads, {"groups": list(widths), "pooling": pooling, "prefix": ""})
    return encoder, out


@torch.inference_mode()
def plain(encoder: Path, folder: Path, pooling: Pooling, windows: list[Window]) -> list[list[list[float]]]:
    """Rows of probabilities a window, without vLLM: of the whole, and with mean pooling of each sentence."""
    from transformers import AutoModel

    model, tensors = AutoModel.from_pretrained(encoder).eval(), load_file(folder / "heads.safetensors")
    widths = json.loads((folder / "config.json").read_text())["psychechat"]["groups"]
    read = []
    for window in windows:
        hidden = model(torch.tensor([window.ids])).last_hidden_state[0]
        weight, bias = tensors["heads.weight"], tensors["heads.bias"]
        rows = []
        for first, last in ((0, len(window.ids) - 1), *(window.sentences if pooling == "mean" else ())):
            starts, ends = torch.tensor([first]), torch.tensor([last])
            row = fused_heads(hidden, starts, ends, weight, bias, widths, pooling, max_len=last - first + 1)
            rows.append(row[0].tolist())
        read.append(rows)
    return read


@pytest.fixture
def vllm_for(tmp_path: Path, output_to: OutputTo) -> Iterator[Callable[..., "VllmClassifier"]]:
    """Starts engines that stop at the test's end."""
    started: list[VllmClassifier] = []

    def start(folder: Path, **engine_args: Any) -> "VllmClassifier":
        with pytest.MonkeyPatch.context() as patch, output_to(tmp_path / "engine.log"):
            patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
            # Lets a worker be in its scheduler's process: one less to start.
            patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
            from psychechat.engines.vllm.classifier import VllmClassifier

            alone: Any = {"max_model_len": LONGEST, "distributed_executor_backend": "uni"}
            started.append(VllmClassifier(folder, **alone, **engine_args))
        return started[-1]

    yield start
    with output_to(tmp_path / "end.log"):
        for classifier in started:
            classifier.shutdown()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("build", "architecture", "pooling", "chunked"),
    [
        pytest.param(tiny.bert, "PsychechatBertModel", "mean", False, id="an encoder, mean"),
        pytest.param(tiny.qwen3, "PsychechatQwen3ForCausalLM", "mean", False, id="a decoder, mean"),
        pytest.param(tiny.qwen3, "PsychechatQwen3ForCausalLM", "last", True, id="a decoder, last token"),
    ],
)
async def test_equals_transformers(
    build: Callable[[Path], Path],
    architecture: str,
    pooling: Pooling,
    chunked: bool,
    tmp_path: Path,
    vllm_for: Callable[..., "VllmClassifier"],
) -> None:
    """Any architecture. The batch is too small for all texts at once: where the last token is enough, one is cut."""
    encoder, folder = with_heads(build, tmp_path, pooling)
    assert json.loads((folder / "config.json").read_text())["architectures"] == [architecture]
    classifier = vllm_for(folder, max_num_batched_tokens=LONGEST, max_num_seqs=8, **EXACT)
    config = classifier._engine.vllm_config
    assert config.scheduler_config.enable_chunked_prefill is chunked
    assert chunked or not config.cache_config.enable_prefix_caching
    found = await classifier.classify(TEXTS, CALL)
    windows = [Windows.of(folder, LONGEST).with_sentences(text)[0] for text in TEXTS]
    for assessment, rows in zip(found, plain(encoder, folder, pooling, windows), strict=True):
        expected = assess([rows])
        for group in Group:
            assert assessment.groups[group] == pytest.approx(expected.groups[group], abs=1e-4)
        for severity in Severity:
            assert assessment.at_least(severity) == pytest.approx(expected.at_least(severity), abs=1e-4)
    assert await classifier.judge([Pair("w1", "bad")], CALL) is None  # there are two heads


@pytest.mark.asyncio
async def test_a_third_head_judges_drafts_and_changes_nothing_else(
    tmp_path: Path, vllm_for: Callable[..., "VllmClassifier"]
) -> None:
    """A draft of no token, and one beyond its bound, are judged like any other."""
    encoder, folder = with_heads(tiny.bert, tmp_path, "mean", DRAFT_WIDTHS)
    drafts = ["w4 w5. w6 w7 bad", "", "good", f"{LONG} {LONG} {LONG}"]
    pairs = [Pair(seeker, draft) for seeker in ("w1 w2 w3", LONG) for draft in drafts]
    classifier = vllm_for(folder, max_num_batched_tokens=LONGEST, max_num_seqs=8, **EXACT)
    judged, [assessment] = await asyncio.gather(classifier.judge(pairs, CALL), classifier.classify(["w1 w2"], CALL))
    windows = [Windows.of(folder, LONGEST).pair(pair.seeker, pair.draft) for pair in pairs]
    expected = [hurting(rows) for rows in plain(encoder, folder, "mean", windows)]
    assert judged == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.1  # or this would prove little
    (rows,) = plain(encoder, folder, "mean", Windows.of(folder, LONGEST).with_sentences("w1 w2"))
    assert assessment.groups[Group.JOY] == pytest.approx(
        assess([[row[: sum(WIDTHS)] for row in rows]]).groups[Group.JOY], abs=1e-4
    )
    assert await classifier.judge([], CALL) == []


def test_heads_of_other_widths_are_refused_before_anything_starts(tmp_path: Path) -> None:
    from psychechat.engines.vllm.classifier import VllmClassifier

    _, folder = with_heads(tiny.bert, tmp_path, "mean", (*WIDTHS, 3))
    with pytest.raises(ValueError, match=r"psychechat\.groups"):
        VllmClassifier(folder)


def batch(scheduled: list[int], prompts: list[int], spans: Mapping[int, Sequence[tuple[int, int]]] = {}) -> Any:
    """vLLM's description of a batch: of each prompt, how many tokens are there. `spans`: by the prompt's place."""
    import numpy as np
    from vllm import PoolingParams
    from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

    from psychechat.engines.vllm.model import spans_of

    kwargs = [spans_of(spans[place]) if place in spans else None for place in range(len(prompts))]
    metadata = PoolingMetadata(
        prompt_lens=torch.tensor(prompts),
        prompt_token_ids=None,
        prompt_token_ids_cpu=None,
        pooling_params=[PoolingParams(task="classify", extra_kwargs=own) for own in kwargs],
        pooling_states=[PoolingStates() for _ in prompts],
    )
    metadata.build_pooling_cursor(np.array(scheduled), torch.tensor(scheduled), torch.device("cpu"))
    return metadata


def pooler(pooling: Pooling) -> "FusedHeads":
    from psychechat.engines.vllm.model import FusedHeads

    built = FusedHeads(tiny.HIDDEN, WIDTHS, pooling)
    generator = torch.Generator().manual_seed(4)
    built.weight.copy_(torch.randn(built.weight.shape, generator=generator))
    built.bias.copy_(torch.randn(built.bias.shape, generator=generator))
    return built


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_the_pooler_hands_the_kernel_what_vllm_holds(pooling: Pooling) -> None:
    """The kernel, interpreted, on vLLM's own packed tokens and cursor gives what the pooler gives by the reference."""
    heads, metadata, hidden = pooler(pooling), batch([5, 1, 30], [5, 1, 30]), torch.randn(36, tiny.HIDDEN)
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


def test_spans_are_read_as_sequences_are() -> None:
    """In one forward pass, of sequences with and without. What no span is there for repeats the sequence's row."""
    heads, hidden, spans = pooler("mean"), torch.randn(36, tiny.HIDDEN), {0: [(1, 2), (3, 4)], 2: [(5, 29)]}
    found = heads(hidden, batch([5, 1, 30], [5, 1, 30], spans))
    parts = [hidden[:5], hidden[1:3], hidden[3:5], hidden[5:6], hidden[6:36], hidden[11:36]]
    alone = [heads(part, batch([len(part)], [len(part)]))[0] for part in parts]
    expected = torch.stack([*alone[:3], alone[3], alone[3], alone[3], alone[4], alone[5], alone[4]]).view(3, 3, -1)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("pooling", ["first", "last"])
def test_one_token_has_no_parts(pooling: Pooling) -> None:
    heads, hidden = pooler(pooling), torch.randn(9, tiny.HIDDEN)
    assert torch.equal(heads(hidden, batch([9], [9], {0: [(1, 3)]})), heads(hidden, batch([9], [9])))


def test_the_pooler_takes_an_empty_batch() -> None:
    assert pooler("mean")(torch.empty(0, tiny.HIDDEN), batch([], [])).shape == (0, sum(WIDTHS))


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_pooler_refuses_a_part_of_a_sequence(pooling: Pooling) -> None:
    with pytest.raises(RuntimeError, match="whole sequences"):
        pooler(pooling)(torch.randn(9, tiny.HIDDEN), batch([5, 4], [5, 7]))


def test_the_last_token_needs_no_others() -> None:
    assert pooler("last")(torch.randn(9, tiny.HIDDEN), batch([5, 4], [5, 7])).shape == (2, sum(WIDTHS))


def test_a_folder_without_heads_is_refused(tmp_path: Path, vllm_for: Callable[..., "VllmClassifier"]) -> None:
    _, folder = with_heads(tiny.bert, tmp_path, "mean")
    save_file({"heads.weight": load_file(folder / "heads.safetensors")["heads.weight"]}, folder / "heads.safetensors")
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
