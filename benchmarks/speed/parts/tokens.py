"""What a turn computes as the conversation grows: prompt tokens at turns 5, 8 and 20, of Agent Mode and of the client.

Each turn follows the one before it, so that the prefix cache holds what it would hold. Without a cache every prompt
token is computed, so that figure is the sum of the prompts. Twenty turns are rare in the data, so conversations are put
one behind the other.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.speed import conversations
from benchmarks.speed.conversations import Session
from benchmarks.speed.driver import Ask
from benchmarks.speed.parts.agent import (
    OURS,
    RESEARCH,
    Key,
    agent,
    forced,
    recorded,
    research,
    shares,
    stage_tokens,
)
from benchmarks.speed.parts.base import Bench, Found, Part
from benchmarks.speed.peers import COUNSELOR
from benchmarks.speed.research_client import Client
from benchmarks.speed.wire import Answer

TURNS = (5, 8, 20)
SESSIONS = 3


async def run(bench: Bench) -> Found:
    sessions = conversations.chained(bench.sessions, max(TURNS), 1 if bench.quick else SESSIONS)
    answers: dict[Key, Answer] = {}
    before = await stage_tokens(bench, OURS)
    counted = {OURS: await growth(bench, OURS, sessions, recorded(agent(bench, OURS, "tokens"), answers))}
    whole = forced(answers, shares(before, await stage_tokens(bench, OURS)))
    client = Client(bench.http, bench.fleet.url("vllm"), COUNSELOR)
    counted[RESEARCH] = await growth(bench, "vllm", sessions, research(client, "tokens", whole))
    facts: dict[str, Any] = {"conversations": len(sessions)}
    for name, turns in counted.items():
        facts[name] = {
            str(at): {
                "prompt": statistics.median(a.prompt_tokens for a in found),
                "computed": statistics.median(a.prompt_tokens - a.cached_tokens for a in found),
                "of": len(found),
            }
            for at, found in turns.items()
        }
        bench.console.log(f"tokens, {name}: {facts[name]}")
    return Found(facts=facts)


async def growth(bench: Bench, server: str, sessions: Sequence[Session], ask: Ask) -> dict[int, list[Answer]]:
    """The answers to the turns that count. Each has the turn before it asked first, which leaves its prefix."""
    found: dict[int, list[Answer]] = {at: [] for at in TURNS}
    with bench.fleet.alone(server):
        for session in sessions:
            for at in TURNS:
                for number in (at - 1, at):
                    answer = await ask(session, session.turns[number - 1])
                    if answer.error:
                        bench.console.log(f"tokens, {server}, turn {number}: [red]{answer.error}[/]")
                if answer.error is None:
                    found[at].append(answer)
    return found


PART = Part("tokens", "Prompt tokens that a turn computes as the conversation grows", ("vllm", OURS), run)
