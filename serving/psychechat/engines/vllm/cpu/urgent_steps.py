"""Steps for crisis turns. On a CPU each sequence makes a step longer, and a full batch would make theirs late."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request

from psychechat.engines.vllm.cpu import is_on

_FEW = 1 / 4
"""Of the batch. A step of more urgent sequences than that is not so much shorter than one of all."""


class UrgentSteps(Scheduler):
    """Scheduler that gives a few urgent sequences (priority below 0) every second step to themselves.

    Of those that run: an urgent one that still waits counts for none, and such a step lets in whoever waits as ever,
    the ordinary with their prefill too. Switch: `additional_config: {urgent_steps: false}`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gives = is_on("urgent_steps", self.vllm_config)
        self._gave = False
        """Whether the last step was for the urgent."""

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        ordinary = [request for request in self.running if request.priority >= 0]
        urgent = len(self.running) - len(ordinary)
        self._gave = self._gives and not self._gave and 0 < urgent <= _FEW * len(self.running)
        with _left_out(ordinary if self._gave else ()):
            return super().schedule(throttle_prefills)


@contextmanager
def _left_out(requests: Sequence[Request]) -> Iterator[None]:
    """Requests that take no part in the step scheduled meanwhile, by the field with which vLLM staggers decodes itself.

    It is put back at once: however vLLM counts its steps, nobody misses another one.
    """
    steps = [request.next_decode_eligible_step for request in requests]
    for request in requests:
        request.next_decode_eligible_step = sys.maxsize
    try:
        yield
    finally:
        for request, step in zip(requests, steps, strict=True):
            request.next_decode_eligible_step = step
