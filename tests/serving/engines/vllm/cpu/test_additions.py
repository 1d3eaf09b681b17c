"""The additions stand where they were written for, and nowhere else: by the version of vLLM, and by their switches."""

import logging
import pkgutil
from typing import Any

import pytest

from psychechat.api.http.schemas import Readiness, schemas
from psychechat.engines.vllm import cpu

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Built(Exception):
    """In an engine's place: the arguments that it was to be built with."""


def arguments(monkeypatch: pytest.MonkeyPatch, **given: Any) -> Any:
    from vllm import AsyncEngineArgs
    from vllm.platforms import current_platform

    from psychechat.engines.vllm.generator import VllmGenerator

    def build(args: Any, *_: Any) -> None:
        raise Built(args)

    monkeypatch.setattr(AsyncEngineArgs, "create_engine_config", build)
    monkeypatch.setattr(type(current_platform), "is_cpu", lambda _: True)
    with pytest.raises(Built) as built:
        VllmGenerator("a/model", engine_args=given)
    return built.value.args[0]


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(line.levelno, line.getMessage()) for line in caplog.records if line.name.startswith("psychechat")]


def test_an_engine_of_the_version_has_all_additions(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    args = arguments(monkeypatch)
    assert {name: getattr(args, name) for name in cpu.ADDITIONS} == cpu.ADDITIONS
    assert args.block_size == 32
    assert said(caplog) == []


def test_an_engine_of_another_version_is_plain_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from vllm import AsyncEngineArgs, __version__

    monkeypatch.setattr(cpu, "VLLM", "0.31.1")
    args, plain = arguments(monkeypatch), AsyncEngineArgs(model="a/model")
    assert all(getattr(args, name) == getattr(plain, name) for name in cpu.ADDITIONS)
    assert args.block_size == 32
    off = "urgent_steps, jump_forward, forced_ends, whole_answers, sparse_penalties"
    assert said(caplog) == [(logging.WARNING, f"vLLM is {__version__} and not 0.31.1: off on this CPU are {off}")]


@pytest.mark.parametrize(
    ("version", "off"),
    [
        (cpu.VLLM, ()),
        (f"{cpu.VLLM}+cpu", ()),
        (f"{cpu.VLLM}.1", cpu.COUNSELOR_LIMITS),
        (f"{cpu.VLLM}rc1", cpu.COUNSELOR_LIMITS),
        ("1.0", cpu.COUNSELOR_LIMITS),
        ("dev", cpu.COUNSELOR_LIMITS),
    ],
)
def test_what_is_off_by_version(version: str, off: tuple[str, ...]) -> None:
    assert cpu.limits(version) == off


def test_the_limits_are_those_that_the_api_documents() -> None:
    [readiness] = schemas(Readiness).values()
    told = readiness["properties"]["limits"]["additionalProperties"]["items"]["enum"]
    assert told == [*cpu.COUNSELOR_LIMITS, *cpu.CLASSIFIER_LIMITS]


def test_each_module_is_told_or_missed_by_nobody() -> None:
    """`niceness` is there with any vLLM, and where nothing of ours proposes tokens `min_p` is vLLM's own."""
    modules = {module.name for module in pkgutil.iter_modules(cpu.__path__)} - {"scheduler", "worker"}
    assert modules == {*cpu.COUNSELOR_LIMITS, *cpu.CLASSIFIER_LIMITS, "niceness", "min_p"}


def test_the_paths_are_of_classes() -> None:
    from vllm.utils.import_utils import resolve_obj_by_qualname
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.worker.cpu_worker import CPUWorker

    assert issubclass(resolve_obj_by_qualname(cpu.ADDITIONS["scheduler_cls"]), Scheduler)
    assert issubclass(resolve_obj_by_qualname(cpu.ADDITIONS["worker_cls"]), CPUWorker)
    assert hasattr(resolve_obj_by_qualname(cpu.ADDITIONS["speculative_config"]["model"]), "propose")
