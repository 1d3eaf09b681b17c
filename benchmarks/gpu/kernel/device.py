"""The device that a step works on, and how its time is taken."""

import torch

from benchmarks.gpu.job import Job, Skipped
from benchmarks.kernels.clock import Clock, GpuClock, WallClock


def device_of(job: Job) -> torch.device:
    """Raises Skipped where torch sees no GPU; a rehearsal needs none."""
    if job.rehearse:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Skipped("torch sees no GPU")
    return torch.device("cuda")


def clock_of(job: Job, device: torch.device) -> Clock:
    return WallClock() if job.rehearse else GpuClock(device)
