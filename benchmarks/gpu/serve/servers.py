"""The two servers: ours by the `single-gpu` configuration, and vLLM's own with the same engine arguments."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks.speed.peers import COUNSELOR, ours, vllm_server
from psychechat_ray.configurations import load
from tests.support.servers import Server

ENVIRONMENT = {"VLLM_USE_FLASHINFER_SAMPLER": "0", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""Of both: FlashInfer's sampler would want nvcc, which an image without CUDA's toolkit has not."""
POLICY: Mapping[str, Any] = {"show_reasoning": True, "guard": {"mode": "off"}}
"""What differs from `single-gpu` beside the model: words are told as they come, for random ones have no sentences."""


def settings(folder: Path, batched: int, *, rehearse: bool) -> dict[str, Any]:
    """Of our server. In a rehearsal replicas and engines are the CPU demo's."""
    found: dict[str, Any] = load("single-gpu").model_dump(mode="json")
    counselor = found["engines"]["counselor"]
    if rehearse:
        demo = load("demo-cpu").model_dump(mode="json")
        found["ingress"], found["classifier"] = demo["ingress"], demo["classifier"]
        counselor |= {name: demo["engines"]["counselor"][name] for name in ("replicas", "engine_args", "max_num_seqs")}
    counselor["model"] = str(folder)
    counselor["engine_args"] |= {"load_format": "dummy", "max_num_batched_tokens": batched}
    found["policy"] |= POLICY
    return found


def starts(model: Path, kind: str, batched: int, *, rehearse: bool) -> Mapping[str, Callable[[Path], Any]]:
    """By its name, for a fleet of one."""
    mine = settings(model, batched, rehearse=rehearse)
    if kind == "ours":
        return {"ours": lambda folder: ours(mine, folder, env=ENVIRONMENT)}
    counselor = mine["engines"]["counselor"]
    arguments = {"max_num_seqs": counselor["max_num_seqs"], "max_model_len": counselor["engine_args"]["max_model_len"]}
    arguments |= {"load_format": "dummy", "max_num_batched_tokens": batched}
    environment = dict(ENVIRONMENT)
    if rehearse:
        arguments["block_size"] = 32
        environment["VLLM_CPU_KVCACHE_SPACE"] = "1"
    else:
        arguments["gpu_memory_utilization"] = counselor["engine_args"]["gpu_memory_utilization"]
    return {"vllm": lambda folder: _vllm(folder, model, arguments, environment, eager=rehearse)}


def _vllm(
    folder: Path, model: Path, arguments: Mapping[str, Any], environment: Mapping[str, str], *, eager: bool
) -> AbstractContextManager[Server]:
    options = ["--model", str(model), "--served-model-name", COUNSELOR, "--enable-prompt-tokens-details"]
    options += [part for name, value in arguments.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    options += ["--uvicorn-log-level", "warning", *(["--enforce-eager"] * eager)]
    return vllm_server("vllm", folder, *options, env=environment)
