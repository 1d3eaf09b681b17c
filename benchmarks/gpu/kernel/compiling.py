"""Every variant with every tuning, compiled beside each other. Launches of later steps find them in Triton's cache."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch

from benchmarks.gpu.job import Job
from benchmarks.gpu.kernel.device import device_of
from benchmarks.kernels.compiled import compile_for, variants
from benchmarks.kernels.contenders import GROUPS
from benchmarks.kernels.tunings import compiled_alike, tunings


def run(job: Job) -> None:
    """A row each: registers, spills, shared memory, seconds. Those that the sweep launches are compiled first."""
    device = device_of(job)
    major, minor = torch.cuda.get_device_capability(device) if device.type == "cuda" else (9, 0)
    distinct = list(dict.fromkeys(map(compiled_alike, tunings(rehearse=job.rehearse))))
    chosen = sorted(variants(), key=lambda variant: (variant.dtype != "bf16", variant.pooling != "mean"))
    work = [(variant, tuning) for variant in chosen for tuning in distinct][: 2 if job.rehearse else None]
    processes = 1 if job.rehearse else os.cpu_count() or 1
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    futures = {pool.submit(compile_for, variant, 10 * major + minor, GROUPS, t): (variant, t) for variant, t in work}
    try:
        for future in as_completed(futures, timeout=max(0.0, job.left())):
            variant, tuning = futures[future]
            told = {"tuning": tuning._asdict()}
            if error := future.exception():
                job.page.append("refused", variant._asdict() | told | {"why": f"{type(error).__name__}: {error}"[:300]})
            else:
                job.page.append("rows", future.result() | told)
    except TimeoutError:
        job.page.put(not_compiled_in_time=sum(not future.done() for future in futures))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
