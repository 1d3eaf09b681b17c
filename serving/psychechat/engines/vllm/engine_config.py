"""The configuration of a generator's engine: our defaults, what the operator says, and what follows from the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vllm
from vllm import AsyncEngineArgs
from vllm.config import VllmConfig
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.usage.usage_lib import UsageContext

from psychechat.engines.thinking import CLOSE
from psychechat.engines.vllm import cpu, lora, script_masks

DEFAULTS: Mapping[str, Any] = {
    "enable_prefix_caching": True,
    "scheduling_policy": "priority",
    # Backend "auto" would refuse the whitespace flag, and a flag on the request is not read.
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    "enable_log_requests": False,
    "disable_log_stats": False,
}
_PARSER = "qwen3"
"""vLLM's, which has a grammar begin behind CLOSE. Where that is no token, the grammar begins with the thinking."""


def arguments(
    model: str, given: Mapping[str, Any] | None, adapters: Mapping[str, Path] | None, *, on_cpu: bool
) -> AsyncEngineArgs:
    """`given`, on top of `DEFAULTS` and of what a CPU needs; what the adapters need, on top of both."""
    defaults = {**DEFAULTS, **cpu.engine_args(vllm.__version__)} if on_cpu else DEFAULTS
    return AsyncEngineArgs(
        model=model, **{**defaults, **(given or {}), **lora.engine_args(adapters or {}, on_cpu=on_cpu)}
    )


def configuration(args: AsyncEngineArgs) -> VllmConfig:
    """vLLM's configuration of the engine. Raises what vLLM raises for arguments that it refuses."""
    # vLLM's bounds of a server on this card, as on how many tokens a step computes: others have no such table.
    config = args.create_engine_config(UsageContext.OPENAI_API_SERVER)
    # Only now is known which of vLLM's model runners will take them.
    config.model_config.logits_processors = [*(args.logits_processors or ()), *script_masks.processors(config)] or None
    outputs = config.structured_outputs_config
    if not outputs.reasoning_parser and CLOSE in cached_tokenizer_from_config(config.model_config).get_vocab():
        outputs.reasoning_parser = _PARSER
    return config
