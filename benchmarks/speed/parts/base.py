"""What every part of the benchmark works with."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from rich.console import Console

from benchmarks.speed import conversations, driver, measure, wire
from benchmarks.speed.conversations import Session, Turn
from benchmarks.speed.driver import Ask, Load
from benchmarks.speed.measure import Objective, Row
from benchmarks.speed.peers import COUNSELOR, Fleet
from benchmarks.speed.wire import Answer

BOUND = 256
"""New tokens of a reply, thinking included. Above the packs' `thinks_from`, so that ours thinks as the peers do; nearly
every reply ends by itself before it."""


@dataclass(frozen=True)
class Run:
    """One load of one server in one round. In open loop `at_once` is the rate, rounded."""

    part: str
    server: str
    at_once: int
    number: int
    uses: Sequence[str] = ()
    """What the server is made of, where that is not one process of its name."""

    @property
    def processes(self) -> Sequence[str]:
        return self.uses or [self.server]


@dataclass
class Bench:
    """Given to each part. `fleet` runs what the part needs."""

    fleet: Fleet
    http: aiohttp.ClientSession
    sessions: Sequence[Session]
    rounds: int
    quick: bool
    think: float
    console: Console
    objective: Objective

    def pick(self, count: int, turns: int, seed: str) -> list[Session]:
        """With every prompt rendered: that is the server's work, and must not be the client's while it is measured."""
        chosen = conversations.pick(self.sessions, count, turns, seed=seed)
        for session in chosen:
            for turn in session.turns:
                _ = turn.prompt
        return chosen

    async def closed(self, run: Run, sessions: Sequence[Session], ask: Ask) -> Row:
        """Load a server in closed loop, with all others held still."""
        return await self.measured(run, lambda: driver.closed(sessions, run.at_once, ask, think=self.think))

    async def opened(self, run: Run, rate: float, sessions: Sequence[Session], ask: Ask) -> Row:
        """Likewise, in open loop."""
        seed = f"{run.part}{run.number}"
        return await self.measured(run, lambda: driver.opened(sessions, rate, ask, seed=seed, think=self.think))

    async def measured(self, run: Run, loaded: Callable[[], Awaitable[Load]]) -> Row:
        """What a load of its own kind did, and what it cost the processes."""
        with self.fleet.alone(*run.processes):
            trees = [self.fleet.tree(name) for name in run.processes]
            before = sum(tree.cpu_seconds() for tree in trees)
            load = await loaded()
            spent = sum(tree.cpu_seconds() for tree in trees) - before
            memory = sum(tree.memory_mb() for tree in trees)
        row = measure.row(
            run.part,
            run.server,
            run.at_once,
            run.number,
            load,
            cpu_seconds=spent,
            memory_mb=memory,
            objective=self.objective,
        )
        self.console.log(
            f"{run.part} round {run.number}, {run.server} at {run.at_once}: "
            f"{row.turns_s} turns/s, {row.tokens_s} tokens/s, TTFT {row.ttft_p50:.0f} ms, turn {row.turn_p50:.0f} ms"
            + (f", [red]{row.errors} errors: {row.kinds}[/]" if row.errors else "")
        )
        return row

    def in_turn(self, servers: Sequence[str], number: int) -> list[str]:
        """Who goes first changes from round to round."""
        shift = number % len(servers)
        return [*servers[shift:], *servers[:shift]]


@dataclass(frozen=True)
class Found:
    """What a part has to tell. `facts` holds figures that are no rows of a load."""

    rows: Sequence[Row] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    name: str
    about: str
    needs: tuple[str, ...]
    """Names of `peers.START`."""
    run: Callable[[Bench], Awaitable[Found]]


def plain(bench: Bench, server: str, bound: int = BOUND, **more: Any) -> Ask:
    """LLM Mode's prompt, sent to a server that knows nothing of it."""

    async def ask(_: Session, turn: Turn) -> Answer:
        body = {"model": COUNSELOR, "messages": turn.prompt, "max_completion_tokens": bound, **GREEDY, **more}
        return await wire.chat(bench.http, bench.fleet.url(server), body)

    return ask


def ours(bench: Bench, server: str, model: str, **more: Any) -> Ask:
    """A turn of our server."""

    async def ask(_: Session, turn: Turn) -> Answer:
        body = {"model": model, "messages": turn.messages(), **more}
        return await wire.chat(bench.http, bench.fleet.url(server), body)

    return ask


GREEDY: Mapping[str, float] = {"temperature": 0.0, "frequency_penalty": 0.0}
