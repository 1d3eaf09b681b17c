"""Imports point one way: psychechat_ray -> psychechat -> psychechat_kernels, and inside psychechat down the layers."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    package: sorted((ROOT / folder / package).rglob("*.py"))
    for folder, package in (
        ("deployments", "psychechat_ray"),
        ("serving", "psychechat"),
        ("kernels", "psychechat_kernels"),
    )
}
LAYERS = (
    ("cli",),
    ("commands",),
    ("api",),
    ("pipeline", "evaluation"),
    ("safety",),
    ("prompts", "admission"),
    ("engines", "memory", "demo"),
)
"""From the top down; whatever is not named here is below. A module may import from its own folder and from below."""
VENDORS = {
    "ray": ("psychechat_ray",),
    "grpc": ("psychechat_ray",),
    "fastapi": ("psychechat.api", "psychechat_ray.ingress"),
    "httpx": ("psychechat.safety.webhook",),
    "openai": ("psychechat.commands.chat", "psychechat.evaluation.endpoint"),
    "standardwebhooks": ("psychechat.safety.webhook",),
    "tenacity": ("psychechat.safety.webhook",),
    "vllm": ("psychechat.engines.vllm",),
    "xgrammar": ("psychechat.engines.vllm.grammar", "psychechat.engines.vllm.script_masks"),
    "transformers": ("psychechat.engines.vllm.logprobs",),
    "psutil": ("psychechat.engines.vllm.cpu", "psychechat_ray.drain"),
    "ahocorasick_rs": ("psychechat.safety.phrases.finder", "psychechat.reply_bank.bank"),
    "decancer_py": ("psychechat.safety.phrases.folding",),
    "opencc": ("psychechat.safety.phrases.folding",),
    "rjieba": ("psychechat.safety.phrases.standing",),
    "py3langid": ("psychechat.help.languages",),
    "sentencex": ("psychechat.engines.sentences",),
    "jinja2": ("psychechat.prompts.pack", "psychechat.report.page"),
    "opentelemetry": ("psychechat.tracing",),
    "prometheus_client": ("psychechat.telemetry", "psychechat.api.probes", "psychechat_ray.metrics"),
    "triton": ("psychechat_kernels.fused_heads.kernel",),
    "redis": ("psychechat.memory.redis",),
    "cryptography": ("psychechat.memory.vault",),
}
MOST_FILES = 15
"""In a folder: more are a hall, not a room."""


def _modules() -> Iterator[tuple[str, set[str]]]:
    for package, files in SOURCES.items():
        for file in files:
            parts = file.with_suffix("").parts
            name = ".".join(parts[parts.index(package) :]).removesuffix(".__init__")
            imported: set[str] = set()
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{name}: relative imports hide the arrows"
                    imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            yield name, imported


MODULES = dict(_modules())


def _folder(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def _depth(name: str) -> int:
    return next((depth for depth, folders in enumerate(LAYERS) if _folder(name) in folders), len(LAYERS))


@pytest.mark.parametrize("name", MODULES)
def test_arrows_point_down(name: str) -> None:
    below = {
        "psychechat_ray": ("psychechat", "psychechat_kernels"),
        "psychechat": ("psychechat_kernels",),
        "psychechat_kernels": (),
    }
    package = name.split(".")[0]
    for imported in MODULES[name]:
        other = imported.split(".")[0]
        assert other not in SOURCES or other == package or other in below[package], f"{name} imports {imported}"
        if package == other == "psychechat":
            beside = _depth(name) == _depth(imported) < len(LAYERS) and _folder(name) != _folder(imported)
            assert _depth(name) <= _depth(imported), f"{name} imports {imported}, which is above it"
            assert not beside, f"{name} imports {imported}, which is beside it"
        if other in VENDORS:
            assert name.startswith(VENDORS[other]), f"{name} imports {imported}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    arrows = {name: {found for found in map(_module, imported) if found} - {name} for name, imported in MODULES.items()}
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


def _module(imported: str) -> str | None:
    """The module that an imported name is, or is defined in."""
    return next((name for name in (imported, imported.rpartition(".")[0]) if name in MODULES), None)


def test_no_folder_is_a_hall() -> None:
    serving = ROOT / "serving" / "psychechat"
    for folder in [serving, *(path for path in serving.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
        files = [path for path in folder.iterdir() if path.is_file()]
        assert len(files) <= MOST_FILES, f"{folder.relative_to(ROOT)} holds {len(files)} files"


def test_the_walk_saw_the_house() -> None:
    assert {"psychechat.pipeline.turn", "psychechat.api.app", "psychechat.engines.base"} <= set(MODULES)
