"""What a release of the chart loses on Kubernetes: `make cluster`, or `python -m benchmarks.cluster policy drained`.

The chart is rendered by Helm and acted out on this machine, as root: KubeRay's operator, kubelets and the service are
played by this package, and everything that they would start is started, in namespaces of its own. Seekers talk all the
while, one turn in five a crisis. No turn may be lost and no crisis go unanswered, and what is no accident may cost
nothing at all. docs/operations.md says what differs from a cluster. Writes cluster.json, and exits with 1 where one of
these is not so.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.chaos.seekers import talking
from benchmarks.chaos.tally import broken, table, tally, told
from benchmarks.chaos.world import whole_replies
from benchmarks.cluster.container import inside
from benchmarks.cluster.scenarios import SCENARIOS
from benchmarks.cluster.world import KEY, VALUES, World, installed, wait_until_whole
from benchmarks.provenance import provenance, today
from helm.fetch import fetch
from tests.helm.charts import Helm

HELM = "4.1.4"
WHOLE_SECONDS = 420.0
"""In which the release has to be whole again."""
INSIDE = "PSYCHECHAT_CLUSTER_FOLDER"
"""In the environment of the process that has namespaces of its own: where it may write."""


def play(name: str, world: World, console: Console, *, seekers: int, calm: float) -> dict[str, Any]:
    """One scenario. `calm`: seconds of talk before the blow, and after the release is whole again."""
    scenario = SCENARIOS[name]
    machine, service = world.machine, world.service
    world.cordoned.clear()
    world.refused = 0
    machine.forget()
    empty = service.empty_seconds
    with (
        console.status(f"{name}: seekers talk ...") as spinner,
        talking(service, seekers, whole_replies(), key=KEY) as talk,
        ThreadPoolExecutor(1) as beside,
    ):
        time.sleep(calm)
        blow = time.monotonic()
        striking = beside.submit(scenario.blow, world)
        restored: float | None = None
        while time.monotonic() < blow + WHOLE_SECONDS and restored is None and not failed(striking):
            spinner.update(f"{name}: {time.monotonic() - blow:.0f} s after the blow; {world.told()}; {told(talk)}")
            if striking.done() and world.is_whole():
                restored = time.monotonic()
            time.sleep(0.5)
        wait([striking])
        spinner.update(f"{name}: {'whole' if restored else 'not whole'} again; seekers talk on ...")
        time.sleep(calm)
    striking.result()  # raises what it failed with
    found = tally(talk.ended, blow, restored)
    if found["safe_templates"] or found["crises"]["safe_templates"]:
        console.print(f"{name}: safe templates by cause so far: {world.safe_templates()}")
    return {
        "does": scenario.does,
        **found,
        "service_without_a_pod_s": round(service.empty_seconds - empty, 1),
        "pods_ended": [rounded(asdict(ended)) for ended in machine.ended],
        "containers_restarted": list(machine.restarts),
        "probes_missed": dict(machine.misses),
        "evictions_refused": world.refused,
        "broken": broken(found, loses_none=scenario.loses_none),
    }


def failed(striking: Any) -> bool:
    return bool(striking.done() and striking.exception())


def rounded(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in record.items()}


def play_inside(*, keep: bool) -> int:
    """Run the same command with a network, mounts and processes of its own, which end with it; gives its status.

    `keep`: what it has written.
    """
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        Console().print("This takes root, and the programs unshare (util-linux) and ip (iproute2).")
        return 2
    command = inside([sys.executable, "-m", "benchmarks.cluster", *sys.argv[1:]])
    ours = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    folder = tempfile.mkdtemp(prefix="cluster-", dir="/tmp")
    process = subprocess.Popen(command, env={**ours, INSIDE: folder})
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def main(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help="Which; all if none is named.", show_default=False)
    ] = None,
    seekers: Annotated[int, typer.Option(help="How many talk at once.")] = 8,
    calm: Annotated[float, typer.Option(help="Seconds before each blow, and after the release is whole.")] = 10.0,
    pace: Annotated[float, typer.Option(help="Seconds a word of the scripted engines takes.")] = 0.1,
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave what is written under /tmp, pods' logs among it.")
    ] = False,
) -> None:
    """Act out a release of the chart under traffic, tell what each change costs, and write cluster.json. As root.

    One release, to which one after the other happens:

    - policy: another policy
    - killed: the container of an engines' pod killed
    - forced: an ingress pod deleted by force, without a second of grace
    - drained: a node drained
    - app: another setting, so that every replica is replaced
    - image: another image, so that a second cluster takes over

    Exits with 1 if a turn was lost, a crisis unanswered or a part taken for a whole reply, if policy, drained, app or
    image cost anything at all, or if the release did not become whole again.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the pods' files go then, too
    if unknown := set(scenarios or []) - set(SCENARIOS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    helm = Helm(fetch(HELM))  # while there is a network
    if INSIDE not in os.environ:
        raise typer.Exit(play_inside(keep=keep))
    folder = Path(os.environ[INSIDE])
    console = Console()
    options = f"--seekers {seekers} --calm {calm:.0f} --pace {pace:g}"
    command = " ".join(["python -m benchmarks.cluster", *(scenarios or []), options])
    results: dict[str, Any] = {}
    with installed(helm, folder, pace=pace) as world:
        began = time.monotonic()
        with console.status("Helm has rendered the chart ...") as spinner:
            wait_until_whole(world, lambda: spinner.update(f"{time.monotonic() - began:.0f} s: {world.told()}"))
        ready = round(time.monotonic() - began, 1)
        console.print(f"The release serves after {ready} s; containers that ended: {world.machine.restarts}")
        for name in scenarios or list(SCENARIOS):
            results[name] = play(name, world, console, seekers=seekers, calm=calm)
            console.print(f"{name}: {results[name]}")
            # After each, so that what was measured is kept if a later one cannot be played.
            written = provenance(command) | {
                "values": VALUES.name,
                "seekers": seekers,
                "ready_s": ready,
                "scenarios": results,
            }
            (today(output) / "cluster.json").write_text(json.dumps(written, indent=2) + "\n")
            if results[name]["restored_s"] is None:
                break
    console.print(table(results))
    missed = {name: found["broken"] for name, found in results.items() if found["broken"]}
    for name, promises in missed.items():
        console.print(f"[red]{name}[/]: {'; '.join(promises)}")
    if missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
