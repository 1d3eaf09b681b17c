"""What a turn computes as the conversation grows: prompt tokens at turns 5, 8 and 20, of Agent Mode and of the client.

Each turn follows the one before it, so that the prefix cache holds what it would hold. Without a cache every prompt
token is computed, so that figure is the sum of the prompts. Twenty turns are rare in the data, so conversations are put
one behind the other.
"""

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.speed import conversations
from benchmarks.speed.parts.agent import RESEARCH, agent, research
from benchmarks.speed.parts.base import Bench, Found, Part
from benchmarks.speed.peers import COUNSELOR
from benchmarks.speed.research_client import Client

TURNS = (5, 8, 20)
SESSIONS = 3


async def run(bench: Bench) -> Found:
    sessions = conversations.chained(bench.sessions, max(TURNS), 1 if bench.quick else SESSIONS)
    client = Client(bench.http, bench.fleet.url("vllm"), COUNSELOR)
    asks = {
        RESEARCH: (research(client, "tokens", None), "vllm"),
        "shipped": (agent(bench, "shipped", "tokens"), "shipped"),
    }
    counted: dict[str, dict[int, list[Mapping[str, int]]]] = {}
    for name, (ask, server) in asks.items():
        with bench.fleet.alone(server):
            for session in sessions:
                for at in TURNS:
                    for number in (at - 1, at):  # the one before leaves its prefix
                        answer = await ask(session, session.turns[number - 1])
                    calls = {"prompt": answer.prompt_tokens, "cached": answer.cached_tokens}
                    counted.setdefault(name, {}).setdefault(at, []).append(calls)
                bench.console.log(f"tokens, {name}: {counted[name][max(TURNS)][-1]} at turn {max(TURNS)}")
    facts: dict[str, Any] = {"conversations": len(sessions)}
    for name, turns in counted.items():
        facts[name] = {
            str(at): {
                "prompt": statistics.median(c["prompt"] for c in calls),
                "computed": statistics.median(c["prompt"] - c["cached"] for c in calls),
            }
            for at, calls in turns.items()
        }
    return Found(facts=facts)


PART = Part("tokens", "Prompt tokens that a turn computes as the conversation grows", ("vllm", "shipped"), run)
