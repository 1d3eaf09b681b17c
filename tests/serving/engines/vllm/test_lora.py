"""LoRA adapters on a real engine: the demo counselor with random ones, which change its words beyond doubt."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import pytest_asyncio
import torch
from safetensors.torch import load_file, save_file

from psychechat.engines.base import Call, Message, Sampling, Stage, StageName

if TYPE_CHECKING:  # vLLM is imported when its engine is built, and not on collection
    from psychechat.engines.vllm.generator import VllmGenerator

OutputTo = Callable[[Path], AbstractContextManager[None]]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

MODEL = Path(str(files("psychechat") / "demo" / "counselor"))
ASKED = [Message("user", "I could not sleep last night. My exam is tomorrow.")]
MOOD = {
    "type": "object",
    "properties": {"mood": {"enum": ["low", "high"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


def adapter(folder: Path, seed: int, rank: int = 4, query: str = "q_proj") -> Path:
    """`query`: as the layer is called, in other models otherwise."""
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, torch.Tensor] = {}
    for name, weight in load_file(MODEL / "model.safetensors").items():
        if name.endswith(("q_proj.weight", "v_proj.weight", "down_proj.weight")):
            layer = "base_model.model." + name.removesuffix(".weight").replace("q_proj", query)
            parts[f"{layer}.lora_A.weight"] = 0.1 * torch.randn(rank, weight.shape[1], generator=generator)
            parts[f"{layer}.lora_B.weight"] = 0.1 * torch.randn(weight.shape[0], rank, generator=generator)
    folder.mkdir()
    save_file(parts, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": [query, "v_proj", "down_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory, output_to: OutputTo) -> AsyncIterator["VllmGenerator"]:
    folder = tmp_path_factory.mktemp("adapters")
    adapters = {"one": adapter(folder / "one", 1), "two": adapter(folder / "two", 2, rank=12)}
    with pytest.MonkeyPatch.context() as patch, output_to(folder / "engine.log"):
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        from psychechat.engines.vllm.generator import VllmGenerator

        engine_args = {"enforce_eager": True, "max_model_len": 2048, "max_num_seqs": 8}
        built = VllmGenerator(str(MODEL), engine_args=engine_args, adapters=adapters)
        await built.warm([])
    yield built
    with output_to(folder / "engine.log"):
        built.shutdown()


async def write(engine: "VllmGenerator", adapter: str | None, stage: Stage = Stage(StageName.REPLY)) -> str:  # noqa: B008  frozen
    call = Call("test", "session", adapter=adapter)
    return "".join([delta.content async for delta in engine.generate(ASKED, stage, Sampling(24), call)])


async def test_each_request_has_the_adapter_that_its_call_names(engine: "VllmGenerator") -> None:
    """Also behind one prefix, the cache of one adapter being no other's, and in one batch, where vLLM's CPU kernels
    would give who has none the last one's.
    """
    alone = [await write(engine, adapter) for adapter in (None, "one", "two")]
    assert len(set(alone)) == 3
    together = await asyncio.gather(*(write(engine, adapter) for adapter in (None, "one", "two")))
    assert together == alone


async def test_an_adapter_keeps_a_stages_schema(engine: "VllmGenerator") -> None:
    jsonschema.validate(json.loads(await write(engine, "one", Stage(StageName.EMOTION, schema=MOOD))), MOOD)


async def test_two_counselors_write_at_once_as_each_would_alone(
    engine: "VllmGenerator", counselor: "VllmGenerator"
) -> None:
    """Agent Mode's weights an engine, LLM Mode's an adapter of another."""
    draft = Stage(StageName.EMOTION, schema=MOOD, indent=4)
    asked = [(counselor, None, draft), (engine, "one", Stage(StageName.REPLY)), (engine, "two", draft)]
    alone = [await write(*of) for of in asked]
    assert [await asyncio.gather(*(write(*of) for of in asked)) for _ in range(2)] == [alone, alone]
    assert all(json.loads(alone[place])["mood"] in ("low", "high") for place in (0, 2))


async def test_an_adapter_of_another_model_ends_the_start(
    engine: "VllmGenerator", tmp_path: Path, output_to: OutputTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from psychechat.engines.vllm import lora

    folder = adapter(tmp_path / "foreign", 3, query="query_key_value")
    numbered = lora.requests({"one": tmp_path, "two": tmp_path, "foreign": folder})
    monkeypatch.setattr(engine, "_adapters", {"foreign": numbered["foreign"]})
    with output_to(tmp_path / "engine.log"), pytest.raises(Exception, match="query_key_value"):
        await engine.warm([])
    monkeypatch.undo()
    assert await write(engine, "one")


async def test_there_is_room_for_the_largest_rank_in_vllms_steps(tmp_path: Path) -> None:
    from psychechat.engines.vllm import lora

    assert lora.engine_args({}, on_cpu=True) == {}
    ranks = {"small": {"r": 4}, "large": {"r": 24}, "mixed": {"r": 8, "rank_pattern": {"q_proj": 100}}}
    folders = {}
    for name, config in ranks.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        (folders[name] / "adapter_config.json").write_text(json.dumps(config))
    most = {name: lora.engine_args({name: folder}, on_cpu=False)["max_lora_rank"] for name, folder in folders.items()}
    assert most == {"small": 8, "large": 32, "mixed": 128}
    assert lora.engine_args(folders, on_cpu=False) == {"enable_lora": True, "max_loras": 3, "max_lora_rank": 128}
    assert lora.engine_args(folders, on_cpu=True)["max_loras"] == 4  # the last place is for who has none
