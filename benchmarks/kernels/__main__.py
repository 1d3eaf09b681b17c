"""`python -m benchmarks.kernels`: correctness first, then time, on a GPU.

Every contender is checked on every case before anything is timed; a wrong one ends the run. Results: a CSV row a case,
a plot, and the targets of the project with what was measured.
"""

import csv
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.kernels import plot, targets
from benchmarks.kernels.cases import Case, build, cases, small_cases
from benchmarks.kernels.clock import Clock, GpuClock, WallClock
from benchmarks.kernels.contenders import GROUPS, contenders
from psychechat_kernels.fused_heads import kernel

RESULTS = Path(__file__).resolve().parents[1] / "results"
TOLERANCE = 2e-5
MEMORY_SHARE = 0.15
"""Of the GPU's memory, for one copy of the hidden states: the eager reference makes fp32 ones beside it."""


def main(
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; benchmarks/results/<today> if not given.")
    ] = None,
    rehearse: Annotated[
        bool, typer.Option(help="Run everything once, on tiny inputs in Triton's interpreter, to see that it runs.")
    ] = False,
) -> None:
    """Time the fused heads beside the eager reference, torch.compile of it and vLLM's chain of poolers."""
    console = Console(stderr=True)
    if rehearse and (out is None or not kernel.INTERPRETED):
        console.print("A rehearsal needs TRITON_INTERPRET=1 in the environment, and --out, as its times mean nothing.")
        raise typer.Exit(2)
    if not rehearse and not torch.cuda.is_available():
        console.print("No GPU. Without one: `--rehearse`, or `python -m benchmarks.kernels.compiled`.")
        raise typer.Exit(2)
    device = torch.device("cpu" if rehearse else "cuda")
    chosen = list(small_cases()) if rehearse else list(cases(int(MEMORY_SHARE * torch.cuda.mem_get_info()[0])))
    gate(chosen, device, console)
    folder = out or RESULTS / datetime.now(UTC).date().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    with (folder / "kernels.csv").open("w", newline="") as file:
        for row in measure(chosen, device, WallClock() if rehearse else GpuClock(device), console):
            writer = csv.DictWriter(file, row)
            if not rows:
                writer.writeheader()
            writer.writerow(row)
            file.flush()  # a run that is stopped keeps what it has
            rows.append(row)
    plot.draw(rows, folder / "kernels.svg")
    report(rows, console)
    console.print(f"Written to {folder}/kernels.csv and kernels.svg")


def gate(chosen: Iterable[Case], device: torch.device, console: Console) -> None:
    """Exit with 1 unless all contenders agree on all cases."""
    everyone = contenders(device)
    for case in track(list(chosen), "Checking", console=console):
        inputs = build(case, device)
        results = {}
        for name, contender in everyone.items():
            results[name] = torch.full((case.batch, sum(GROUPS)), torch.nan, device=device)
            contender(inputs, case.pooling, case.length, results[name])
        for name, result in results.items():
            difference = (result - results["reference"]).abs().max().item()
            if not difference <= TOLERANCE:  # NaN too
                console.print(f"{name} is wrong on {case}: it differs from the reference by {difference:.2g}")
                raise typer.Exit(1)


def measure(
    chosen: Iterable[Case], device: torch.device, clock: Clock, console: Console
) -> Iterator[dict[str, object]]:
    """A row a case: microseconds from a graph and eager, the floors, and what they were measured with."""
    everyone, bandwidth, machine = contenders(device), clock.copy_bandwidth(), _machine(device)
    for case in track(list(chosen), "Timing", console=console):
        inputs = build(case, device)
        out = torch.empty(case.batch, sum(GROUPS), device=device)
        row: dict[str, object] = case._asdict() | {"mb": round(case.moved_bytes / 1e6, 3)}
        for name, contender in everyone.items():

            def work(contender=contender, case=case, inputs=inputs, out=out) -> None:  # type: ignore[no-untyped-def]
                contender(inputs, case.pooling, case.length, out)

            row[f"{name}_us"] = round(clock.graph(work), 2)
            row[f"{name}_eager_us"] = round(clock.eager(work), 2)
        longest = case.length if case.pooling == "mean" else 1
        step = kernel.step(case.pooling, inputs.hidden.dtype)
        cut = kernel.cut(case.batch, longest, case.width, step, kernel.processors(device))
        row["programs"] = cut.programs
        row["empty_us"] = round(clock.empty(cut.programs), 2)
        row["floor_us"] = round(case.moved_bytes / bandwidth * 1e6, 2)
        yield row | {"copy_gb_per_s": round(bandwidth / 1e9)} | machine


def report(rows: Sequence[dict[str, object]], console: Console) -> None:
    table = Table("Target", "Cases", "Held", "Worst", "Where")
    for target in targets.judge(rows):
        table.add_row(*map(str, target))
    console.print(table)


def _machine(device: torch.device) -> dict[str, object]:
    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "none"

    gpu = driver = "none: a rehearsal"
    if device.type == "cuda":
        gpu = torch.cuda.get_device_name(device)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return {"gpu": gpu, "driver": driver, "torch": installed("torch"), "triton": installed("triton")}


if __name__ == "__main__":
    typer.run(main)
