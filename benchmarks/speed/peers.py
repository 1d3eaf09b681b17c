"""The servers that are compared, each started as its users start it, on the same weights and the same cores.

One engine has one core: the counselor core 1, the classifier core 0. All else of a server goes where it likes. While
one is measured the others are held still.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.speed.processes import Tree
from psychechat.demo import encoder
from psychechat_ray.configurations import load
from tests.support.servers import Server, configured, free_port, started

COUNSELOR_CORE, CLASSIFIER_CORE = "1", "0"
SEQUENCES = 128
"""That an engine works on at once, on every side of a comparison."""
PYARROW = "pyarrow==26.0.1"
"""Ray Serve LLM imports it; nothing of ours does, so it lies in a folder of its own."""
SENTENCE_TRANSFORMERS = "sentence-transformers==5.7.0"
"""Likewise a peer's alone. What it needs besides, torch and transformers, is what our engines run on."""
CACHE = Path("~/.cache/psychechat/benchmarks").expanduser()
ENCODER_PREFIX = "query: "
"""Our server puts it before each text, for the encoder was trained so; the pooling server's clients have to."""
COUNSELOR = "counselor"
"""The model's name on other people's servers."""

VLLM_ENGINE: Mapping[str, Any] = {"block_size": 32, "max_num_seqs": SEQUENCES, "max_model_len": 8192}
"""Engine arguments of all counselors. The CPU's own block of 128 tokens would let nobody share short prompts."""

LITTLE_TOKENS = 3072
"""KV memory of the counselors that have little. vLLM wants one request of the longest length to fit: this is that
length too. It is the least that our server takes, which keeps some 2,000 tokens free for what a turn may yet write."""
LITTLE: Mapping[str, Any] = {
    "max_model_len": LITTLE_TOKENS,
    # vLLM holds one back. `kv_cache_memory_bytes` would not do: VLLM_CPU_KVCACHE_SPACE, in whole GiB, overwrites it.
    "num_gpu_blocks_override": LITTLE_TOKENS // VLLM_ENGINE["block_size"] + 1,
}


def counselor_weights() -> str:
    return str(files("psychechat").joinpath("demo", "counselor"))


def relay_settings() -> dict[str, Any]:
    """Our server as a plain relay: no guard, no judge. The classifier answers from a table, so its hop remains."""
    demo = even_settings()
    demo["classifier"] = {"engine": "scripted", "replicas": {"num_cpus": 0}}
    # Thinking is shown, for a plain server shows it: both tell their first words at the same token.
    demo["policy"] |= {"show_reasoning": True, "guard": {"mode": "off"}}
    return demo


def even_settings() -> dict[str, Any]:
    """Our server as shipped, but for the counselor's engine, which has the arguments of vLLM's own server."""
    demo = load("demo-cpu").model_dump(mode="json")
    counselor = demo["engines"]["counselor"]
    counselor["max_num_seqs"] = SEQUENCES
    counselor["engine_args"]["enforce_eager"] = False  # compiled, as vLLM's own server is
    return demo


def bare_settings() -> dict[str, Any]:
    """The same without what ours adds to vLLM's engine on a CPU."""
    demo = even_settings()
    plain = {"speculative_config": None, "additional_config": {"sparse_penalties": False}}
    demo["engines"]["counselor"]["engine_args"] |= plain
    return demo


def little_settings() -> dict[str, Any]:
    """The same with little KV memory."""
    demo = even_settings()
    demo["engines"]["counselor"]["engine_args"] |= LITTLE
    return demo


def shipped_settings() -> dict[str, Any]:
    return load("demo-cpu").model_dump(mode="json")


@contextmanager
def ours(settings: Mapping[str, Any], folder: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    with configured(settings, folder, env=env) as server:
        yield server


@contextmanager
def vllm_server(name: str, folder: Path, *options: str, env: Mapping[str, str]) -> Iterator[Server]:
    """vLLM's own server with these options, ready."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    env = {"VLLM_LOGGING_LEVEL": "WARNING", **env}
    with started(name, [*command, *options], port, folder / "log", ready_path="/health", env=env) as server:
        server.wait_until_ready()
        yield server


def _on(core: str) -> dict[str, str]:
    """An engine's environment on one core of a CPU."""
    return {"VLLM_CPU_OMP_THREADS_BIND": core, "VLLM_CPU_KVCACHE_SPACE": "1"}


def vllm(folder: Path, engine: Mapping[str, Any] = VLLM_ENGINE) -> AbstractContextManager[Server]:
    """vLLM's own OpenAI server with the demo counselor."""
    options = ["--model", counselor_weights(), "--served-model-name", COUNSELOR, "--enable-prompt-tokens-details"]
    for name, value in engine.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    return vllm_server("vllm", folder, *options, "--uvicorn-log-level", "warning", env=_on(COUNSELOR_CORE))


def vllm_classify(folder: Path) -> AbstractContextManager[Server]:
    """vLLM's own pooling server with the demo classifier: our heads, its HTTP and its encoder. The arguments are our
    engine's own.
    """
    weights = str(encoder.prepare(Path("~/.cache/psychechat").expanduser()))
    options = ["--model", weights, "--served-model-name", "classifier", "--runner", "pooling", "--dtype", "float32"]
    options += ["--enforce-eager", "--max-model-len", "512", "--max-num-batched-tokens", "2048"]
    options += ["--max-num-seqs", "256", "--uvicorn-log-level", "warning"]
    options += ["--pooler-config", json.dumps({"seq_pooling_type": "MEAN"})]  # as the heads were trained
    options += ["--additional-config", json.dumps({"half_products": False})]  # those are ours
    return vllm_server("vllm-classify", folder, *options, env=_on(CLASSIFIER_CORE))


def with_package(package: str) -> dict[str, str]:
    """An environment in which a peer's process finds this package, which is installed if it is not there yet."""
    folder = CACHE / package
    if not folder.is_dir():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--target", folder, package], check=True)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


@contextmanager
def ray_serve_llm(folder: Path) -> Iterator[Server]:
    """`ray.serve.llm.build_openai_app` with the same weights and engine arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.speed.ray_serve_llm", str(port), COUNSELOR_CORE]
    env = with_package(PYARROW)
    with started("ray-serve-llm", command, port, folder / "log", ready_path="/v1/models", env=env) as server:
        server.wait_until_ready()
        yield server


START: Mapping[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "vllm": vllm,
    "ray-serve-llm": ray_serve_llm,
    "vllm-classify": vllm_classify,
    "relay": lambda folder: ours(relay_settings(), folder),
    "even": lambda folder: ours(even_settings(), folder),
    "even-bare": lambda folder: ours(bare_settings(), folder),
    "vllm-little": lambda folder: vllm(folder, {**VLLM_ENGINE, **LITTLE}),
    "even-little": lambda folder: ours(little_settings(), folder),
    "shipped": lambda folder: ours(shipped_settings(), folder),
}


class Fleet:
    """The servers under way. Used as a context, it stops what is left."""

    def __init__(
        self, console: Console, starts: Mapping[str, Callable[[Path], AbstractContextManager[Server]]] = START
    ) -> None:
        self._console, self._starts = console, starts
        self._folder = Path(tempfile.mkdtemp(prefix="psychechat-bench-"))
        self._stacks: dict[str, ExitStack] = {}
        self._servers: dict[str, Server] = {}
        self.start_seconds: dict[str, list[float]] = {}

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._stacks):
            self.stop(name)

    def up(self, names: Sequence[str]) -> None:
        """Exactly these run: others are stopped, missing ones started, one after the other and alone."""
        for name in list(self._servers):
            if name not in names:
                self.stop(name)
        for name in names:
            if name not in self._servers:
                self.start(name)

    def start(self, name: str) -> None:
        """Raises RuntimeError, with the place of the log, if it does not start."""
        for other in self._servers:
            self.tree(other).pause()
        stack = ExitStack()
        began = time.monotonic()
        with self._console.status(f"Starting {name} ..."):
            self._servers[name] = stack.enter_context(self._starts[name](self._folder / f"{name}-{began:.0f}"))
        self._stacks[name] = stack
        self.start_seconds.setdefault(name, []).append(round(time.monotonic() - began, 1))
        self._console.log(f"{name} ready after {self.start_seconds[name][-1]:.0f} s")

    def stop(self, name: str) -> None:
        self.tree(name).resume()
        del self._servers[name]
        with self._console.status(f"Stopping {name} ..."):
            self._stacks.pop(name).close()

    def url(self, name: str) -> str:
        return self._servers[name].url

    def tree(self, name: str) -> Tree:
        return Tree(self._servers[name].process.pid)

    @contextmanager
    def alone(self, *names: str) -> Iterator[None]:
        """These run, the others are held still."""
        for other in self._servers:
            if other not in names:
                self.tree(other).pause()
        for name in names:
            self.tree(name).resume()
        if len(self._servers) > len(names):
            time.sleep(0.5)  # what was due while it was held is done first
        yield
