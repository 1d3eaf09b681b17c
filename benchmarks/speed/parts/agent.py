"""Agent Mode beside the research client on vLLM's own server: at equal lengths, then at natural ones.

In each round ours answers first, and the client's calls are then made to write as much: of every turn exactly the
tokens that ours took, shared out over the stages as ours were in that load, which its metrics tell. Each round has
turns of its own, so that no prefix cache has met them.
"""

import re
import statistics
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from benchmarks.speed.conversations import Session, Turn
from benchmarks.speed.driver import Ask
from benchmarks.speed.parts.base import Bench, Found, Part, Run
from benchmarks.speed.parts.shipped import calm
from benchmarks.speed.peers import COUNSELOR
from benchmarks.speed.research_client import STAGES, Client, Lengths
from benchmarks.speed.wire import Answer, chat

OURS = "even"
"""As shipped, but that its counselor's engine has the arguments of vLLM's server."""
RESEARCH = "research client"
LEVELS = {1: (8, 2), 4: (12, 2), 16: (96, 1)}
"""At once: conversations, and turns of each. So many that the begin, when all are classified at once, and the end, when
few are left, are little of it."""
NATURAL = 24
"""Turns at the highest level with the lengths that come of themselves."""

_STAGE_TOKENS = re.compile(
    r'^psychechat_tokens_total\{(?=[^}]*kind="generated")[^}]*stage="(\w+)"[^}]*\} (\S+)', re.MULTILINE
)

T = TypeVar("T")
Key = tuple[str, int]
"""A conversation's name and how many utterances a turn has."""


def agent(bench: Bench, server: str, run: str) -> Ask:
    """Each run has sessions of its own, so that no turn meets another run's memory."""

    async def ask(session: Session, turn: Turn) -> Answer:
        body = {
            "model": "psychechat-agent",
            "messages": turn.messages(),
            "metadata": {"session_id": f"{run} {session.name}"},
        }
        return await chat(bench.http, bench.fleet.url(server), body)

    return ask


def research(client: Client, run: str, lengths: dict[Key, Lengths] | None) -> Ask:
    async def ask(session: Session, turn: Turn) -> Answer:
        if lengths is None:
            return await client.turn(f"{run} {session.name}", turn)
        if key(session, turn) not in lengths:
            return Answer("ours failed")
        return await client.turn(f"{run} {session.name}", turn, lengths[key(session, turn)])

    return ask


def key(session: Session, turn: Turn) -> Key:
    return session.name, len(turn.conversation.utterances)


def lengths(tokens: int, rounds: int, shares: Mapping[str, float]) -> Lengths:
    """A turn's tokens, shared out over its stages and their rounds."""
    whole = {stage: round(tokens * shares[stage]) for stage in STAGES[:-1]}
    whole[STAGES[-1]] = tokens - sum(whole.values())
    return {stage: split(count, 1 if stage == "emotion" else rounds) for stage, count in whole.items()}


def split(tokens: int, calls: int) -> list[int]:
    """So many tokens over so many calls, as evenly as they go, at least one each."""
    return [max(1, tokens // calls + (number < tokens % calls)) for number in range(calls)]


async def stage_tokens(bench: Bench, server: str) -> dict[str, int]:
    with bench.fleet.alone(server):
        async with bench.http.get(f"{bench.fleet.url(server)}/metrics") as response:
            text = await response.text()
    return {stage: int(float(count)) for stage, count in _STAGE_TOKENS.findall(text)}


def recorded(ask: Ask, answers: dict[Key, Answer]) -> Ask:
    async def asked(session: Session, turn: Turn) -> Answer:
        answers[key(session, turn)] = answer = await ask(session, turn)
        return answer

    return asked


def shares(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, float]:
    """Of all tokens that a load took, each stage's part."""
    spent = {stage: after.get(stage, 0) - before.get(stage, 0) for stage in STAGES}
    return {stage: tokens / max(1, sum(spent.values())) for stage, tokens in spent.items()}


def forced(answers: Mapping[Key, Answer], parts: Mapping[str, float]) -> dict[Key, Lengths]:
    """For the client: each turn as long as ours was. One of ours that failed has no length."""
    return {
        each: lengths(answer.completion_tokens, (answer.found.get("review") or {}).get("rounds") or 1, parts)
        for each, answer in answers.items()
        if answer.error is None
    }


async def at_equal_lengths(
    bench: Bench,
    run: str,
    ours: str,
    theirs: str,
    answers: dict[Key, Answer],
    asked: Callable[[str, Ask], Awaitable[T]],
) -> dict[str, T]:
    """What comes of asking our server, then the client on `theirs`, which is made to write as much as ours did.

    `answers` is filled with ours.
    """
    before = await stage_tokens(bench, ours)
    found = {OURS: await asked(ours, recorded(agent(bench, ours, run), answers))}
    whole = forced(answers, shares(before, await stage_tokens(bench, ours)))
    client = Client(bench.http, bench.fleet.url(theirs), COUNSELOR)
    found[RESEARCH] = await asked(theirs, research(client, run, whole))
    return found


async def run(bench: Bench) -> Found:
    rows, seen = [], []
    client = Client(bench.http, bench.fleet.url("vllm"), COUNSELOR)
    levels = {level: LEVELS[level] for level in ((1, 4) if bench.quick else LEVELS)}
    for number in range(bench.rounds + 1):  # the first warms up
        for level, (count, turns) in levels.items() if number else [(4, (4, 1))]:
            part, named = "agent" if number else "warm-up", f"equal {number} {level}"
            sessions = (await calm(bench, OURS, bench.pick(2 * count, turns, f"agent {number} {level}")))[:count]
            answers: dict[Key, Answer] = {}
            before = await stage_tokens(bench, OURS)
            ask = recorded(agent(bench, OURS, named), answers)
            found = [await bench.closed(Run(part, OURS, level, number), sessions, ask)]
            after = await stage_tokens(bench, OURS)
            parts = shares(before, after)
            whole = forced(answers, parts)
            ask = research(client, named, whole)
            found.append(await bench.closed(Run(part, RESEARCH, level, number, ["vllm"]), sessions, ask))
            if number:
                rows += found
                seen.append(parts)
    level = max(levels)
    sessions = (await calm(bench, OURS, bench.pick(2 * NATURAL, 1, "agent natural")))[:NATURAL]
    natural = Client(bench.http, bench.fleet.url("vllm"), COUNSELOR)
    for server, ask, uses in (
        (RESEARCH, research(natural, "natural", None), ["vllm"]),
        (OURS, agent(bench, OURS, "natural"), [OURS]),
    ):
        rows.append(await bench.closed(Run("agent-natural", server, level, 1, uses), sessions, ask))
    facts: dict[str, Any] = {
        "stages_share_of_tokens": {
            stage: round(statistics.fmean(parts[stage] for parts in seen), 3) for stage in STAGES
        },
        "natural": {"did_not_parse": dict(natural.failures), "turns_given_up": natural.gave_up},
    }
    return Found(rows, facts)


PART = Part("agent", "Agent Mode beside the sequential research client", ("vllm", OURS), run)
