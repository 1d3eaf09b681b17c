"""What all other figures are held against: versions, the bandwidth of a copy, and a kernel that does nothing."""

import platform
import subprocess

import torch

from benchmarks.gpu.job import Job
from benchmarks.gpu.kernel.device import clock_of, device_of
from benchmarks.kernels.measure import installed, machine

_CLOCKS = "clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu,memory.total"


def run(job: Job) -> None:
    device = device_of(job)
    job.page.put(**machine(device), python=platform.python_version(), pytest=installed("pytest"))
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        query = ["nvidia-smi", f"--query-gpu={_CLOCKS}", "--format=csv"]
        job.page.put(
            capability=f"{properties.major}.{properties.minor}",
            multiprocessors=properties.multi_processor_count,
            l2_mb=round(properties.L2_cache_size / 2**20),
            cuda=torch.version.cuda,
            nvidia_smi=subprocess.run(query, capture_output=True, text=True).stdout.splitlines(),
        )
    clock = clock_of(job, device)
    job.page.put(copy_gb_per_s=round(clock.copy_bandwidth() / 1e9))
    for programs in (1, 528, 2048):
        job.page.append("empty", {"programs": programs, "us": round(clock.empty(programs), 2)})
