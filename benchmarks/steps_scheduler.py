"""The counselor's scheduler, which counts what it schedules for `benchmarks.steps` and is switched by it."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from vllm.v1.core.sched.output import SchedulerOutput

from psychechat.engines.vllm.cpu.scheduler import CpuScheduler

BOARD = "PSYCHECHAT_STEPS"
"""Environment variable that names the file that both processes write."""


def board() -> npt.NDArray[np.int64]:
    """Steps, sequences in them, tokens computed in them; and whether the ends of answers are left to steps, and whether
    they leave piece by piece.
    """
    return np.memmap(os.environ[BOARD], np.int64, "r+", shape=(5,))


class Counting(CpuScheduler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._board = board()

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        if not self.running:
            self._has_ends, self._keeps = (self._board[3:] == 0).tolist()
        scheduled = super().schedule(throttle_prefills)
        if tokens := scheduled.total_num_scheduled_tokens:
            self._board[:3] += (1, len(scheduled.num_scheduled_tokens), tokens)
        return scheduled
