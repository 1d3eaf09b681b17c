"""`make bench`, or `python -m benchmarks.speed --only relay --only agent`."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.provenance import RESULTS, today
from benchmarks.report import write as write_documents
from benchmarks.speed import conversations, report, wire
from benchmarks.speed.measure import Objective
from benchmarks.speed.parts import PARTS, Bench, Found, Part
from benchmarks.speed.peers import Fleet

NAMES = [part.name for part in PARTS]
PLAN = "\n\n".join(f"{part.name}: {part.about}." for part in PARTS)


async def one(part: Part, fleet: Fleet, options: dict[str, object]) -> Found:
    async with wire.client() as http:
        return await part.run(Bench(fleet, http, **options))  # type: ignore[arg-type]


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"Measure this part alone, keep the others' results: {', '.join(NAMES)}. May be repeated."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often the servers take turns at each level.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Few turns, low levels: to see that it runs.")] = False,
    think: Annotated[float, typer.Option(min=0, help="Seconds that people think before each further turn.")] = 0.0,
    first_words: Annotated[float, typer.Option(help="Goodput: first words within so many seconds.")] = 2.0,
    whole: Annotated[float, typer.Option(help="Goodput: the whole turn within so many seconds.")] = 20.0,
    data: Annotated[
        Path | None,
        typer.Option(help="Conversations, gzipped JSON lines. [../shared/data/loadtest_mix, else messages.txt]"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the results. [benchmarks/results/DATE]")] = None,
    list_parts: Annotated[bool, typer.Option("--list", help="Say what the parts are, and end.")] = False,
) -> None:
    """Measure the server beside what a user would pick instead, on the same weights and the same cores.

    Servers are started as they are needed (a minute each) and take turns, round after round; while one is loaded the
    others are held still. Medians and ratios go to speed.json, every row to speed.csv, plots beside them, and from
    benchmarks/results into docs/benchmarks.md. Absolute figures on a small machine mean little; the ratios are what to
    read.

    Try first: python -m benchmarks.speed --quick --only relay --rounds 1 --output /tmp/speed
    """
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    if list_parts:
        console.print(PLAN)
        return
    if unknown := set(only or ()) - set(NAMES):
        raise typer.BadParameter(f"no part {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    chosen = [part for part in PARTS if not only or part.name in only]
    folder = today(output)
    sessions = conversations.load(data)
    options: dict[str, object] = {
        "sessions": sessions,
        "rounds": rounds,
        "quick": quick,
        "think": think,
        "console": console,
        "objective": Objective(first_words, whole),
    }
    console.log(f"{len(sessions)} conversations; parts: {', '.join(part.name for part in chosen)}")
    results = report.read(folder)
    command = "python -m benchmarks.speed" + "".join(f" --only {name}" for name in only or ())
    command += f" --rounds {rounds}" + (" --quick" if quick else "") + (f" --think {think:g}" if think else "")
    began = time.monotonic()
    failed = []
    with Fleet(console) as fleet:
        for part in chosen:
            console.rule(f"{part.name}, {(time.monotonic() - began) / 60:.1f} min")
            try:
                fleet.up(part.needs)
                found = asyncio.run(one(part, fleet, options))
            except Exception as error:  # the other parts are worth having all the same
                console.print_exception(max_frames=4)
                failed.append(f"{part.name}: {type(error).__name__}")
                continue
            results = report.merged(results, part.name, found, command)
            verdicts = report.write(folder, results)
    if len(failed) == len(chosen):
        raise typer.Exit(1)
    table = Table("what", "target", "measured", "")
    for verdict in verdicts:
        table.add_row(verdict.what, verdict.target, verdict.measured, verdict.verdict)
    console.print(table)
    console.print(f"Written to {folder} after {(time.monotonic() - began) / 60:.1f} minutes.")
    if folder.resolve().is_relative_to(RESULTS):
        write_documents()
    if failed:
        console.print(f"[red]Failed: {', '.join(failed)}[/]")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
