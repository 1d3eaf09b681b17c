"""`python -m benchmarks.gpu kernel --minutes 8` and `python -m benchmarks.gpu serve --minutes 30`."""

import importlib
import json
import shutil
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.gpu.budget import Outcome, Step, follow
from benchmarks.gpu.job import Job, Page, Skipped, write
from benchmarks.gpu.processes import SKIPPED, Processes, page_of
from benchmarks.gpu.runs import step as step_of
from benchmarks.gpu.runs import steps as steps_of
from benchmarks.provenance import commit, today

app = typer.Typer(no_args_is_help=True, add_completion=False)

Out = Annotated[Path | None, typer.Option(help="Folder for the results. [benchmarks/results/DATE]")]
Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="On a CPU, tiny, to see that it runs. Its figures mean nothing.")
]
Only = Annotated[
    list[str] | None, typer.Option(help="These steps alone, the others' results in --out are kept. May be repeated.")
]


@app.command()
def kernel(
    minutes: Annotated[float, typer.Option(min=0.01, help="That the whole run may take.")] = 8.0,
    out: Out = None,
    rehearse: Rehearse = False,
    only: Only = None,
) -> None:
    """The kernel on one GPU: compiled, tested, tuned, timed, profiled. Needs torch, Triton, typer and rich alone; with
    pytest and hypothesis the tests run too, with ncu the profile, with matplotlib there is a plot.
    """
    _run("kernel", minutes, out, only, rehearse=rehearse)


@app.command()
def serve(
    minutes: Annotated[float, typer.Option(min=0.01, help="That the whole run may take.")] = 30.0,
    out: Out = None,
    rehearse: Rehearse = False,
    only: Only = None,
) -> None:
    """The `single-gpu` configuration beside vLLM's own server, on random weights of Qwen3's shapes. Needs the package
    with its extra `gpu`, and aiohttp and psutil.
    """
    _run("serve", minutes, out, only, rehearse=rehearse)


@app.command(hidden=True)
def step(
    run: str,
    name: str,
    seconds: Annotated[float, typer.Option()],
    out: Annotated[Path, typer.Option()],
    rehearse: Rehearse = False,
) -> None:
    """One step, as a run starts it in a process of its own."""
    due = time.monotonic() + seconds
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it has started is stopped then
    chosen = step_of(run, name, rehearse=rehearse)
    page = Page(page_of(out, run, chosen))
    before = {found["name"]: found for found in _read(out / f"gpu-{run}.json").get("steps", ())}
    try:
        importlib.import_module(chosen.module).run(Job(out, page, due, rehearse, chosen.options, before))
    except Skipped as reason:
        page.put(why=str(reason))
        raise typer.Exit(SKIPPED) from None
    except Exception as error:
        traceback.print_exc()
        page.put(why=f"{type(error).__name__}: {error}"[:500])
        raise typer.Exit(1) from None


def _run(run: str, minutes: float, out: Path | None, only: list[str] | None, *, rehearse: bool) -> None:
    console = Console(stderr=True)
    steps = steps_of(run, rehearse=rehearse)
    if unknown := set(only or ()) - {step.name for step in steps}:
        raise typer.BadParameter(
            f"no step {', '.join(sorted(unknown))}; there are {', '.join(step.name for step in steps)}"
        )
    if rehearse and out is None:
        console.print("A rehearsal needs --out, as its figures mean nothing.")
        raise typer.Exit(2)
    if not rehearse and not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        console.print("No NVIDIA GPU here. Without one: --rehearse --out FOLDER.")
        raise typer.Exit(2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no step is left behind
    folder = today(out).resolve()
    file = folder / f"gpu-{run}.json"
    document: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.gpu", *sys.argv[1:]]),
        "commit": commit(),
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": minutes,
        "rehearsal": rehearse,
        "steps": [found for found in _read(file).get("steps", ()) if only and found["name"] not in only],
    }

    def record(step: Step, outcome: Outcome, seconds: float) -> None:
        told: dict[str, Any] = {"name": step.name, "about": step.about, "status": outcome.status, "why": outcome.why}
        document["steps"].append(told | {"seconds": round(seconds, 1)} | dict(outcome.facts))
        write(file, document)
        console.print(f"{step.name}: {outcome.status} after {seconds:.0f} s. {outcome.why}", highlight=False)

    follow(
        [step for step in steps if not only or step.name in only],
        60 * minutes,
        Processes(run, folder, rehearse=rehearse).start,
        record,
        time.monotonic,
        rehearse=rehearse,
    )
    console.print(f"Written to {file}; what the steps printed is in {file.with_suffix('.log').name} beside it.")
    if all(found["status"] != "done" for found in document["steps"]):
        raise typer.Exit(1)


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}


if __name__ == "__main__":
    app()
