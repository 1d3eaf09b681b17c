"""What one key's requests cost the others: `make tenants`, or `python -m benchmarks.tenants --seconds 30`.

Crisis turns of other keys, first with nothing beside them, then

- beside ten bodies of nearly 1 MB that one key sends again and again: conversations far longer than the context, in
  long messages (`large_messages`) and in many (`many_messages`), of words and of digits, the newest message "hi"; and
  beside ten that are too long by less, so that they must be tokenised to know (`tokenised`);
- while one key sends 200 messages a minute with a crisis word in each and none in a crisis (`crisis_words`), and the
  others' ordinary turns come at a steady rate; before that the same without that key (`calm`).

The others have several keys, in turn, so that none of them has more crises in a minute than engines write for. In each
case a crisis may take no more than twice its time alone, to the first words and as a whole, no more crises may get
fixed words alone than without the loud key, and 90 % of the others' ordinary turns must be answered. Exits with 1 where
one of these is not so.
"""

import asyncio
import hashlib
import json
import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console

from benchmarks.overload.client import Ended, asking, turn
from benchmarks.overload.conversations import MODELS, Conversation, Draw, Line, drawn, one_crisis
from benchmarks.overload.load import after, opened
from benchmarks.overload.summary import percentiles, times_idle
from benchmarks.provenance import provenance, today
from psychechat_ray.configurations import load
from tests.support import servers

LOUD, OTHERS = "loud", tuple(f"other-{number}" for number in range(12))
"""The key that asks for much, and those of whom each has its own quota."""
MOST_TIMES_ALONE, FEWEST_ANSWERED = 2.0, 0.9
MORE_FIXED = 0.1
"""Of the crises: what chance may do to so few."""
CRISIS_TURNS, FEWEST_CRISIS_TURNS, LONGEST_SECONDS = 30, 10, 180.0
BODIES_AT_ONCE, BODY_BYTES = 10, 990_000
FLOOD_A_MINUTE, CRISIS_EVERY_SECONDS = 200.0, 5.0
WARM_SECONDS = 10.0
CRISIS_WORDS = (
    "My essay is about an overdose of maths.",
    "This week was an overdose of homework, but the weekend is near.",
    "I had an overdose of sunshine in the garden and my nose is red.",
    "The film about suicide prevention that we saw in class was long.",
    "Our reading group talks about a novel with a suicide in the third chapter.",
    "The new exhibition is an overdose of colours, I liked it.",
)
"""Ours. Each holds a word of a crisis, and nobody in them is in one."""
BODIES = {"large_messages": (32_000, BODY_BYTES), "many_messages": (8_000, BODY_BYTES), "tokenised": (8_000, 90_000)}
"""Cases of bodies: the most characters of a message, and bytes of a body."""
CASES = ("alone", *BODIES, "calm", "crisis_words")
BESIDE = dict.fromkeys((*BODIES, "crisis_words"), "alone")
"""Cases in which crises may take no more than so many times as long as in another."""


def filled(piece: str, each: int, most: int) -> bytes:
    """Body of `most` bytes at most whose history is of messages of up to `each` characters, made of this piece."""
    said = piece * (each // len(piece))
    roles = cycle(("user", "assistant"))
    messages: list[dict[str, str]] = []
    left = most - 200
    while left > each + 50:
        messages.append({"role": next(roles), "content": said})
        left -= len(said) + 40
    if messages[-1]["role"] == "user":
        messages.pop()
    content = {"model": "psychechat-llm", "messages": [*messages, {"role": "user", "content": "hi"}]}
    return json.dumps(content, separators=(",", ":")).encode()


def bodies(each: int, most: int) -> list[bytes]:
    return [filled(piece, each, most) for piece in ("I went for a walk. ", "7315940286 ")]


async def insist(client: aiohttp.ClientSession, sent: Sequence[bytes], over: Callable[[], bool]) -> Counter[str]:
    """BODIES_AT_ONCE of them at any time. How often there was which status; -1 where the connection broke."""
    statuses: Counter[str] = Counter()

    async def again(first: int) -> None:
        for number in count(first):
            if over():
                return
            try:
                async with client.post(
                    "/v1/chat/completions", data=sent[number % len(sent)], headers={"content-type": "application/json"}
                ) as response:
                    await response.read()
                    statuses[str(response.status)] += 1
            except (aiohttp.ClientError, TimeoutError):
                statuses["-1"] += 1
                await asyncio.sleep(0.1)

    await asyncio.gather(*map(again, range(BODIES_AT_ONCE)))
    return statuses


def about_nothing(chance: random.Random) -> Draw:
    """Conversations of one line each with a word of a crisis."""
    return lambda: Conversation([Line("ordinary", chance.choice(CRISIS_WORDS))], MODELS[0], chance.randrange(10**6))


class Others:
    """Clients of the keys that ask for little. Each crisis is the next key's."""

    def __init__(self, clients: Sequence[aiohttp.ClientSession], chance: random.Random) -> None:
        self._clients, self._following = clients, cycle(clients)
        self._crisis, self._chance = one_crisis(chance), chance

    async def crisis(self) -> Ended:
        return await turn(next(self._following), self._crisis())

    async def crises(self, number: int) -> list[Ended]:
        """One after the other, so many unless that takes too long."""
        ended: list[Ended] = []
        late = after(LONGEST_SECONDS)
        while len(ended) < number and not late():
            ended.append(await self.crisis())
        return ended

    async def crises_at_intervals(self, seconds: float) -> list[Ended]:
        """Whatever becomes of those before them."""
        tasks, over = [], after(seconds)
        while not over():
            tasks.append(asyncio.create_task(self.crisis()))
            await asyncio.sleep(CRISIS_EVERY_SECONDS)
        return await asyncio.gather(*tasks)

    async def ordinary(self, rate: float, seconds: float) -> list[Ended]:
        """So many turns a second."""
        calm = partial(drawn, self._chance, 0.0)
        return await opened(self._clients[0], rate, seconds, self._chance, calm)


def told(crises: Sequence[Ended], ordinary: Sequence[Ended] = ()) -> dict[str, Any]:
    taken = [one for one in crises if one.taken]
    found: dict[str, Any] = {
        "crises": {
            "turns": len(crises),
            "not_answered": sum(not one.whole for one in crises),
            "missed": sum(one.whole and not one.taken for one in crises),
            "safe_templates": sum(one.safe_template for one in crises),
            **{f"{name}_s": percentiles(times(taken)) for name, times in TIMES.items()},
        }
    }
    if ordinary:
        found["ordinary"] = {
            "turns": len(ordinary),
            "answered": round(sum(one.good for one in ordinary) / len(ordinary), 3),
            "statuses": dict(sorted(Counter(str(one.status) for one in ordinary).items())),
            "safe_templates": sum(one.safe_template for one in ordinary),
            "first_words_s": percentiles([one.first_words for one in ordinary if one.whole]),
        }
    return found


TIMES: Mapping[str, Callable[[Sequence[Ended]], list[float]]] = {
    "resources_phrase": lambda ended: [one.first_words for one in ended if one.kind == "phrase"],
    "resources_veiled": lambda ended: [one.first_words for one in ended if one.kind == "veiled"],
    "own_words": lambda ended: [one.own_words for one in ended if one.own_words],
    "whole": lambda ended: [one.seconds for one in ended],
}
"""Seconds of turns that were taken for crises."""


def beside(crises: Sequence[Ended], alone: Sequence[Ended]) -> dict[str, Any]:
    found, quiet = ([one for one in ended if one.taken] for ended in (crises, alone))
    return {name: times_idle(times(found), times(quiet)) for name, times in TIMES.items()}


async def measure(
    url: str, keys: Mapping[str, str], seconds: float, rate: float, console: Console, keep: Callable[[str, Any], None]
) -> dict[str, Any]:
    chance = random.Random(0)
    result: dict[str, Any] = {}
    seen: dict[str, list[Ended]] = {}

    def over(name: str, crises: list[Ended], ordinary: Sequence[Ended] = (), **more: Any) -> None:
        seen[name] = crises
        result[name] = {**told(crises, ordinary), **more}
        keep(name, result[name])
        console.log(f"{name}:", result[name])

    async def insisting(each: int, most: int) -> tuple[list[Ended], Counter[str]]:
        done = asyncio.Event()

        async def crises() -> list[Ended]:
            await asyncio.sleep(1.0)
            try:
                return await others.crises(CRISIS_TURNS)
            finally:
                done.set()

        found, statuses = await asyncio.gather(crises(), insist(loud, bodies(each, most), done.is_set))
        return found, statuses

    async with clients(url, keys) as (loud, others):
        with console.status("Warming up ..."):
            await others.ordinary(1.0, WARM_SECONDS)
        with console.status(f"{CRISIS_TURNS} crises, one after the other ..."):
            over("alone", await others.crises(CRISIS_TURNS))
        for name, size in BODIES.items():
            with console.status(f"Crises beside {BODIES_AT_ONCE} bodies at once: {name} ..."):
                crises, statuses = await insisting(*size)
            over(name, crises, bodies=dict(sorted(statuses.items())))
        with console.status(f"Crises and ordinary turns for {seconds / 2:.0f} s ..."):
            calm, ordinary = await asyncio.gather(
                others.crises_at_intervals(seconds / 2), others.ordinary(rate, seconds / 2)
            )
        over("calm", calm, ordinary)
        with console.status(f"The same beside {FLOOD_A_MINUTE:.0f} messages a minute, for {seconds:.0f} s ..."):
            flooded, ordinary, flood = await asyncio.gather(
                others.crises_at_intervals(seconds),
                others.ordinary(rate, seconds),
                opened(loud, FLOOD_A_MINUTE / 60, seconds, chance, about_nothing(chance)),
            )
        over("crisis_words", flooded, ordinary, flood=flood_told(flood))
    result["times_alone"] = {name: beside(seen[name], seen[quiet]) for name, quiet in BESIDE.items()}
    keep("times_alone", result["times_alone"])
    return result


def flood_told(flood: Sequence[Ended]) -> dict[str, Any]:
    return {
        "turns": len(flood),
        "statuses": dict(sorted(Counter(str(one.status) for one in flood).items())),
        "taken_for_crises": sum(one.taken for one in flood),
        "safe_templates": sum(one.safe_template for one in flood),
    }


@asynccontextmanager
async def clients(url: str, keys: Mapping[str, str]) -> AsyncIterator[tuple[aiohttp.ClientSession, Others]]:
    """That of the loud key, and the others."""
    async with AsyncExitStack() as stack:
        loud, *quiet = [await stack.enter_async_context(asking(url, keys[name])) for name in (LOUD, *OTHERS)]
        yield loud, Others(quiet, random.Random(1))


def fixed(case: Mapping[str, Any]) -> float:
    """Share of the crises that fixed words alone answered."""
    crises: Mapping[str, int] = case["crises"]
    return crises["safe_templates"] / max(1, crises["turns"])


def missed(result: Mapping[str, Any]) -> list[str]:
    """Of a result that has all cases."""
    wrong = [
        f"{count} crises had no answer: {case}" for case in CASES if (count := result[case]["crises"]["not_answered"])
    ]
    wrong += [
        f"only {count} crises were asked in {LONGEST_SECONDS:.0f} s: {case}"
        for case in ("alone", *BODIES)
        if (count := result[case]["crises"]["turns"]) < FEWEST_CRISIS_TURNS
    ]
    wrong += [
        f"{share:.0%} of the crises got fixed words alone, without the loud key {quiet:.0%}: {case}"
        for case, other in BESIDE.items()
        if (share := fixed(result[case])) > (quiet := fixed(result[other])) + MORE_FIXED
    ]
    for case, ratios in result["times_alone"].items():
        for name, found in ratios.items():
            if not found:
                wrong.append(f"too few crises to tell {name}: {case}")
            elif found["p50"] > MOST_TIMES_ALONE:
                wrong.append(f"crises took {found['p50']} times as long as alone, {name}: {case}")
    answered = result["crisis_words"]["ordinary"]["answered"]
    if answered < FEWEST_ANSWERED:
        wrong.append(f"only {answered} of the others' ordinary turns were answered: crisis_words")
    return wrong


def with_keys(config: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a configuration with these keys, its policy as it is."""
    settings: dict[str, Any] = load(config).model_dump(mode="json", exclude_unset=True)
    hashed = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys.items()}
    return settings | {"auth": {"keys": hashed}}


def main(
    seconds: Annotated[float, typer.Option(help="Of the messages with a crisis word.")] = 120.0,
    rate: Annotated[float, typer.Option(help="The others' ordinary turns, a second.")] = 0.5,
    config: Annotated[str, typer.Option(help="A configuration, as for `psychechat serve`.")] = "demo-cpu",
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Measure what one key's requests cost the others and write tenants.json, case by case."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is stopped then, too
    console = Console()
    keys = {name: f"psy-{secrets.token_urlsafe(32)}" for name in (LOUD, *OTHERS)}
    command = f"python -m benchmarks.tenants --seconds {seconds:.0f} --rate {rate:g}"
    written = provenance(command + ("" if config == "demo-cpu" else f" --config {config}"))
    file = today(output) / "tenants.json"

    def keep(name: str, value: Any) -> None:
        written[name] = value
        file.write_text(json.dumps(written, indent=2) + "\n")

    console.log("Starting the server ...")
    with servers.configured(with_keys(config, keys), Path(tempfile.mkdtemp(prefix="tenants-"))) as server:
        started = time.monotonic()
        result = asyncio.run(measure(server.url, keys, seconds, rate, console, keep))
        console.log(f"{time.monotonic() - started:.0f} s.")
    wrong = missed(result)
    keep("missed", wrong)
    console.print("Seconds in a crisis, as a multiple of those alone:", result["times_alone"])
    if wrong:
        console.print("Missed:", *wrong, sep="\n  ")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
