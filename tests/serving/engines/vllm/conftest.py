"""What the tests of real engines share, the counselor above all: starting one takes longer than most tests of it."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

if TYPE_CHECKING:  # vLLM is imported when its engine is built, and not on collection
    from psychechat.engines.vllm.generator import VllmGenerator

OutputTo = Callable[[Path], AbstractContextManager[None]]

KV_BYTES = 2**30
"""Of the counselor's KV memory."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the counselor follow each other, and the one that its engine does not survive comes last."""

    def asks(item: pytest.Item, fixture: str) -> bool:
        return fixture in getattr(item, "fixturenames", ())

    of_counselor = [item for item in items if asks(item, "counselor")]
    if of_counselor:
        first = items.index(of_counselor[0])
        others = [item for item in items if not asks(item, "counselor")]
        in_order = sorted(of_counselor, key=lambda item: asks(item, "doomed_counselor"))
        items[:] = [*others[:first], *in_order, *others[first:]]


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    saved = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            for number, original in zip((1, 2), saved, strict=True):
                os.dup2(original, number)
                os.close(original)


@pytest.fixture(scope="session")
def output_to() -> OutputTo:
    """What this process and its children print goes to a file; children keep it when the block ends."""
    return _output_to


@pytest.fixture(scope="session")
def counselor_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "engine.log"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def counselor(
    tmp_path_factory: pytest.TempPathFactory, counselor_log: Path, output_to: OutputTo
) -> AsyncIterator["VllmGenerator"]:
    """One engine for all tests: ask it with words, or a tenant, of your own, and count by differences."""
    model = _random_counselor(tmp_path_factory.mktemp("model") / "counselor")
    with pytest.MonkeyPatch.context() as patch, output_to(counselor_log):
        patch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")  # no level may print a text
        patch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)  # it would go before what is said below
        from psychechat.engines.vllm.generator import VllmGenerator

        engine_args = {
            "enforce_eager": True,
            "max_model_len": 4096,
            "max_num_seqs": 16,
            "kv_cache_memory_bytes": KV_BYTES,
        }
        built = VllmGenerator(str(model), engine_args=engine_args)
    yield built
    with output_to(counselor_log):
        built.shutdown()


@pytest.fixture
def doomed_counselor(counselor: "VllmGenerator") -> "VllmGenerator":
    """The same, for the last test."""
    return counselor


def _random_counselor(folder: Path) -> Path:
    """The demo counselor's architecture and tokenizer with weights that have learnt nothing.

    The row of `</think>` is made long, and turned to where these weights' states lie, so that thinking ends after some
    dozens of tokens and not some thousands.
    """
    shutil.copytree(str(files("psychechat") / "demo" / "counselor"), folder)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: (torch.ones(w.shape) if w.dim() == 1 else 0.02 * torch.randn(w.shape, generator=generator)).to(w.dtype)
        for name, w in load_file(folder / "model.safetensors").items()
    }
    close = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("</think>")
    weights["model.embed_tokens.weight"][close] *= -10
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
