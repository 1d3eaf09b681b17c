"""One case: whether all contenders say the same, and a row with the time of each."""

import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.kernels.cases import Case, build
from benchmarks.kernels.clock import Clock
from benchmarks.kernels.contenders import GROUPS, Contender
from psychechat_kernels.fused_heads import kernel
from psychechat_kernels.fused_heads.tuning import DEFAULT, Tuning

TOLERANCE = 2e-5

Row = dict[str, object]


def disagreement(case: Case, everyone: Mapping[str, Contender], device: torch.device) -> str | None:
    """Which contender is not within TOLERANCE of the reference, and by how much; None if all are."""
    inputs = build(case, device)
    results = {}
    for name, contender in everyone.items():
        results[name] = torch.full((case.batch, sum(GROUPS)), torch.nan, device=device)
        contender(inputs, case.pooling, case.length, results[name])
    for name, result in results.items():
        difference = (result - results["reference"]).abs().max().item()
        if not difference <= TOLERANCE:  # NaN too
            return f"{name} is wrong on {case}: it differs from the reference by {difference:.2g}"
    return None


def timed(
    case: Case,
    everyone: Mapping[str, Contender],
    device: torch.device,
    clock: Clock,
    bandwidth: float,
    tuning: Tuning = DEFAULT,
) -> Row:
    """Microseconds of each contender, from a graph and eager, and the floors. `bandwidth`: bytes a second of a copy."""
    inputs = build(case, device)
    out = torch.empty(case.batch, sum(GROUPS), device=device)
    row: Row = case._asdict() | {"mb": round(case.moved_bytes / 1e6, 3)}
    for name, contender in everyone.items():

        def work(contender: Contender = contender) -> None:
            contender(inputs, case.pooling, case.length, out)

        row[f"{name}_us"] = round(clock.graph(work), 2)
        row[f"{name}_eager_us"] = round(clock.eager(work), 2)
    count = programs(case, inputs.hidden.dtype, device, tuning)
    row |= {"programs": count, "empty_us": round(clock.empty(count), 2)}
    row["floor_us"] = round(case.moved_bytes / bandwidth * 1e6, 2)
    return row | {"copy_gb_per_s": round(bandwidth / 1e9)}


def programs(case: Case, hidden: torch.dtype, device: torch.device, tuning: Tuning) -> int:
    longest = case.length if case.pooling == "mean" else 1
    step, gpu = kernel.step(case.pooling, hidden, tuning), kernel.processors(device)
    return kernel.cut(case.batch, longest, case.width, step, gpu, block=tuning.block, waves=tuning.waves).programs


def machine(device: torch.device) -> Row:
    """What a figure was measured with."""
    gpu = driver = "none: a rehearsal"
    if device.type == "cuda":
        gpu = torch.cuda.get_device_name(device)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return {"gpu": gpu, "driver": driver, "torch": installed("torch"), "triton": installed("triton")}


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
