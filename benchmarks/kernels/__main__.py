"""`python -m benchmarks.kernels`: correctness first, then time, on a GPU.

Every contender is checked on every case before anything is timed; a wrong one ends the run. Results: a CSV row a case,
a plot, and the targets of the project with what was measured.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.kernels import plot, targets
from benchmarks.kernels.cases import MEMORY_SHARE, Case, cases, small_cases
from benchmarks.kernels.clock import Clock, GpuClock, WallClock
from benchmarks.kernels.contenders import contenders
from benchmarks.kernels.measure import disagreement, machine, timed
from psychechat_kernels.fused_heads import kernel

RESULTS = Path(__file__).resolve().parents[1] / "results"


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
        if wrong := disagreement(case, everyone, device):
            console.print(wrong)
            raise typer.Exit(1)


def measure(
    chosen: Iterable[Case], device: torch.device, clock: Clock, console: Console
) -> Iterator[dict[str, object]]:
    """A row a case, with what it was measured with."""
    everyone, bandwidth, on = contenders(device), clock.copy_bandwidth(), machine(device)
    for case in track(list(chosen), "Timing", console=console):
        yield timed(case, everyone, device, clock, bandwidth) | on


def report(rows: Sequence[dict[str, object]], console: Console) -> None:
    table = Table("Target", "Cases", "Held", "Worst", "Where")
    for target in targets.judge(rows):
        table.add_row(*map(str, target))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
