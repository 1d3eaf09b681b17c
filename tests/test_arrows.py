"""Imports point one way: psychechat_ray -> psychechat -> psychechat_kernels, and inside psychechat down the layers."""

import ast
from collections.abc import Iterator
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
    *("cli", "commands", "api", "pipeline", "safety"),
    *(("prompts", "admission"), ("engines", "memory", "demo"), "base"),
)
"""From the top down. A module may import from its own layer and from below; what is not named here is the base."""
VENDORS = {
    "ray": ("psychechat_ray",),
    "grpc": ("psychechat_ray",),
    "fastapi": ("psychechat.api", "psychechat_ray.ingress"),
    "httpx": ("psychechat.safety.webhook",),
    "standardwebhooks": ("psychechat.safety.webhook",),
    "tenacity": ("psychechat.safety.webhook",),
    "vllm": ("psychechat.engines.vllm",),
    "prometheus_client": ("psychechat.telemetry", "psychechat.api.probes", "psychechat_ray.metrics"),
    "triton": ("psychechat_kernels.fused_heads.kernel",),
    "redis": ("psychechat.memory.redis",),
    "cryptography": ("psychechat.memory.vault",),
}


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


def _layer(name: str) -> int:
    part = name.split(".")[1] if "." in name else "base"
    for depth, layer in enumerate(LAYERS):
        if part == layer or (isinstance(layer, tuple) and part in layer):
            return depth
    return len(LAYERS) - 1


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
            assert _layer(name) <= _layer(imported), f"{name} imports {imported}, which is above it"
        if other in VENDORS:
            assert name.startswith(VENDORS[other]), f"{name} imports {imported}"


def test_the_walk_saw_the_house() -> None:
    assert {"psychechat.pipeline.turn", "psychechat.api.app", "psychechat.engines.base"} <= set(MODULES)
