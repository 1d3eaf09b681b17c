"""On a CPU a step takes longer with each sequence in it, so a crisis turn's would be as late as the batch is full."""

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler

_FEW = 1 / 4
"""Of the batch. A step of more urgent sequences than that is not so much shorter than one of all."""


class CrisisFirst(Scheduler):
    """vLLM's own, except that a few urgent sequences (priority below 0) have every second step to themselves."""

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        step = self.current_step + 1
        urgent = sum(request.priority < 0 for request in self.running)
        if step % 2 and 0 < urgent <= _FEW * len(self.running):
            for request in self.running:
                if request.priority >= 0:
                    request.next_decode_eligible_step = step + 1
        return super().schedule(throttle_prefills)
