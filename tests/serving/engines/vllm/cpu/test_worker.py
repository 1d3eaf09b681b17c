"""What a worker has from its start on, before anybody warms the engine."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Judging:
    """vLLM's `RejectionSampler`, as far as it is replaced."""

    def forward(self, *_: Any) -> str:
        return "judged"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that were registered; vLLM's own stay as they are."""
    from psychechat.engines.vllm.cpu import jump_forward

    found: list[str] = []
    monkeypatch.setattr(jump_forward, "HAS_TRITON", False)
    monkeypatch.setattr(jump_forward, "register_kernels", found.extend)
    return found


def started(monkeypatch: pytest.MonkeyPatch, **switches: bool) -> Any:
    """The model runner of a worker whose device is set up. Nobody has warmed anything."""
    from vllm.v1.worker.cpu_worker import CPUWorker

    from psychechat.engines.vllm.cpu.worker import CpuWorker

    def init_device(worker: Any) -> None:
        sampler = SimpleNamespace(apply_penalties="vllm's")
        worker.model_runner = SimpleNamespace(sampler=sampler, rejection_sampler=Judging())

    monkeypatch.setattr(CPUWorker, "init_device", init_device)
    worker: Any = CpuWorker.__new__(CpuWorker)
    worker.vllm_config = SimpleNamespace(additional_config=switches, speculative_config=None)
    worker.init_device()
    return worker.model_runner


def test_a_workers_sampling_is_ours_from_the_start(monkeypatch: pytest.MonkeyPatch, registered: list[str]) -> None:
    from psychechat.engines.vllm.cpu import sparse_penalties

    runner = started(monkeypatch)
    assert runner.sampler.apply_penalties is sparse_penalties.penalise_sequences
    assert runner.rejection_sampler.apply_penalties is sparse_penalties.penalise_proposals
    assert registered == ["vllm.v1.sample.rejection_sampler.expand_kernel"]


def test_sampling_that_is_installed_twice_judges_once(monkeypatch: pytest.MonkeyPatch, registered: list[str]) -> None:
    from psychechat.engines.vllm.cpu import sparse_penalties

    runner = started(monkeypatch)
    sparse_penalties.install(runner)
    assert runner.rejection_sampler.forward(SimpleNamespace(max_spec_len=2), None, None, None) == "judged"
    judge = runner.rejection_sampler.forward.__closure__[0].cell_contents
    assert judge.__func__ is Judging.forward


def test_sparse_penalties_are_switched_off_alone(monkeypatch: pytest.MonkeyPatch, registered: list[str]) -> None:
    runner = started(monkeypatch, sparse_penalties=False)
    assert runner.sampler.apply_penalties == "vllm's"
    assert vars(runner.rejection_sampler) == {}
    assert registered
