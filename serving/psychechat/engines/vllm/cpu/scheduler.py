"""Scheduler of the counselor on a CPU. vLLM takes one class, and ours does two things that vLLM's own does not."""

from vllm.v1.core.sched.scheduler import Scheduler

from psychechat.engines.vllm.cpu.jump_forward import JumpForward
from psychechat.engines.vllm.cpu.urgent_steps import UrgentSteps


class CpuScheduler(UrgentSteps, JumpForward, Scheduler):
    """vLLM's own where both are switched off; each has its switch in its module."""
