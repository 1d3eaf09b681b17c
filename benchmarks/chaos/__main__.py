"""What a lost node or replica costs: `make chaos`, or `python -m benchmarks.chaos worker head`.

For each scenario two Ray nodes are started on this machine, each with a HAProxy and half of the replicas, the GCS's
tables and the memory of turns in a real Redis. Seekers talk all the while, one turn in five a crisis; then something
dies, or is updated. It is told how many turns were lost, failed, cut or had to be asked again, and how long it took
until no turn was the worse for it and every replica was back.

No part of a reply may be taken for the whole, no crisis turn may stay without an answer, no turn may be lost without a
word; and an update alone may not cost anything. Writes chaos.json. Exits with 1 where one of these is not so.
"""

import json
import signal
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.chaos.scenarios import SCENARIOS
from benchmarks.chaos.seekers import probed, talking
from benchmarks.chaos.tally import broken, table, tally, told
from benchmarks.chaos.world import built, whole_replies
from benchmarks.provenance import provenance, today

WHOLE_SECONDS = 150.0
"""In which the service has to be whole again."""
PACE = 0.1


def play(
    name: str,
    folder: Path,
    console: Console,
    *,
    seekers: int,
    calm: float,
    pace: float = PACE,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One scenario, on nodes of its own. `calm`: seconds before the blow, and after the service is whole again."""
    scenario = SCENARIOS[name]
    with (
        console.status(f"{name}: starting Redis and two nodes ...") as spinner,
        built(folder, pace=pace, env=env) as world,
        probed(world.fronts) as fronts,
        talking(fronts, seekers, whole_replies()) as talk,
        ThreadPoolExecutor(1) as beside,
    ):
        spinner.update(f"{name}: seekers talk ...")
        time.sleep(calm)
        blow = time.monotonic()
        striking = beside.submit(scenario.blow, world)
        restored: float | None = None
        while time.monotonic() < blow + WHOLE_SECONDS and restored is None:
            spinner.update(f"{name}: {time.monotonic() - blow:.0f} s after the blow, {told(talk)}")
            if striking.done() and world.is_whole():
                restored = time.monotonic()
            time.sleep(0.5)
        wait([striking])
        spinner.update(f"{name}: {'whole' if restored else 'not whole'} again; seekers talk on ...")
        time.sleep(calm)
    striking.result()  # raises what it failed with
    found = tally(talk.ended, blow, restored)
    return {"does": scenario.does, **found, "broken": broken(found, loses_none=scenario.loses_none)}


def main(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help="Which; all if none is named.", show_default=False)
    ] = None,
    seekers: Annotated[int, typer.Option(help="How many talk at once.")] = 16,
    calm: Annotated[float, typer.Option(help="Seconds before each blow, and after the service is whole.")] = 10.0,
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Kill nodes and replicas under traffic, tell what it costs, and write chaos.json.

    Each scenario runs on two nodes of its own, for one to two minutes:

    - worker, head: that node killed, and started again ten seconds later
    - update: a rolling update of every replica
    - counselor, ingress, classifier: such an update, and a replica of that kind killed in it
    - policy: a new user_config

    Exits with 1 if a part was taken for a whole reply, a crisis turn or any other had no answer, an update alone cost a
    turn, or the service did not become whole again.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the nodes are stopped then, too
    console = Console()
    names = scenarios or list(SCENARIOS)
    command = " ".join(["python -m benchmarks.chaos", *(scenarios or []), f"--seekers {seekers} --calm {calm:.0f}"])
    if unknown := set(names) - set(SCENARIOS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    results = {}
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        results[name] = play(name, folder, console, seekers=seekers, calm=calm)
        console.print(f"{name}: {results[name]}")
        # After each, so that what was measured is kept if a later one cannot be played.
        written = provenance(command) | {"seekers": seekers, "scenarios": results}
        (today(output) / "chaos.json").write_text(json.dumps(written, indent=2) + "\n")
    console.print(table(results))
    missed = {name: found["broken"] for name, found in results.items() if found["broken"]}
    for name, promises in missed.items():
        console.print(f"[red]{name}[/]: {'; '.join(promises)}")
    if missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
