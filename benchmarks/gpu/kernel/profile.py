"""Nsight Compute on the large case: share of the memory's bandwidth, occupancy, what the warps wait for."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.job import Job, Skipped
from benchmarks.gpu.kernel.sweep import chosen
from benchmarks.gpu.processes import ROOT
from psychechat_kernels.fused_heads.tuning import DEFAULT

_SECTIONS = ("SpeedOfLight", "MemoryWorkloadAnalysis", "Occupancy", "WarpStateStats", "LaunchStats")
_PLACES = ("/usr/local/cuda/bin/ncu", "/opt/nvidia/nsight-compute/ncu")


def run(job: Job) -> None:
    """Metrics by name, of the default tuning and of the best. Raises Skipped without ncu or without the right to it."""
    if job.rehearse:
        raise Skipped("a rehearsal has no GPU to profile")
    ncu = shutil.which("ncu") or next((place for place in _PLACES if Path(place).exists()), None)
    if ncu is None:
        raise Skipped("no ncu on this machine")
    best = chosen(job.before.get("sweep"))
    for name, tuning in {"default": DEFAULT, **({"best": best} if best else {})}.items():
        command = [ncu, "--csv", "--page", "details", "--clock-control", "none"]
        command += ["--kernel-name", "regex:fused_heads_kernel", "--launch-skip", "2", "--launch-count", "1"]
        command += [part for section in _SECTIONS for part in ("--section", section)]
        command += [sys.executable, "-m", "benchmarks.gpu.kernel.once", json.dumps(tuning._asdict())]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=max(1.0, job.left()))
        except subprocess.TimeoutExpired:
            job.page.put(**{name: "no time was left for it"})
            return
        print(done.stdout, done.stderr)
        found = metrics(done.stdout)
        if not found:
            raise Skipped(f"ncu ended with {done.returncode}: {_last(done.stdout + done.stderr)}")
        job.page.put(**{name: found})


def metrics(told: str) -> dict[str, str]:
    """Each metric with its unit, from the lines of ncu's CSV; what the program itself printed stands before them."""
    lines = told.splitlines()
    begin = next((at for at, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    rows = csv.DictReader(io.StringIO("\n".join(lines[begin:])))
    return {
        row["Metric Name"]: f"{row['Metric Value']} {row['Metric Unit'] or ''}".strip()
        for row in rows
        if row.get("Metric Name")
    }


def _last(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")[:200]
