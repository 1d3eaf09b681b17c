"""How vLLM is configured: by the model's tokenizer, as for a server on a GPU, and by variables of the environment."""

import shutil
from collections.abc import Callable
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from psychechat_ray.environment import DEFAULTS

pytest.importorskip("vllm")

if TYPE_CHECKING:
    from vllm.config import VllmConfig

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ROOT = Path(__file__).parents[4]
COUNSELOR = Path(str(files("psychechat") / "demo" / "counselor"))
SETTINGS = {
    f"{path.parent.name}-{path.stem}": yaml.safe_load(path.read_text("utf-8"))
    for path in (*ROOT.glob("deployments/configs/*.yaml"), *ROOT.glob("helm/ci/*.yaml"))
}
CLASSIFIERS = {name: written.get("app", written).get("classifier", {}) for name, written in SETTINGS.items()}
ON_GPU = {name: its for name, its in CLASSIFIERS.items() if its.get("replicas", {}).get("num_gpus")}


def configured(model: Path, **given: Any) -> "VllmConfig":
    from psychechat.engines.vllm import engine_config

    arguments = engine_config.arguments(str(model), {"enforce_eager": True, **given}, None, on_cpu=True)
    return engine_config.configuration(arguments)


@pytest.fixture
def without_tags(tmp_path: Path) -> Path:
    """The demo counselor with other names for the tokens around the thinking: those that SmolLM2 has of itself."""
    for file in ("config.json", "generation_config.json", "tokenizer_config.json"):
        shutil.copy(COUNSELOR / file, tmp_path)
    written = (COUNSELOR / "tokenizer.json").read_text("utf-8")
    assert "</think>" in written
    for tag, other in (("<think>", "<issue_start>"), ("</think>", "<issue_closed>")):
        written = written.replace(tag, other)
    (tmp_path / "tokenizer.json").write_text(written, "utf-8")
    return tmp_path


class TestThinking:
    def test_where_the_tokenizer_has_its_end_grammars_begin_behind_it(self) -> None:
        assert configured(COUNSELOR).structured_outputs_config.reasoning_parser == "qwen3"

    def test_where_it_has_not_nobody_waits_for_it(self, without_tags: Path) -> None:
        assert configured(without_tags).structured_outputs_config.reasoning_parser == ""

    def test_an_operators_parser_stays(self, without_tags: Path) -> None:
        given = {"backend": "xgrammar", "reasoning_parser": "deepseek_r1"}
        config = configured(without_tags, structured_outputs_config=given)
        assert config.structured_outputs_config.reasoning_parser == "deepseek_r1"


@pytest.mark.parametrize(
    ("card", "gigabytes", "tokens"), [("NVIDIA H100 80GB HBM3", 80, 8192), ("NVIDIA L40S", 48, 2048)]
)
def test_a_step_computes_as_many_tokens_as_on_vllms_own_server(
    monkeypatch: pytest.MonkeyPatch, card: str, gigabytes: int, tokens: int
) -> None:
    """vLLM's own table, read as on a machine with this card. All else is configured for this one."""
    from vllm import AsyncEngineArgs
    from vllm.platforms import current_platform

    read: Callable[..., Any] = AsyncEngineArgs.get_batch_defaults.__func__  # type: ignore[attr-defined]

    def read_beside_the_card(cls: type, world_size: int) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(type(current_platform), "is_cpu", lambda _: False)
            patch.setattr(type(current_platform), "get_device_name", lambda *_: card)
            patch.setattr(type(current_platform), "get_device_total_memory", lambda *_: gigabytes * 2**30)
            return read(cls, world_size)

    monkeypatch.setattr(AsyncEngineArgs, "get_batch_defaults", classmethod(read_beside_the_card))
    assert configured(COUNSELOR, max_num_seqs=64).scheduler_config.max_num_batched_tokens == tokens


@pytest.mark.parametrize("name", ON_GPU)
def test_on_a_gpu_the_classifier_has_a_graph_for_every_batch(name: str) -> None:
    """Of itself vLLM captures up to 512 tokens, and launches what is larger kernel by kernel."""
    from vllm import AsyncEngineArgs

    from psychechat.engines.vllm.classifier import VllmClassifier

    given = ON_GPU[name]["engine_args"]
    most = signature(VllmClassifier).parameters["max_num_batched_tokens"].default
    args = AsyncEngineArgs(model="a/model", **given)
    assert args.compilation_config.max_cudagraph_capture_size >= (args.max_num_batched_tokens or most)


class TestEnvironment:
    """Of `psychechat serve`; the images and the chart have the same."""

    @pytest.fixture(autouse=True)
    def _read_anew(self) -> None:
        from vllm import envs

        envs.disable_envs_cache()

    def test_vllm_knows_its_variables(self) -> None:
        from vllm import envs

        ours = {name for name in DEFAULTS if name.startswith("VLLM_")} | {"VLLM_CACHE_ROOT"}
        assert len(ours) > 2
        assert ours <= envs.environment_variables.keys()

    @pytest.mark.parametrize("name", ["VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"])
    def test_vllm_tells_its_makers_nothing(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        from vllm.usage import usage_lib

        for other in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "VLLM_DO_NOT_TRACK"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, DEFAULTS[name])
        monkeypatch.setattr(usage_lib, "_USAGE_STATS_ENABLED", None)
        assert not usage_lib.is_usage_stats_enabled()  # type: ignore[no-untyped-call]

    def test_flashinfer_which_needs_nvcc_does_not_sample(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from vllm.platforms import current_platform
        from vllm.v1.sample.ops.topk_topp_sampler import flashinfer_sampler_supported

        monkeypatch.setenv("VLLM_USE_FLASHINFER_SAMPLER", DEFAULTS["VLLM_USE_FLASHINFER_SAMPLER"])
        monkeypatch.setattr(type(current_platform), "is_cuda", lambda _: True)
        assert not flashinfer_sampler_supported()
