"""On a CPU a step takes longer with each sequence in it, so a crisis turn's would be as late as the batch is full."""

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler


class CrisisFirst(Scheduler):
    """vLLM's own, except that urgent sequences (priority below 0) have every second step to themselves."""

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        step = self.current_step + 1
        if step % 2 and any(request.priority < 0 for request in self.running):
            for request in self.running:
                if request.priority >= 0:
                    request.next_decode_eligible_step = step + 1
        return super().schedule(throttle_prefills)
