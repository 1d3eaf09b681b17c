"""Every module of the packages that engines and pipeline are made of can be imported on a machine without a GPU."""

import importlib
import pkgutil

import pytest

import psychechat
import psychechat_kernels

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_every_module_can_be_imported() -> None:
    names = {
        module.name
        for package in (psychechat, psychechat_kernels)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    }
    assert {"psychechat.engines.vllm.generator", "psychechat_kernels.fused_heads.kernel"} <= names
    for name in sorted(names):
        importlib.import_module(name)
