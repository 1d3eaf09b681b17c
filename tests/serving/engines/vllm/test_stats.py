"""What a started engine says of its KV memory, where no engine here can be made to say it."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from vllm.config import VllmConfig

pytestmark = [
    pytest.mark.engine,  # none is started; in their lane vLLM is imported once
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def said(blocks: int | None, block_size: int = 16, tokens: int | None = None, copies: int = 1) -> "VllmConfig":
    cache = SimpleNamespace(num_gpu_blocks=blocks, block_size=block_size, kv_cache_size_tokens=tokens)
    parallel = SimpleNamespace(data_parallel_size=copies)
    return cast("VllmConfig", SimpleNamespace(cache_config=cache, parallel_config=parallel))


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (said(1000), 16_000),
        (said(1000, block_size=32), 32_000),
        (said(1000, tokens=9_000), 9_000),  # groups of layers, each with blocks of its own
        (said(2000, tokens=9_000, copies=2), 18_000),  # the blocks are of both, the tokens of one
        (said(0), None),  # attends to one text and keeps nothing
        (said(None), None),
    ],
)
def test_the_memory_of_an_engine_in_tokens(config: "VllmConfig", tokens: int | None) -> None:
    from psychechat.engines.vllm.stats import kv_tokens

    assert kv_tokens(config) == tokens
