"""What the counselor's scheduler on a CPU takes for granted of vLLM's."""

import pytest

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.mark.parametrize(("counted", "noticed"), [(1, False), (2, True)])
def test_steps_that_vllm_counts_otherwise_are_noticed(
    counted: int, noticed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1.core.sched.scheduler import Scheduler

    from psychechat.engines.vllm.cpu.urgent_steps import CrisisFirst

    def schedule(scheduler: Scheduler, _: bool) -> None:
        scheduler.current_step = counted

    monkeypatch.setattr(Scheduler, "schedule", schedule)
    scheduler = CrisisFirst.__new__(CrisisFirst)
    scheduler.current_step, scheduler.running = 0, []
    if noticed:
        with pytest.raises(AssertionError, match="counts its steps otherwise"):
            scheduler.schedule()
    else:
        scheduler.schedule()
