"""One server from its start to its end, under one load after the other, as its time allows."""

import asyncio
import random
import time
import traceback
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from rich.console import Console

from benchmarks.gpu.job import Job
from benchmarks.gpu.serve.loads import SESSIONS, Load, loads
from benchmarks.gpu.serve.loads import run as load_with
from benchmarks.gpu.serve.models import folder_of
from benchmarks.gpu.serve.servers import POLICY, starts
from benchmarks.speed import conversations, wire
from benchmarks.speed.conversations import Session
from benchmarks.speed.measure import Objective
from benchmarks.speed.parts.base import Bench
from benchmarks.speed.parts.shipped import calm
from benchmarks.speed.peers import Fleet

AT_ONCE = 16
"""Conversations whose messages are classified in one request, to leave out those that a crisis would take elsewhere."""
LEAST = 3.0
"""Seconds below which a load tells nothing."""


def run(job: Job) -> None:
    kind, model = job.options["server"], job.options["model"]
    job.page.put(**job.options, **({"policy": dict(POLICY)} if kind == "ours" else {}))
    console = Console(force_terminal=False, width=120)
    start = starts(folder_of(job.out, model), kind, job.options["batched"], rehearse=job.rehearse)
    with Fleet(console, start) as fleet:
        fleet.up([kind])
        job.page.put(start_seconds=fleet.start_seconds[kind][0])
        asyncio.run(_measure(job, fleet, console, kind))


async def _measure(job: Job, fleet: Fleet, console: Console, kind: str) -> None:
    chosen = loads(kind, rehearse=job.rehearse)
    theirs = turns(job, job.options["model"])
    async with wire.client() as http:
        bench = Bench(fleet, http, conversations.load(None), 1, job.rehearse, 0.0, console, Objective())
        sessions = bench.pick(AT_ONCE if job.rehearse else SESSIONS, 2, "gpu")
        if kind == "ours":
            parts = [sessions[first : first + AT_ONCE] for first in range(0, len(sessions), AT_ONCE)]
            sessions = [session for part in parts for session in await calm(bench, kind, part)]
        ends = dues(chosen, job.left())
        begun = time.monotonic()
        for load, end in zip(chosen, ends, strict=True):
            seconds = end - (time.monotonic() - begun)
            if seconds < LEAST:
                job.page.append("rows", {"load": load.name, "skipped": f"{max(0.0, seconds):.0f} s were left for it"})
                continue
            try:  # the turns that run when it is over end in the rest of its time
                row = await load_with(bench, kind, load, _own(sessions, load), 0.8 * seconds, theirs)
            except Exception as error:  # the other loads are worth having all the same
                traceback.print_exc()
                row = {"load": load.name, "failed": f"{type(error).__name__}: {error}"[:300]}
            job.page.append("rows", row)


def dues(chosen: Sequence[Load], seconds: float) -> list[float]:
    """Seconds after the first load's begin by which each has to be over."""
    whole = sum(load.share for load in chosen)
    return [seconds * until / whole for until in accumulate(load.share for load in chosen)]


def turns(job: Job, model: str) -> dict[str, dict[str, Any]]:
    """What our server's turns of Agent Mode were like with this model, by load, from the first step with them."""
    kept = ("tokens_per_turn", "rounds_per_turn", "stages_share_of_tokens")
    for found in job.before.values():
        if found.get("model") == model and found.get("server") == "ours":
            rows = [row for row in found.get("rows", ()) if "tokens_per_turn" in row]
            if rows:
                return {row["load"]: {name: row[name] for name in kept} for row in rows}
    return {}


def _own(sessions: Sequence[Session], load: Load) -> list[Session]:
    """In an order and with names of this load's own, so that no turn meets another load's memory; over and over."""
    mixed = random.Random(load.name).sample(sessions, len(sessions))
    return [Session(f"{load.name} {again} {s.name}", s.turns) for again in range(50) for s in mixed]
