"""What is left of the server at twice its capacity: `make overload`, or `python -m benchmarks.overload --seconds 60`.

First sixty crisis turns, one after the other, with nothing beside them, and sixty again while ordinary turns hold every
permit that they can have. Then four times as many turns at once as the engines run, one in ten a crisis, each followed
by the next: what gets done then is the capacity. Then turns that come at twice that rate, whatever has become of the
earlier ones, with the same share of crisis messages, some with a phrase of the backstop and some that only the
classifier can tell. Then the capacity again, with as large a share of crises as was answered at twice the rate. Clients
do not retry.

Goodput counts the turns that a model has answered, whole and within a turn's deadline, and the tokens that all of their
stages have generated. Every crisis is let in, so at twice the rate more of what is answered are crises, which have more
stages and more tokens than ordinary turns. Beside a capacity with fewer of them turns would say too little and tokens
too much; so goodput is held against the capacity of the same mix, and should stay at 90 % or more of its turns.

In none of the phases may a turn be cut, or a crisis turn be refused or answered with an error: one that was sent as a
crisis or that the server took for one. Which veiled ones the classifier missed is told apart. Beside ordinary turns
that hold all they can, a crisis turn's first words should take no more than twice an idle server's time, and `/health`
no more than 50 ms. Exits with 1 where one of these is not so.
"""

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import numpy as np
import typer
from rich.console import Console

from benchmarks.provenance import provenance, today
from psychechat_ray.configurations import load
from tests.support import servers
from tests.support.messages import ALARMING, LANGUAGES, ORDINARY, VEILED

CRISES = 0.1
"""Their share of the turns that are sent, half of each kind."""
GOODPUT, FIRST_WORDS, HEALTH_SECONDS = 0.9, 2.0, 0.05
MODELS = ("psychechat", "psychechat-llm")
WARM_SECONDS = 10.0
CRISIS_TURNS, LONGEST_SECONDS = 60, 600.0
"""One after the other, idle and beside ordinary ones: so many, unless they take longer than that."""
RAMP_SECONDS = 20.0
"""Before and after what is measured, under the same load: the first turns end late, and all at once."""
PHASES = ("idle", "busy", "busy_ordinary", "capacity", "overload", "capacity_same_mix")


@dataclass(frozen=True)
class Ended:
    """One turn, in seconds since it was sent. `status` is -1 where the connection broke."""

    status: int
    alarming: bool
    """Sent with a phrase of the backstop."""
    veiled: bool
    """Sent as a crisis that only the classifier can tell: the door may refuse it unread."""
    taken: bool
    """For a crisis, as its reply says. One without a whole reply says nothing."""
    whole: bool
    told: bool
    """Not whole, and the client was told so by an error at the stream's end."""
    safe_template: bool
    tokens: int
    """That its stages have generated."""
    at: float
    """When it ended, of `time.monotonic`."""
    first_words: float
    seconds: float

    @property
    def crisis(self) -> bool:
        return self.alarming or self.veiled or self.taken

    @property
    def cut(self) -> bool:
        return self.status in (200, -1) and not self.whole and not self.told

    @property
    def lost(self) -> bool:
        return self.cut or (self.crisis and not self.whole)


def after(seconds: float) -> Callable[[], bool]:
    """Whether they have passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def asking(url: str) -> aiohttp.ClientSession:
    """A client that opens as many connections as it is asked to."""
    timeout, connector = aiohttp.ClientTimeout(total=100), aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(url, timeout=timeout, connector=connector)


async def turn(
    client: aiohttp.ClientSession, chance: random.Random, crises: float = CRISES, models: Sequence[str] = MODELS
) -> Ended:
    """Streamed, as chat interfaces do it."""
    kind = chance.random() / crises if crises else 1.0
    alarming, veiled = kind < 0.5, 0.5 <= kind < 1.0
    # Both languages have as many ordinary messages.
    language = chance.choice(LANGUAGES)
    text = chance.choice(ALARMING[language] if alarming else VEILED if veiled else ORDINARY[language])
    # No two conversations share more than the system prompt.
    content = f"{text} ({chance.randrange(10**6)})"
    body = {"model": chance.choice(models), "messages": [{"role": "user", "content": content}], "stream": True}
    body["stream_options"] = {"include_usage": True}
    started = time.perf_counter()
    status, first, lines = 0, 0.0, [b"", b"", b""]
    try:
        async with client.post("/v1/chat/completions", json=body) as response:
            status = response.status
            async for line in response.content:
                if line.startswith(b"data: "):
                    lines = [*lines[1:], line]
                    if not first and b'"content":"' in line and b'"content":""' not in line:
                        first = time.perf_counter() - started
    except (aiohttp.ClientError, TimeoutError):
        status = -1
    seconds = time.perf_counter() - started
    whole = status == 200 and lines[-1].strip() == b"data: [DONE]"
    last = [json.loads(line.removeprefix(b"data: ")) if whole else {} for line in lines[:2]]
    found, usage = last[0].get("psychechat", {}), last[1].get("usage", {})
    return Ended(
        status,
        alarming=alarming,
        veiled=veiled,
        taken=found.get("reason") == "crisis",
        whole=whole,
        told=lines[-1].startswith(b'data: {"error"'),
        safe_template=bool(found) and found["review"]["fallback"],
        tokens=usage.get("completion_tokens", 0),
        at=time.monotonic(),
        first_words=first,
        seconds=seconds,
    )


async def closed(
    client: aiohttp.ClientSession,
    at_once: int,
    over: Callable[[], bool],
    chance: random.Random,
    crises: float = CRISES,
) -> list[Ended]:
    """So many turns at once, each followed by the next."""
    ended: list[Ended] = []

    async def one() -> None:
        while not over():
            ended.append(await turn(client, chance, crises))

    await asyncio.gather(*(one() for _ in range(at_once)))
    return ended


async def one_crisis_after_the_other(client: aiohttp.ClientSession, chance: random.Random) -> list[Ended]:
    """Until enough are answered. All in one mode: the median of two modes' times says nothing of either."""
    ended: list[Ended] = []
    late = after(LONGEST_SECONDS)
    while len(first_words(ended)) < CRISIS_TURNS and not late():
        ended.append(await turn(client, chance, crises=1.0, models=MODELS[:1]))
    return ended


async def opened(client: aiohttp.ClientSession, rate: float, seconds: float, chance: random.Random) -> list[Ended]:
    """Turns that come at this rate, a second, at random moments, whatever becomes of those before them."""
    tasks = []
    due = time.monotonic()
    end = due + seconds
    while due < end:
        # One that comes late, because this machine was busy, does not put off those after it.
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(turn(client, chance)))
        due += chance.expovariate(rate)
    return await asyncio.gather(*tasks)


async def steady(turns: Coroutine[Any, Any, list[Ended]], seconds: float) -> dict[str, Any]:
    """Of turns that come for so long, and RAMP_SECONDS more before and after."""
    begin = time.monotonic() + RAMP_SECONDS
    return summary(await turns, begin, begin + seconds)


def summary(ended: Sequence[Ended], begin: float, end: float) -> dict[str, Any]:
    """Rates and times are of what ended between the two moments; what became of turns is told of all."""
    seconds, within = end - begin, [one for one in ended if begin <= one.at <= end]
    good = [one for one in within if one.whole and not one.safe_template]
    crises = [one for one in ended if one.crisis]
    ordinary = [one.first_words for one in within if one.whole and not one.crisis]
    return {
        "turns": len(ended),
        "turns_a_second": round(len(within) / seconds, 3),
        "goodput_crises": round(sum(one.crisis for one in good) / max(1, len(good)), 3),
        "goodput_tokens_a_second": round(sum(one.tokens for one in good) / seconds, 1),
        "goodput_turns_a_second": round(len(good) / seconds, 3),
        "statuses": dict(sorted(Counter(str(one.status) for one in ended).items())),
        "failed": sum(one.told for one in ended),
        "cut": sum(one.cut for one in ended),
        "lost": sum(one.lost for one in ended),
        "veiled": {
            "turns": sum(one.veiled for one in ended),
            "taken_for_crises": sum(one.veiled and one.taken for one in ended),
            "missed": sum(one.veiled and one.whole and not one.taken for one in ended),
            "refused": sum(one.veiled and one.status == 429 for one in ended),
        },
        "safe_templates": sum(one.safe_template for one in ended),
        "ordinary_first_words_s": percentiles(ordinary),
        "crisis": {
            "turns": len(crises),
            "false_alarms": sum(one.taken and not (one.alarming or one.veiled) for one in ended),
            "not_answered": sum(not one.whole for one in crises),
            "safe_templates": sum(one.safe_template for one in crises),
            "first_words_s": percentiles(first_words(within)),
        },
    }


def first_words(ended: Sequence[Ended]) -> list[float]:
    """Seconds to those of each turn that was taken for a crisis."""
    return [one.first_words for one in ended if one.whole and one.taken]


def same_mix(found: Mapping[str, Any]) -> float:
    """The share of crises to send, so that a server that answers all answers this share of them, false alarms too."""
    crisis = found["crisis"]
    ordinary = found["turns"] - crisis["turns"] + crisis["false_alarms"]
    answered, alarms = float(found["goodput_crises"]), float(crisis["false_alarms"]) / max(1, ordinary)
    return max(0.0, (answered - alarms) / (1 - alarms)) if alarms < 1 else 0.0


async def health(client: aiohttp.ClientSession, over: Callable[[], bool]) -> list[float]:
    """Seconds of each `/health`, asked ten times a second."""
    took = []
    while not over():
        started = time.perf_counter()
        async with client.get("/health") as response:
            response.raise_for_status()
        took.append(time.perf_counter() - started)
        await asyncio.sleep(0.1)
    return took


async def measure(url: str, at_once: int, capacity_seconds: float, seconds: float, console: Console) -> dict[str, Any]:
    chance = random.Random(0)

    async def beside_ordinary_ones(client: aiohttp.ClientSession) -> tuple[list[Ended], list[Ended], list[float]]:
        """Crisis turns, one after the other, then the ordinary ones and `/health` meanwhile."""
        done = asyncio.Event()

        async def crises() -> list[Ended]:
            await asyncio.sleep(RAMP_SECONDS)
            try:
                return await one_crisis_after_the_other(client, chance)
            finally:
                done.set()

        ordinary = closed(client, at_once, done.is_set, chance, crises=0.0)
        return await asyncio.gather(crises(), ordinary, health(client, done.is_set))

    async def at_capacity(client: aiohttp.ClientSession, crises: float) -> dict[str, Any]:
        turns = closed(client, at_once, after(capacity_seconds + 2 * RAMP_SECONDS), chance, crises)
        return await steady(turns, capacity_seconds)

    async with asking(url) as client:
        with console.status(f"Idle but for {CRISIS_TURNS} crisis turns, one after the other ..."):
            await closed(client, 4, after(WARM_SECONDS), chance)
            begin = time.monotonic()
            alone = await one_crisis_after_the_other(client, chance)
        idle = summary(alone, begin, time.monotonic())
        with console.status(f"{CRISIS_TURNS} crisis turns, one after the other, beside {at_once} ordinary ones ..."):
            begin = time.monotonic() + RAMP_SECONDS
            crowded, ordinary, took_busy = await beside_ordinary_ones(client)
        busy, busy_ordinary = (summary(ended, begin, crowded[-1].at) for ended in (crowded, ordinary))
        console.print("Crisis turns beside ordinary ones:", busy)
        with console.status(f"At capacity: {at_once} turns at once for {capacity_seconds:.0f} s ..."):
            capacity = await at_capacity(client, CRISES)
        console.print("At capacity:", capacity)
        rate = 2 * capacity["goodput_turns_a_second"]
        with console.status(f"At twice the capacity: {rate:.2f} turns a second for {seconds:.0f} s ..."):
            overload, took = await asyncio.gather(
                steady(opened(client, rate, seconds + 2 * RAMP_SECONDS, chance), seconds),
                health(client, after(seconds + 2 * RAMP_SECONDS)),
            )
        console.print("At twice the capacity:", overload)
        with console.status(f"At capacity, with as large a share of crises, for {capacity_seconds:.0f} s ..."):
            capacity_same_mix = await at_capacity(client, same_mix(overload))
        console.print("At capacity, of the same mix:", capacity_same_mix)
        async with client.get("/metrics") as response:
            metrics = await response.text()
    return {
        "turns_at_once": at_once,
        "idle": idle,
        "busy": busy,
        "busy_ordinary": busy_ordinary,
        "capacity": capacity,
        "overload": overload,
        "capacity_same_mix": capacity_same_mix,
        "goodput_ratio": {
            "turns": ratio("turns", overload, capacity),
            "same_mix_turns": ratio("turns", overload, capacity_same_mix),
            "same_mix_tokens": ratio("tokens", overload, capacity_same_mix),
        },
        "crisis_first_words_ratio": {
            when: round(found["crisis"]["first_words_s"]["p50"] / idle["crisis"]["first_words_s"]["p50"], 2)
            for when, found in (("busy", busy), ("capacity", capacity), ("overload", overload))
        },
        "crisis_first_words_ratio_95": {"busy": interval(first_words(crowded), first_words(alone))},
        "health_s": {"busy": percentiles(took_busy), "overload": percentiles(took)},
        "refusals": [line for line in metrics.splitlines() if line.startswith("psychechat_refusals_total")],
    }


def ratio(of: str, found: Mapping[str, Any], beside: Mapping[str, Any]) -> float:
    rate, other = (float(phase[f"goodput_{of}_a_second"]) for phase in (found, beside))
    return round(rate / other, 3)


def interval(seconds: Sequence[float], beside: Sequence[float]) -> list[float]:
    """Where 95 of 100 ratios of their medians lie if both are drawn again and again from what was seen."""
    draws = np.random.default_rng(0)
    medians = [np.median(draws.choice(seen, (10_000, len(seen))), axis=1) for seen in (seconds, beside)]
    return [round(float(bound), 2) for bound in np.percentile(medians[0] / medians[1], (2.5, 97.5))]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"count": len(seconds)} | {f"p{p}": round(cuts[p - 1], 4) for p in (50, 90, 99)}


def missed(result: Mapping[str, Any]) -> list[str]:
    goodput, first_words = result["goodput_ratio"]["same_mix_turns"], result["crisis_first_words_ratio"]["busy"]
    health_p99 = result["health_s"]["busy"]["p99"]
    lost = {phase: result[phase]["lost"] for phase in PHASES}
    wrong = [f"{count} turns cut or crisis turns not answered: {phase}" for phase, count in lost.items() if count]
    for phase in ("idle", "busy"):
        if (count := result[phase]["crisis"]["first_words_s"].get("count", 0)) < CRISIS_TURNS:
            wrong.append(f"only {count} crisis turns were answered in {LONGEST_SECONDS:.0f} s: {phase}")
    if goodput < GOODPUT:
        wrong.append(f"goodput at twice the capacity was {goodput} of the capacity of the same mix, in turns")
    if first_words > FIRST_WORDS:
        wrong.append(f"a crisis turn's first words beside ordinary ones took {first_words} times as long")
    if health_p99 > HEALTH_SECONDS:
        wrong.append(f"/health took {health_p99} s at p99")
    return wrong


def main(
    seconds: Annotated[float, typer.Option(help="At twice the capacity, between ramps.")] = 600.0,
    capacity_seconds: Annotated[float, typer.Option(help="At capacity, before and after, between ramps.")] = 60.0,
    config: Annotated[str, typer.Option(help="A configuration, as for `psychechat serve`.")] = "demo-cpu",
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Measure the server at twice its capacity and write overload.json."""
    console = Console()
    settings = load(config)
    at_once = 4 * sum(map(settings.generations, settings.casting.lanes))  # so that some always wait
    with servers.psychechat(8331, Path(tempfile.gettempdir()) / "overload.log", "--config", config) as server:
        with console.status("Starting the server ..."):
            server.wait_until_ready()
        result = asyncio.run(measure(server.url, at_once, capacity_seconds, seconds, console))
    command = f"python -m benchmarks.overload --seconds {seconds:.0f} --capacity-seconds {capacity_seconds:.0f}"
    (today(output) / "overload.json").write_text(json.dumps(provenance(command) | result, indent=2) + "\n")
    console.print(f"Goodput at twice the capacity, as a share of that at capacity: {result['goodput_ratio']}.")
    console.print(f"Veiled crises that the classifier missed: {sum(result[of]['veiled']['missed'] for of in PHASES)}.")
    console.print(f"First words in a crisis, as a multiple of an idle server's: {result['crisis_first_words_ratio']},")
    console.print(f"in 95 of 100 draws between: {result['crisis_first_words_ratio_95']}.")
    console.print(f"/health: {result['health_s']} s.")
    if wrong := missed(result):
        console.print("Missed:", *wrong, sep="\n  ")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
