"""The kernel with the best tuning beside the reference, torch.compile and vLLM's chain: largest cases first."""

import csv
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

import torch

from benchmarks.gpu.job import Job
from benchmarks.gpu.kernel.device import clock_of, device_of
from benchmarks.gpu.kernel.sweep import chosen
from benchmarks.kernels import plot
from benchmarks.kernels.cases import MEMORY_SHARE, Case, cases, small_cases
from benchmarks.kernels.contenders import Contender, contenders
from benchmarks.kernels.measure import Row, disagreement, machine, timed
from benchmarks.kernels.targets import judge
from psychechat_kernels.fused_heads.tuning import DEFAULT


def run(job: Job) -> None:
    """kernels.csv, a row a case, each checked before it is timed, and the targets on the page. A contender that is
    wrong on a case loses the case its row; torch.compile, where it cannot compile, is left out of all.
    """
    device = device_of(job)
    tuning = chosen(job.before.get("sweep"))
    job.page.put(tuning=(tuning or DEFAULT)._asdict(), of="sweep" if tuning else "default, for no sweep chose one")
    tuning = tuning or DEFAULT
    everyone = dict(contenders(device, tuning))
    if because := _why_not_compiled(job, everyone, device):
        del everyone["compiled"]
        job.page.put(without="compiled", because=because)
    clock = clock_of(job, device)
    bandwidth, on = clock.copy_bandwidth(), machine(device)
    rows: list[Row] = []
    with (job.out / "kernels.csv").open("w", newline="") as file:
        for case in _largest_first(job):
            if wrong := disagreement(case, everyone, device):
                job.page.append("wrong", {"case": wrong})
                continue
            row = timed(case, everyone, device, clock, bandwidth, tuning) | on
            writer = csv.DictWriter(file, row)
            if not rows:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            rows.append(row)
            job.page.put(cases=len(rows), targets=[verdict._asdict() for verdict in judge(rows)])
    if rows and find_spec("matplotlib"):
        plot.draw(rows, job.out / "kernels.svg")


def _why_not_compiled(job: Job, everyone: Mapping[str, Contender], device: torch.device) -> str:
    """Empty where torch.compile does its part."""
    if job.rehearse:
        return "it takes a minute on a CPU"
    try:
        disagreement(Case(3, 8, 64, "mean"), everyone, device)
    except Exception as error:  # it wants compilers that a borrowed machine may lack
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def _largest_first(job: Job) -> Iterator[Case]:
    """While there is time. How many there was none for is told."""
    room = 0 if job.rehearse else int(MEMORY_SHARE * torch.cuda.mem_get_info()[0])
    every = sorted(small_cases() if job.rehearse else cases(room), key=lambda case: -case.moved_bytes)
    for number, case in enumerate(every):
        if job.left() < 3:
            job.page.put(not_timed=len(every) - number)
            return
        yield case
