"""LoRA adapters of a generator: what vLLM is told of them at the start, and with each request."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from vllm.config.lora import MaxLoRARanks
from vllm.lora.request import LoRARequest


def engine_args(adapters: Mapping[str, Path], *, on_cpu: bool) -> dict[str, Any]:
    """Arguments of an engine whose requests may each ask for another of these adapters, all of them in one batch.

    Raises OSError, KeyError or ValueError for a folder without an adapter's configuration.
    """
    if not adapters:
        return {}
    rank = max(map(_rank, adapters.values()))
    # vLLM takes some ranks only. One that is beyond all of them it refuses itself.
    most = next((known for known in sorted(get_args(MaxLoRARanks)) if known >= rank), rank)
    # In a batch with others, vLLM's CPU kernels give who has no adapter the last place's: that one stays empty.
    return {"enable_lora": True, "max_loras": len(adapters) + on_cpu, "max_lora_rank": most}


def requests(adapters: Mapping[str, Path]) -> dict[str, LoRARequest]:
    """By the adapter's name."""
    return {name: LoRARequest(name, number, str(folder)) for number, (name, folder) in enumerate(adapters.items(), 1)}


def _rank(folder: Path) -> int:
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    return max(map(int, [config["r"], *config.get("rank_pattern", {}).values()]))
