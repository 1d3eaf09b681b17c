"""What is left of the server at twice its capacity: `make overload`, or `python -m benchmarks.overload --seconds 60`.

Seekers talk with the server: conversations of one to four turns, each with all that was said before, one line in ten a
crisis, half of them with a phrase of the backstop and half such that only the classifier can tell. After a crisis the
conversation goes on, and is held. Clients do not retry. The phases, each written to the result as it ends:

1. `idle`: crisis turns, one after the other, with nothing beside them.
2. `busy`: the same, while ordinary turns hold every permit that they can have (`busy_ordinary`).
3. `closed`: four times as many conversations at once as the engines run. What gets done is the capacity.
4. `capacity`: turns that come at that rate, whatever has become of the earlier ones.
5. `overload`: the same at twice the rate.
6. `closed_same_answers`: what was answered in `overload`, asked for again by so many at once that nothing is refused.

Goodput counts the turns that were answered as they should be, whole and within a turn's deadline. Every crisis and
every held turn is let in, so at twice the rate more of what is answered are those, which have more stages than
ordinary turns. So there are two ratios: of `overload` to `capacity`, of which the same was asked, and of `overload` to
`closed_same_answers`, of which the same was answered. The first cannot be 1 while crises cost more; the second should
be 0.9 or more.

In none of the phases may a turn be cut, or a crisis turn be refused or answered with an error: one that was sent as a
crisis or that the server took for one. Which veiled ones the classifier missed is told apart. Under load a crisis's
resources should come within 1.5 times an idle server's time and the model's own words within 2.5 times, and `/health`
within 50 ms. Exits with 1 where one of these is not so.
"""

import asyncio
import json
import random
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console

from benchmarks.overload.client import Ended, asking
from benchmarks.overload.conversations import Conversation, Draw, again, drawn, one_crisis
from benchmarks.overload.load import after, closed, health, one_after_the_other, opened
from benchmarks.overload.summary import PHASES, crises_beside_idle, missed, percentiles, ratio, summary
from benchmarks.provenance import provenance, today
from psychechat.concurrency import Clock
from psychechat.config import Settings
from psychechat_ray.configurations import load
from tests.support import servers

WARM_SECONDS = 10.0
RAMP_SECONDS = 15.0
"""Before what is measured, under the same load: the first turns end late."""

Keep = Callable[[str, Any], None]
"""Called with each part of the result, as soon as it is there."""


@dataclass(frozen=True)
class Load:
    """How much there is of each phase."""

    at_once: int
    full: int
    """Conversations at once with which the engines are full, and hardly any turn waits."""
    capacity_seconds: float
    seconds: float


@dataclass
class Phase:
    """What ended in it, and between which two moments, of `time.monotonic`, it is measured."""

    begin: float
    end: float
    ended: Sequence[Ended]
    health: Sequence[float] = ()
    conversations: list[Conversation] = field(default_factory=list)
    """That were begun in the measured time."""

    @property
    def within(self) -> list[Ended]:
        return [one for one in self.ended if self.begin <= one.at <= self.end]


async def steady(
    client: aiohttp.ClientSession,
    turns: Callable[[float, Draw], Coroutine[Any, Any, list[Ended]]],
    seconds: float,
    draw: Draw,
    clock: Clock = time.monotonic,
) -> Phase:
    """A load of so many seconds behind the ramp. It goes on to the end of what is measured, and what is under way then
    is waited for. `turns` is given the load's seconds, and what to say.
    """
    begin = clock() + RAMP_SECONDS
    begun: list[Conversation] = []

    def drawing() -> Conversation:
        conversation = draw()
        if clock() >= begin:
            begun.append(conversation)
        return conversation

    whole = RAMP_SECONDS + seconds
    ended, took = await asyncio.gather(turns(whole, drawing), health(client, after(whole, clock)))
    return Phase(begin, begin + seconds, ended, took, begun)


async def beside_ordinary_ones(client: aiohttp.ClientSession, load: Load, chance: random.Random) -> tuple[Phase, Phase]:
    """Crisis turns, one after the other, and the ordinary ones meanwhile."""
    done = asyncio.Event()
    begin = time.monotonic() + RAMP_SECONDS

    async def crises() -> list[Ended]:
        await asyncio.sleep(RAMP_SECONDS)
        try:
            return await one_after_the_other(client, load.capacity_seconds, one_crisis(chance))
        finally:
            done.set()

    ordinary, crowded, took = await asyncio.gather(
        closed(client, load.at_once, done.is_set, partial(drawn, chance, 0.0)), crises(), health(client, done.is_set)
    )
    end = time.monotonic()
    return Phase(begin, end, crowded, took), Phase(begin, end, ordinary)


async def measure(url: str, load: Load, console: Console, keep: Keep) -> dict[str, Any]:
    chance = random.Random(0)
    result: dict[str, Any] = {}
    phases: dict[str, Phase] = {}

    def told(name: str, value: Any) -> None:
        result[name] = value
        keep(name, value)

    def over(name: str, phase: Phase) -> dict[str, Any]:
        phases[name] = phase
        told(name, summary(phase.ended, phase.begin, phase.end))
        console.log(f"{name}:", result[name])
        return dict(result[name])

    async with asking(url) as client:

        def at_once(many: int) -> Callable[[float, Draw], Coroutine[Any, Any, list[Ended]]]:
            return lambda seconds, draw: closed(client, many, after(seconds), draw)

        def at_rate(rate: float) -> Callable[[float, Draw], Coroutine[Any, Any, list[Ended]]]:
            return lambda seconds, draw: opened(client, rate, seconds, chance, draw)

        mix = partial(drawn, chance)
        with console.status("Warming up ..."):
            await closed(client, 4, after(WARM_SECONDS), mix)
        with console.status("Idle but for crisis turns, one after the other ..."):
            begin = time.monotonic()
            alone = await one_after_the_other(client, load.capacity_seconds, one_crisis(chance))
        over("idle", Phase(begin, time.monotonic(), alone))
        with console.status(f"Crisis turns, one after the other, beside {load.at_once} ordinary conversations ..."):
            busy, ordinary = await beside_ordinary_ones(client, load, chance)
        over("busy", busy)
        over("busy_ordinary", ordinary)
        with console.status(f"{load.at_once} conversations at once, for {load.capacity_seconds / 2:.0f} s ..."):
            found = over("closed", await steady(client, at_once(load.at_once), load.capacity_seconds / 2, mix))
        rate = max(0.1, found["goodput_turns_a_second"])
        with console.status(f"At capacity: {rate:.2f} turns a second for {load.capacity_seconds:.0f} s ..."):
            over("capacity", await steady(client, at_rate(rate), load.capacity_seconds, mix))
        with console.status(f"At twice the capacity: {2 * rate:.2f} turns a second for {load.seconds:.0f} s ..."):
            over("overload", await steady(client, at_rate(2 * rate), load.seconds, mix))
        with console.status(f"What was answered then, by {load.full} at once, for {load.capacity_seconds:.0f} s ..."):
            answered = again(phases["overload"].conversations, chance)
            over("closed_same_answers", await steady(client, at_once(load.full), load.capacity_seconds, answered))
        async with client.get("/metrics") as response:
            metrics = await response.text()
    told(
        "goodput_ratio",
        {
            name: {of: ratio(of, result["overload"], result[beside]) for of in ("turns", "tokens")}
            for name, beside in (("same_asked", "capacity"), ("same_answers", "closed_same_answers"))
        },
    )
    beside = {name: phases[name].within for name in ("busy", "capacity", "overload")}
    told("crisis_times_idle", crises_beside_idle(beside, phases["idle"].within))
    told("health_s", {name: percentiles(phase.health) for name, phase in phases.items() if phase.health})
    told("refusals", [line for line in metrics.splitlines() if line.startswith("psychechat_refusals_total")])
    return result


def sized(settings: Settings, capacity_seconds: float, seconds: float) -> Load:
    sequences = sum(map(settings.generations, settings.casting.lanes))
    return Load(4 * sequences, sequences * 3 // 2, capacity_seconds, seconds)


def main(
    seconds: Annotated[float, typer.Option(help="At twice the capacity, behind a ramp.")] = 600.0,
    capacity_seconds: Annotated[
        float, typer.Option(help="At capacity, and of each other phase but the one that finds it, which has half.")
    ] = 120.0,
    config: Annotated[
        str, typer.Option(help="A configuration, as for `psychechat serve`. [that of nano, the small counselor]")
    ] = "demo-cpu",
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Measure the server at twice its capacity and write overload.json, phase by phase."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is stopped then, too
    console = Console()
    settings = load(config)
    size = sized(settings, capacity_seconds, seconds)
    command = f"python -m benchmarks.overload --seconds {seconds:.0f} --capacity-seconds {capacity_seconds:.0f}"
    written = provenance(command + ("" if config == "demo-cpu" else f" --config {config}"))
    written |= {
        "counselors": {name: engine.model for name, engine in settings.engines.items()},
        "turns_at_once": {"closed": size.at_once, "closed_same_answers": size.full},
    }
    file = today(output) / "overload.json"

    def keep(name: str, value: Any) -> None:
        written[name] = value
        file.write_text(json.dumps(written, indent=2) + "\n")

    console.log("Starting the server ...")
    with servers.configured(servers.with_all_crises(config), Path(tempfile.mkdtemp(prefix="overload-"))) as server:
        result = asyncio.run(measure(server.url, size, console, keep))
    console.print(f"Goodput at twice the capacity, as a share of that at capacity: {result['goodput_ratio']}.")
    console.print(f"Veiled crises that the classifier missed: {sum(result[of]['veiled']['missed'] for of in PHASES)}.")
    console.print("Seconds in a crisis, as a multiple of an idle server's:", result["crisis_times_idle"])
    console.print(f"/health: {result['health_s']} s.")
    wrong = missed(result)
    keep("missed", wrong)
    if wrong:
        console.print("Missed:", *wrong, sep="\n  ")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
