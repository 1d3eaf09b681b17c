"""What the counselor's scheduler on a CPU does, by its switches."""

from types import SimpleNamespace
from typing import Any

import pytest

from psychechat.engines.vllm import cpu

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def scheduler(monkeypatch: pytest.MonkeyPatch, *, jumps: bool = True, **switches: bool) -> Any:
    from vllm.v1.core.sched.scheduler import Scheduler

    from psychechat.engines.vllm.cpu.scheduler import CpuScheduler

    speculative = SimpleNamespace(model=cpu.ADDITIONS["speculative_config"]["model"]) if jumps else None

    def init(self: Any) -> None:
        self.vllm_config = SimpleNamespace(additional_config=switches, speculative_config=speculative)

    monkeypatch.setattr(Scheduler, "__init__", init)
    made: Any = CpuScheduler
    return made()


def test_each_of_the_two_is_switched_off_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    both, no_steps = scheduler(monkeypatch), scheduler(monkeypatch, urgent_steps=False)
    no_jumps = scheduler(monkeypatch, jumps=False)
    assert (both._gives, both._jumps) == (True, True)
    assert (no_steps._gives, no_steps._jumps) == (False, True)
    assert (no_jumps._gives, no_jumps._jumps) == (True, False)
