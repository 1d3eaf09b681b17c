"""Loads of one server, each of so many seconds: LLM Mode, Agent Mode, classification alone and under load."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.speed import driver, measure, wire
from benchmarks.speed.conversations import Session
from benchmarks.speed.driver import Ask
from benchmarks.speed.measure import Row
from benchmarks.speed.parts.agent import Key, agent, recorded, research, shares, stage_tokens
from benchmarks.speed.parts.agent import lengths as lengths_of
from benchmarks.speed.parts.base import Bench, Run, ours, plain
from benchmarks.speed.peers import COUNSELOR
from benchmarks.speed.research_client import Client
from benchmarks.speed.wire import Answer

BOUND = 192
"""New tokens of LLM Mode's reply. Random weights reach it every time, so both sides write the same. Below the pack's
`thinks_from`, so nobody thinks."""
DRAWN: Mapping[str, Any] = {"temperature": 1.0, "frequency_penalty": 0.0}
CLASSIFY_RATE, REHEARSED_RATE = 20.0, 1.0
"""Messages a second that come to be classified, at random moments, one to a request; and what a CPU can bear."""
SESSIONS = 400


@dataclass(frozen=True)
class Load:
    """One load: what is asked, by how many at once, and its share of a server's time."""

    kind: str
    at_once: int
    share: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.at_once}"


def loads(server: str, *, rehearse: bool) -> tuple[Load, ...]:
    """In their order. The highest level is no more than what crises leave of the configuration's sequences."""
    llm, agents = ((1, 4), (1, 2)) if rehearse else ((1, 16, 64, 128), (1, 16, 64))
    asked = (Load("warm-up", min(llm[-1], 16), 0.7), *(Load("llm", level) for level in llm))
    asked += tuple(Load("agent", level, 1.5) for level in agents)
    if server == "ours":
        asked += (Load("classify", 0, 0.7), Load("classify", llm[-2], 1.5))
    return asked


async def run(
    bench: Bench, server: str, load: Load, sessions: Sequence[Session], seconds: float, theirs: Mapping[str, Any]
) -> dict[str, Any]:
    """A row, and for Agent Mode how long its turns were. `theirs`: by a load's name, what our server's turns were like,
    which the research client is made to match on vLLM's.
    """
    if load.kind == "classify":
        return await _classified(bench, server, load, sessions, seconds)
    if load.kind == "agent" and server == "ours":
        return await _agent(bench, server, load, sessions, seconds)
    if load.kind == "agent":
        if load.name not in theirs:
            return {"load": load.name, "skipped": "our server's turns, whose lengths it would take, were not measured"}
        return {"load": load.name, **theirs[load.name]} | _row(
            await _closed(bench, server, load, sessions, seconds, _sequential(bench, server, theirs[load.name]))
        )
    return {"load": load.name} | _row(await _closed(bench, server, load, sessions, seconds, llm(bench, server)))


def llm(bench: Bench, server: str) -> Ask:
    if server == "ours":
        return ours(bench, server, "psychechat-llm", max_completion_tokens=BOUND, **DRAWN)
    return plain(bench, server, BOUND, **DRAWN, chat_template_kwargs={"enable_thinking": False})


async def _closed(bench: Bench, server: str, load: Load, sessions: Sequence[Session], seconds: float, ask: Ask) -> Row:
    run = Run(load.kind, server, load.at_once, 1)
    return await bench.measured(run, partial(driver.closed, sessions, load.at_once, ask, seconds=seconds))


async def _agent(bench: Bench, server: str, load: Load, sessions: Sequence[Session], seconds: float) -> dict[str, Any]:
    answers: dict[Key, Answer] = {}
    before = await stage_tokens(bench, server)
    ask = recorded(agent(bench, server, load.name), answers)
    row = await _closed(bench, server, load, sessions, seconds, ask)
    parts = shares(before, await stage_tokens(bench, server))
    whole = [answer for answer in answers.values() if answer.error is None]
    told: dict[str, Any] = {"load": load.name}
    if whole:
        rounds = [(answer.found.get("review") or {}).get("rounds") or 1 for answer in whole]
        told |= {
            "tokens_per_turn": round(sum(answer.completion_tokens for answer in whole) / len(whole)),
            "rounds_per_turn": round(sum(rounds) / len(rounds), 2),
            "stages_share_of_tokens": {stage: round(part, 3) for stage, part in parts.items()},
        }
    return told | _row(row)


def _sequential(bench: Bench, server: str, turns: Mapping[str, Any]) -> Ask:
    """The research client. Each turn is as long as ours were on average, in as many rounds."""
    client = Client(bench.http, bench.fleet.url(server), COUNSELOR)
    forced = lengths_of(turns["tokens_per_turn"], round(turns["rounds_per_turn"]), turns["stages_share_of_tokens"])

    async def ask(session: Session, turn: Any) -> Answer:
        key = (session.name, len(turn.conversation.utterances))
        return await research(client, "gpu", {key: forced})(session, turn)

    return ask


async def _classified(
    bench: Bench, server: str, load: Load, sessions: Sequence[Session], seconds: float
) -> dict[str, Any]:
    """What one message's classification takes, with nobody else there or with LLM Mode at this level beside it."""
    texts = [turn.newest for session in sessions for turn in session.turns]
    rate = REHEARSED_RATE if bench.quick else CLASSIFY_RATE
    told: dict[str, Any] = {"load": load.name, "rate": rate}
    if load.at_once:
        beside = _closed(bench, server, load, sessions, seconds, llm(bench, server))
        row, times = await asyncio.gather(beside, classify(bench, server, texts, seconds, rate))
        told["beside"] = {"turns_s": row.turns_s, "tokens_s": row.tokens_s, "errors": row.errors}
    else:
        times = await classify(bench, server, texts, seconds, rate)
    kinds = Counter(wrong for wrong, _ in times if wrong is not None)
    took = [seconds for wrong, seconds in times if wrong is None]
    p50, p90, p99 = measure.percentiles(took)
    told |= {"texts": len(times), "errors": kinds.total(), "kinds": dict(kinds)}
    return told | {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99}


async def classify(
    bench: Bench, server: str, texts: Sequence[str], seconds: float, rate: float
) -> list[tuple[str | None, float]]:
    """What went wrong, if anything, and the seconds of each message, whatever became of those before it."""
    chance, until = random.Random(0), time.perf_counter() + seconds
    url = f"{bench.fleet.url(server)}/v1/classify"

    async def one(text: str) -> tuple[str | None, float]:
        started = time.perf_counter()
        wrong, _ = await wire.post(bench.http, url, {"model": "psychechat", "input": [text]})
        return wrong, time.perf_counter() - started

    tasks = []
    while time.perf_counter() < until:
        tasks.append(asyncio.create_task(one(chance.choice(texts))))
        await asyncio.sleep(chance.expovariate(rate))
    return await asyncio.gather(*tasks)


def _row(row: Row) -> dict[str, Any]:
    return dict(measure.as_rows([row])[0])
