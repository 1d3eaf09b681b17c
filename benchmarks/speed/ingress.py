"""What a turn costs an ingress replica, in milliseconds of processor: `python -m benchmarks.speed.ingress`.

Two figures: the start of a turn, by turns whose reply is one word; and a second of a stream, by streams of 30 tokens a
second. The engines answer from a table, so what is left is the relay: HTTP, the pipeline and Ray. `--beside` names
another checkout, whose server takes turns with this one's in the same run, round by round, so that both meet the same
machine: of two servers the ratios are what to read.
"""

import asyncio
import json
import os
import signal
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console

from benchmarks.provenance import commit, provenance, today
from benchmarks.speed import wire
from benchmarks.speed.parts import scale
from benchmarks.speed.peers import Fleet, ours
from benchmarks.speed.processes import Tree
from tests.support.messages import ORDINARY
from tests.support.servers import Server

HERE = Path(__file__).parents[2]
SOURCES = (".", "serving", "deployments", "kernels")
THIS, BESIDE = "this", "beside"
TURNS = 4
"""Of a conversation whose turns are started."""
PEOPLE, CONVERSATIONS, ALONE = 8, 64, 6
"""At once, and conversations of theirs; and conversations of somebody who is alone."""
DUE_MS = 1000 * (scale.FIRST_SECONDS + 1 / scale.PACE)
"""When the engine writes the first word."""
FIGURES = (
    "start_ms",
    "start_engine_ms",
    "added_ttft_p50_ms",
    "stream_second_ms",
    "stream_second_engine_ms",
    "words_a_piece",
    "piece_ms",
    "piece_engine_ms",
    "added_p50_ms",
    "added_p99_ms",
)

Row = Mapping[str, Any]


def served(checkout: Path, folder: Path) -> AbstractContextManager[Server]:
    """The server of a checkout, with scripted engines."""
    path = os.pathsep.join(str((checkout / source).resolve()) for source in SOURCES)
    return ours(scale.settings(), folder, env={"PYTHONPATH": path})


@dataclass
class Begun:
    """What came of turns of one word each."""

    waited: list[float] = field(default_factory=list)
    """Milliseconds until the word, a turn."""
    failed: int = 0


async def conversation(http: aiohttp.ClientSession, url: str, number: int, begun: Begun) -> None:
    """Its turns, one after the other, up to one that fails."""
    said: list[dict[str, str]] = []
    for turn in range(TURNS):
        message = ORDINARY["en"][(number * TURNS + turn) % len(ORDINARY["en"])]
        said.append({"role": "user", "content": f"{message} ({number})"})
        body = {"model": "psychechat-llm", "messages": said, "max_completion_tokens": 1}
        answer = await wire.chat(http, url, body)
        if answer.error:
            begun.failed += 1
            return
        said.append({"role": "assistant", "content": answer.text})
        begun.waited.append(1000 * answer.deltas[0])


async def starts(http: aiohttp.ClientSession, url: str, conversations: Sequence[int], people: int) -> Begun:
    """`conversation` of each number, so many people at once."""
    waiting, begun = list(conversations), Begun()

    async def person() -> None:
        while waiting:
            await conversation(http, url, waiting.pop(), begun)

    await asyncio.gather(*(person() for _ in range(people)))
    return begun


async def measured(server: str, url: str, tree: Tree, streams: int, number: int) -> Row:
    ingress, engines = scale.replicas(tree, "ingress"), scale.replicas(tree, "counselor")
    first = number * (CONVERSATIONS + ALONE)  # nobody says again what was said before

    def spent() -> tuple[float, float]:
        return scale.spent(ingress), scale.spent(engines)

    async with wire.client() as http:
        before = spent()
        many = await starts(http, url, range(first, first + CONVERSATIONS), PEOPLE)
        start, start_engine = (1000 * (b - a) / len(many.waited) for a, b in zip(before, spent(), strict=True))
        alone = await starts(http, url, range(first + CONVERSATIONS, first + CONVERSATIONS + ALONE), 1)
        before = spent()
        level = await scale.level(http, url, streams)
        second, second_engine = (scale.milli(b - a, streams) for a, b in zip(before, spent(), strict=True))
    return {
        "server": server,
        "round": number,
        "start_ms": round(start, 3),
        "start_engine_ms": round(start_engine, 3),
        "added_ttft_p50_ms": round(statistics.median(alone.waited) - DUE_MS, 2),
        "stream_second_ms": second,
        "stream_second_engine_ms": second_engine,
        "words_a_piece": level["words_a_piece"],
        "added_p50_ms": level["added_ms"]["p50"],
        "added_p99_ms": level["added_ms"]["p99"],
        "failed": level["failed"] + many.failed + alone.failed,
    }


def with_pieces(row: Row) -> Row:
    """With what a piece of a stream costs by itself, without its share of the start: so two servers compare that send
    pieces of different lengths.
    """
    pieces = scale.PACE / row["words_a_piece"]
    return {**row} | {
        f"piece{of}_ms": round((row[f"stream_second{of}_ms"] - row[f"start{of}_ms"] / scale.SECONDS) / pieces, 4)
        for of in ("", "_engine")
    }


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Medians of each server over the rounds, and of the rounds' own ratios, where there are two servers."""
    rows = [with_pieces(row) for row in rows]
    servers = list(dict.fromkeys(row["server"] for row in rows))

    def of(server: str, figure: str) -> list[float]:
        return [row[figure] for row in rows if row["server"] == server]

    told: dict[str, Any] = {
        "medians": {name: {figure: statistics.median(of(name, figure)) for figure in FIGURES} for name in servers}
    }
    if len(servers) > 1:
        told["ratios"] = {
            figure: round(statistics.median(_ratios(rows, figure)), 3) for figure in FIGURES if _ratios(rows, figure)
        }
    return told


def _ratios(rows: Sequence[Row], figure: str) -> list[float]:
    """This checkout's figure over the other one's, round by round."""
    sides = [{row["round"]: row[figure] for row in rows if row["server"] == server} for server in (THIS, BESIDE)]
    return [sides[0][number] / sides[1][number] for number in sides[0] if sides[1].get(number)]


def main(
    streams: Annotated[int, typer.Option(min=1, help="Streams at once.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="How often the servers take turns.")] = 3,
    beside: Annotated[Path | None, typer.Option(help="Another checkout of this repository.")] = None,
    name: Annotated[str, typer.Option(help="Of the result's file.")] = "ingress",
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Measure the ingress and write ingress.json."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    console = Console()
    checkouts = {THIS: HERE} | ({} if beside is None else {BESIDE: beside})
    command = f"python -m benchmarks.speed.ingress --streams {streams} --rounds {rounds}"
    command += "" if beside is None else " --beside OTHER"
    commits = {who: commit(checkout) for who, checkout in checkouts.items()}
    told = {**provenance(command), "commits": commits, "streams": streams}
    file = today(output) / f"{name}.json"
    rows: list[Row] = []
    with Fleet(console, {who: partial(served, checkout) for who, checkout in checkouts.items()}) as fleet:
        fleet.up(list(checkouts))
        for number in range(rounds + 1):
            for who in sorted(checkouts, reverse=bool(number % 2)):
                with fleet.alone(who):
                    row = asyncio.run(measured(who, fleet.url(who), fleet.tree(who), streams, number))
                console.log("" if number else "warm-up", row)
                rows += [row] if number else []
            if number:
                file.write_text(json.dumps({**told, **summary(rows), "rows": rows}, indent=1) + "\n")
    console.print(summary(rows), f"Written to {file}.")


if __name__ == "__main__":
    typer.run(main)
