"""On a CPU a step takes longer with each sequence in it, so a crisis turn's would be as late as the batch is full."""

from vllm.v1.core.sched.output import SchedulerOutput

from psychechat.engines.vllm.cpu.jump_forward import JumpForward

_FEW = 1 / 4
"""Of the batch. A step of more urgent sequences than that is not so much shorter than one of all."""


class CrisisFirst(JumpForward):
    """Gives a few urgent sequences (priority below 0) every second step to themselves.

    Of those that run: an urgent one that still waits counts for none, and such a step lets in whoever waits as ever,
    the ordinary with their prefill too.
    """

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        step = self.current_step + 1
        urgent = sum(request.priority < 0 for request in self.running)
        if step % 2 and 0 < urgent <= _FEW * len(self.running):
            for request in self.running:
                if request.priority >= 0:
                    request.next_decode_eligible_step = step + 1
        output = super().schedule(throttle_prefills)
        assert self.current_step == step, "vLLM counts its steps otherwise: whom it leaves out, and when, is not known"
        return output
