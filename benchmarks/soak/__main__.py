"""A long conversation with many: `make soak`, or `python -m benchmarks.soak --seconds 60`.

locust plays the scenario beside this file against a server of its own, while the memory of each of the server's
processes is watched. No turn may fail, the first words may not take longer than they should, no process may grow, and
each replica and each engine must live from the beginning to the end. Writes soak.json, soak.png, which shows the memory
of each process over time, and locust's report for a browser. Exits with 1 where one of these is not so.
"""

import csv
import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console

from benchmarks import environments
from benchmarks.provenance import provenance, today
from benchmarks.soak import SPIKE
from benchmarks.soak.plot import draw
from tests.support import servers

SCENARIO = Path(__file__).with_name("scenario.py")
REQUIREMENTS = ("locust==2.47.0", "openai==3.54.0")
ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "build" / "soak.html"
FIRST_WORDS = {"psychechat": 20.0, "psychechat-llm": 20.0, "psychechat-agent": 40.0}
"""Seconds that 95 of 100 turns may take to them, on two cores with the spike among them."""
GROWTH, GROWTH_MB = 0.05, 30.0
"""What a process may grow from the middle of the run to its end: the larger of the two."""
AFTERMATH = 0.05
"""Of the run: so long after the spike memory still says more of it than of what stays."""
LASTING = ("ServeReplica:", "EngineCore")
"""In the titles of the processes that are there throughout, unless one died or was replaced."""

Sample = tuple[float, Mapping[str, float]]
"""Seconds since the beginning, and MB of each process."""


def resident(process: psutil.Process) -> dict[str, float]:
    """MB of each process of the family, by its title and number."""
    found = {}
    for member in [process, *process.children(recursive=True)]:
        try:
            title = Path((member.cmdline() or [member.name()])[0]).name
            if title.startswith("ray::"):
                title = title.partition(".")[0]  # after it comes the method that runs
            found[f"{title} {member.pid}"] = member.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
    return found


def growth(samples: Sequence[Sample], run: float) -> dict[str, dict[str, float]]:
    """Of each process that lived throughout the second half: where a line through it begins, and its MB an hour.

    The spike and its aftermath are left out, so the line goes through what was before them and what came after.
    """
    begins, ends = run * SPIKE[0], run * (SPIKE[1] + AFTERMATH)
    calm = [(at, found) for at, found in samples if at >= run / 2 and not begins <= at < ends]
    lines = defaultdict(list)
    for at, found in calm:
        for process, size in found.items():
            lines[process].append((at, size))
    told = {}
    for process, points in lines.items():
        if process in calm[0][1] and process in calm[-1][1] and len(points) > 2:
            seconds, sizes = np.array(points).T
            slope, start = np.polyfit(seconds - seconds[0], sizes, 1)
            told[process] = {
                "mb": round(float(start), 1),
                "mb_an_hour": round(float(slope) * 3600, 1),
                "grown_mb": round(float(slope * (seconds[-1] - seconds[0])), 1),
            }
    return told


def replaced(samples: Sequence[Sample]) -> list[str]:
    """Replicas and engines that were not there at the beginning, in the middle and at the end."""
    moments = [found for _, found in (samples[0], samples[len(samples) // 2], samples[-1])]
    lasting = {process for found in moments for process in found if any(title in process for title in LASTING)}
    return [
        f"{process} did not live from the beginning to the end"
        for process in sorted(lasting)
        if not all(process in found for found in moments)
    ]


def too_much(grown: Mapping[str, float]) -> bool:
    return grown["grown_mb"] > max(GROWTH_MB, GROWTH * grown["mb"])


def percentiles(times: Mapping[str, int]) -> dict[str, float]:
    """Seconds, of a table of how often each number of milliseconds was seen."""
    milliseconds = np.repeat([float(time) for time in times], list(times.values()))
    return {f"p{p}": round(float(np.percentile(milliseconds, p)) / 1000, 3) for p in (50, 95, 99)}


def told(stats: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What locust has counted, by what ended and by model."""
    found: dict[str, Any] = defaultdict(dict)
    for row in stats:
        times = percentiles(row["response_times"]) if row["response_times"] else {}
        found[row["method"]][row["name"]] = {"count": row["num_requests"], "failed": row["num_failures"], "s": times}
    return dict(found)


def failures(table: Path) -> list[dict[str, Any]]:
    """Which turns failed and how, of locust's table: no words are in it but those of `scenario.kind`."""
    with table.open(newline="") as rows:
        return [
            {"model": row["Name"], "failure": row["Error"], "count": int(row["Occurrences"])}
            for row in csv.DictReader(rows)
        ]


def missed(ended: Mapping[str, Any], grown: Mapping[str, Mapping[str, float]]) -> list[str]:
    failed = Counter({model: row["failed"] for model, row in ended.get("turn", {}).items()})
    wrong = [f"{count} turns with {model} failed" for model, count in failed.items() if count]
    if not sum(row["count"] for row in ended.get("turn", {}).values()):
        wrong.append("no turn ended")
    for model, row in ended.get("TTFT", {}).items():
        if row["s"]["p95"] > FIRST_WORDS[model]:
            wrong.append(f"the first words of {model} took {row['s']['p95']} s at p95")
    if not grown:
        wrong.append("no process was watched from the middle to the end")
    for process, row in grown.items():
        if too_much(row):
            wrong.append(f"{process} grew by {row['grown_mb']} MB, {row['mb_an_hour']} MB an hour")
    return wrong


def play(url: str, seconds: float, seekers: int, folder: Path) -> subprocess.Popen[bytes]:
    programs = environments.made(folder / "locust", *REQUIREMENTS)
    REPORT.parent.mkdir(exist_ok=True)
    options = ["--headless", "--host", url, "--stop-timeout", "120", "--html", str(REPORT), "--only-summary"]
    variables = {"SOAK_SECONDS": str(seconds), "SOAK_SEEKERS": str(seekers), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [programs / "locust", "-f", str(SCENARIO), *options, "--json-file", "stats", "--csv", "soak"],
        cwd=folder,
        env={**os.environ, **variables},
    )


def main(
    seconds: Annotated[float, typer.Option(help="How long.")] = 1800.0,
    minutes: Annotated[float | None, typer.Option(help="The same in minutes, in the place of --seconds.")] = None,
    seekers: Annotated[int, typer.Option(help="How many talk at once; four times as many in the spike.")] = 8,
    config: Annotated[str, typer.Option(help="A configuration, as for `psychechat serve`.")] = "demo-cpu",
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Let seekers talk with the server, watch its memory and write soak.json."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is stopped then, too
    seconds, console = 60 * minutes if minutes else seconds, Console()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    settings = servers.with_all_crises(config)
    samples: list[Sample] = []
    with console.status("Starting the server ..."), servers.configured(settings, folder) as server:
        locust = play(server.url, seconds, seekers, folder)
        process, began = psutil.Process(server.process.pid), time.monotonic()
        while locust.poll() is None:
            samples.append((round(time.monotonic() - began, 1), resident(process)))
            console.log(f"{samples[-1][0]:.0f} of {seconds:.0f} s, {sum(samples[-1][1].values()):,.0f} MB in all")
            time.sleep(min(10.0, seconds / 30))
    ended = told(json.loads((folder / "stats.json").read_text()))
    grown = growth(samples, seconds)
    wrong = missed(ended, grown) + replaced(samples)
    result = {
        "seconds": seconds,
        "seekers": seekers,
        "ended": ended,
        "failures": failures(folder / "soak_failures.csv"),
        "processes": grown,
        "resident_mb": [[at, round(sum(found.values()))] for at, found in samples],
        "missed": wrong,
    }
    command = f"python -m benchmarks.soak --seconds {seconds:.0f} --seekers {seekers}"
    written = today(output)
    (written / "soak.json").write_text(json.dumps(provenance(command) | result, indent=2) + "\n")
    draw(samples, seconds, written / "soak.png")
    console.print(ended, grown, f"locust's report: {REPORT}")
    if wrong:
        console.print("Missed:", *wrong, sep="\n  ")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
