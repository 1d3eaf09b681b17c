"""Scheduler of the counselor on a CPU. vLLM takes one class, and ours does four things that vLLM's own does not."""

from vllm.v1.core.sched.scheduler import Scheduler

from psychechat.engines.vllm.cpu.forced_ends import ForcedEnds
from psychechat.engines.vllm.cpu.urgent_steps import UrgentSteps
from psychechat.engines.vllm.cpu.whole_answers import WholeAnswers


class CpuScheduler(WholeAnswers, UrgentSteps, ForcedEnds, Scheduler):
    """vLLM's own where all are switched off; each has its switch in its module."""
