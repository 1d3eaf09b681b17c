"""Whom a step leaves out, for vLLM's own `schedule` to heed; `test_generator` sees a real engine heed it."""

from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@dataclass
class Running:
    """What of a vLLM request the scheduler looks at."""

    priority: int
    next_decode_eligible_step: int = 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that schedules some steps and gives, for each, the priorities of those who are in it."""
    from vllm.v1.core.sched.scheduler import Scheduler

    from psychechat.engines.vllm.cpu.urgent_steps import UrgentSteps

    def run(priorities: list[int], *, counted: int = 1, on: bool = True, eligible: int = 0) -> list[list[int]]:
        def schedule(scheduler: Scheduler, throttle_prefills: bool) -> list[int]:
            scheduler.current_step += counted
            running: list[Any] = scheduler.running
            return [r.priority for r in running if scheduler.current_step >= r.next_decode_eligible_step]

        monkeypatch.setattr(Scheduler, "schedule", schedule)
        scheduler: Any = UrgentSteps.__new__(UrgentSteps)
        scheduler.current_step, scheduler.running = 0, [Running(priority, eligible) for priority in priorities]
        scheduler._gives, scheduler._gave = on, False
        found = [scheduler.schedule() for _ in range(4)]
        assert {request.next_decode_eligible_step for request in scheduler.running} == {eligible}
        return found

    return run


ALL = [-1, 0, 0, 0]


def test_every_second_step_is_for_the_urgent(steps: Any) -> None:
    assert steps(ALL) == [[-1], ALL, [-1], ALL]


@pytest.mark.parametrize("counted", [0, 2])
def test_however_vllm_counts_its_steps_nobody_misses_two(steps: Any, counted: int) -> None:
    assert steps(ALL, counted=counted) == [[-1], ALL, [-1], ALL]


def test_who_waits_for_a_later_step_goes_on_to_wait(steps: Any) -> None:
    assert steps(ALL, eligible=3) == [[], [], [-1], ALL]


@pytest.mark.parametrize(
    "priorities", [[0, 0, 0, 0], [-1], [-1, -1, 0, 0, 0]], ids=["nobody is urgent", "nobody else runs", "too many are"]
)
def test_else_all_steps_are_for_all(steps: Any, priorities: list[int]) -> None:
    assert steps(priorities) == [priorities] * 4


def test_switched_off_all_steps_are_for_all(steps: Any) -> None:
    assert steps(ALL, on=False) == [ALL] * 4
