"""`python -m benchmarks.gpu kernel --minutes 8` and `python -m benchmarks.gpu serve --minutes 30`.

Written with the standard library: where `kernel` is run, nothing need be installed beside torch and Triton.
"""

import importlib
import json
import shutil
import signal
import sys
import time
import traceback
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu.budget import Outcome, Step, follow
from benchmarks.gpu.job import Job, Page, Skipped, write
from benchmarks.gpu.processes import SKIPPED, Processes, page_of
from benchmarks.gpu.runs import step as step_of
from benchmarks.gpu.runs import steps as steps_of
from benchmarks.provenance import commit, today

RUNS = {
    "kernel": (
        8.0,
        "The kernel on one GPU: compiled, tested, tuned, timed, profiled. Needs torch and Triton alone; with "
        "pytest and hypothesis the tests run too, with ncu the profile, with matplotlib there is a plot.",
    ),
    "serve": (
        30.0,
        "The `single-gpu` configuration beside vLLM's own server, on random weights of Qwen3's shapes. Needs the "
        "package with its extra `gpu`, and aiohttp and psutil.",
    ),
}
"""By name, the minutes by default, and what it is."""
LEAST_MINUTES = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.run == "step":
        return _step(given.of, given.name, given.seconds, given.out, rehearse=given.rehearse)
    names = [step.name for step in steps_of(given.run, rehearse=given.rehearse)]
    if unknown := set(given.only or ()).difference(names):
        parser.error(f"no step {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return _run(given.run, given.minutes, given.out, given.only, rehearse=given.rehearse)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m benchmarks.gpu", description="Two prepared runs for a machine with a GPU.")
    commands = parser.add_subparsers(dest="run", required=True, metavar="{kernel,serve}")
    for run, (minutes, about) in RUNS.items():
        command = commands.add_parser(run, help=about.partition(":")[0].partition(",")[0], description=about)
        told = f"That the whole run may take. [{minutes:g}]"
        command.add_argument("--minutes", type=_minutes, default=minutes, help=told)
        command.add_argument("--out", type=Path, help="Folder for the results. [benchmarks/results/DATE]")
        told = "These steps alone, the others' results in --out are kept. May be repeated."
        command.add_argument("--only", action="append", help=told)
        told = "On a CPU, tiny, to see that it runs. Its figures mean nothing."
        command.add_argument("--rehearse", action="store_true", help=told)
    step = commands.add_parser("step")  # without help it is not listed
    step.add_argument("of", choices=RUNS)
    step.add_argument("name")
    step.add_argument("--seconds", type=float, required=True)
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--rehearse", action="store_true")
    return parser


def _minutes(text: str) -> float:
    if (minutes := float(text)) < LEAST_MINUTES:
        raise ArgumentTypeError(f"{text} is less than {LEAST_MINUTES}")
    return minutes


def _step(run: str, name: str, seconds: float, out: Path, *, rehearse: bool) -> int:
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
        return SKIPPED
    except Exception as error:
        traceback.print_exc()
        page.put(why=f"{type(error).__name__}: {error}"[:500])
        return 1
    return 0


def _run(run: str, minutes: float, out: Path | None, only: list[str] | None, *, rehearse: bool) -> int:
    steps = steps_of(run, rehearse=rehearse)
    if rehearse and out is None:
        _say("A rehearsal needs --out, as its figures mean nothing.")
        return 2
    if not rehearse and not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        _say("No NVIDIA GPU here. Without one: --rehearse --out FOLDER.")
        return 2
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
        _say(f"{step.name}: {outcome.status} after {seconds:.0f} s. {outcome.why}")

    follow(
        [step for step in steps if not only or step.name in only],
        60 * minutes,
        Processes(run, folder, rehearse=rehearse).start,
        record,
        time.monotonic,
        rehearse=rehearse,
    )
    _say(f"Written to {file}; what the steps printed is in {file.with_suffix('.log').name} beside it.")
    return int(all(found["status"] != "done" for found in document["steps"]))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
