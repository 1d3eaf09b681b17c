"""Tunings on five cases: whether they are right, their time from a graph with cold caches, their share of a copy."""

from typing import Any

import torch

from benchmarks.gpu.job import Job
from benchmarks.gpu.kernel.device import clock_of, device_of
from benchmarks.kernels.cases import Case, build
from benchmarks.kernels.contenders import GROUPS, Inputs, fused, reference_heads
from benchmarks.kernels.measure import TOLERANCE, programs
from benchmarks.kernels.tunings import best, tunings
from psychechat_kernels.fused_heads.tuning import Tuning

CASES = (
    Case(64, 27, 384, "mean"),  # a batch of everyday messages
    Case(4096, 128, 384, "mean"),
    Case(64, 512, 1024, "mean"),
    Case(512, 512, 4096, "mean"),
    Case(1, 32_768, 4096, "mean"),
)
SMALL = (Case(3, 9, 64, "mean"), Case(1, 70, 192, "mean"))


def run(job: Job) -> None:
    """A row a tuning and case. After each tuning `best` is what is best so far."""
    device = device_of(job)
    clock, cases = clock_of(job, device), SMALL if job.rehearse else CASES
    bandwidth = clock.copy_bandwidth()
    work = []
    for case in cases:
        inputs = build(case, device)
        expected = torch.empty(case.batch, sum(GROUPS), device=device)
        reference_heads(inputs, case.pooling, case.length, expected)
        work.append((case, inputs, expected))
    chosen = tunings(rehearse=job.rehearse)
    for number, tuning in enumerate(chosen):
        if job.left() < 2:
            job.page.put(not_tried=len(chosen) - number)
            break
        for case, inputs, expected in work:
            row: dict[str, Any] = {"tuning": tuning._asdict(), "case": name(case)}
            contender = fused(device, tuning)
            out = torch.full_like(expected, torch.nan)

            def once(contender: Any = contender, case: Case = case, inputs: Inputs = inputs, out: Any = out) -> None:
                contender(inputs, case.pooling, case.length, out)

            try:
                once()
            except Exception as error:  # a compiler may refuse one
                job.page.append("refused", row | {"why": f"{type(error).__name__}: {error}"[:300]})
                continue
            first = out.clone()
            off = (first - expected).abs().max().item()
            out.fill_(torch.nan)
            once()
            us = clock.graph(once)
            row |= {"right": off <= TOLERANCE and torch.equal(out, first), "off_by": float(f"{off:.2g}")}
            row |= {"us": round(us, 2), "programs": programs(case, inputs.hidden.dtype, device, tuning)}
            job.page.append("rows", row | {"share_of_copy": round(case.moved_bytes / bandwidth * 1e6 / us, 3)})
        job.page.put(best=best(job.page.facts.get("rows", ())))


def name(case: Case) -> str:
    return f"{case.batch} × {case.length} × {case.width}"


def chosen(found: Any) -> Tuning | None:
    """The best tuning that an earlier sweep has left."""
    return Tuning(**found["best"]["tuning"]) if found and found.get("best") else None
