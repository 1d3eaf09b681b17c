"""Agent Mode beside the research client on vLLM's own server: at equal lengths, then at natural ones.

For equal lengths our server answers every turn once, alone, and its metrics tell how many tokens each stage took; the
client's calls are then made to write exactly as many. Ours decodes greedily and so writes them again.
"""

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.speed.conversations import Session, Turn
from benchmarks.speed.driver import Ask
from benchmarks.speed.parts.base import Bench, Found, Part
from benchmarks.speed.parts.shipped import calm
from benchmarks.speed.peers import COUNSELOR
from benchmarks.speed.research_client import STAGES, Client, Lengths
from benchmarks.speed.wire import Answer, chat

RESEARCH = "research client"
LEVELS = {1: (2, 2), 4: (6, 2), 16: (24, 1)}
"""At once: conversations, and turns of each."""

_STAGE_TOKENS = re.compile(
    r'^psychechat_tokens_total\{(?=[^}]*kind="generated")[^}]*stage="(\w+)"[^}]*\} (\S+)', re.MULTILINE
)

Key = tuple[str, int]
"""A conversation's name and how many utterances a turn has."""


def agent(bench: Bench, server: str, run: str) -> Ask:
    """Each run has sessions of its own, so that no turn meets another run's memory."""

    async def ask(session: Session, turn: Turn) -> Answer:
        body = {
            "model": "psychechat-agent",
            "messages": turn.messages(),
            "prompt_cache_key": f"{run} {session.name}",
        }
        return await chat(bench.http, bench.fleet.url(server), body)

    return ask


def research(client: Client, run: str, lengths: dict[Key, Lengths] | None) -> Ask:
    async def ask(session: Session, turn: Turn) -> Answer:
        forced = None if lengths is None else lengths[key(session, turn)]
        return await client.turn(f"{run} {session.name}", turn, forced)

    return ask


def key(session: Session, turn: Turn) -> Key:
    return session.name, len(turn.conversation.utterances)


async def record(bench: Bench, server: str, sessions: Sequence[Session]) -> dict[Key, Lengths]:
    """Tokens that each stage of each turn takes, one turn after the other."""
    lengths: dict[Key, Lengths] = {}
    ask = agent(bench, server, "record")
    with bench.fleet.alone(server):
        before = await stage_tokens(bench, server)
        for session in sessions:
            for turn in session.turns:
                answer = await ask(session, turn)
                after = await stage_tokens(bench, server)
                spent = {stage: after.get(stage, 0) - before.get(stage, 0) for stage in STAGES}
                rounds = max(1, (answer.found.get("review") or {}).get("rounds") or 1)
                lengths[key(session, turn)] = {
                    stage: split(tokens, 1 if stage == "emotion" else rounds) for stage, tokens in spent.items()
                }
                before = after
    return lengths


def split(tokens: int, calls: int) -> list[int]:
    """So many tokens over so many calls, as evenly as they go, at least one each."""
    return [max(1, tokens // calls + (number < tokens % calls)) for number in range(calls)]


async def stage_tokens(bench: Bench, server: str) -> dict[str, int]:
    async with bench.http.get(f"{bench.fleet.url(server)}/metrics") as response:
        text = await response.text()
    return {stage: int(float(count)) for stage, count in _STAGE_TOKENS.findall(text)}


async def run(bench: Bench) -> Found:
    rows = []
    client = Client(bench.http, bench.fleet.url("vllm"), COUNSELOR)
    levels = {level: LEVELS[level] for level in ((1, 4) if bench.quick else LEVELS)}
    plan = {}
    for level, (count, turns) in levels.items():
        sessions = await calm(bench, "shipped", bench.pick(2 * count, turns, f"agent {level}"))
        plan[level] = sessions[:count]
    every = {session.name: session for sessions in plan.values() for session in sessions}
    longest = {
        name: max((s for sessions in plan.values() for s in sessions if s.name == name), key=lambda s: len(s.turns))
        for name in every
    }
    bench.console.log(f"Recording the stages' lengths over {sum(len(s.turns) for s in longest.values())} turns")
    lengths = await record(bench, "shipped", list(longest.values()))
    for number in range(1, bench.rounds + 1):
        for level, sessions in plan.items():
            named = f"equal {number} {level}"
            asks: dict[str, tuple[Ask, list[str]]] = {
                RESEARCH: (research(client, named, lengths), ["vllm"]),
                "shipped": (agent(bench, "shipped", named), ["shipped"]),
            }
            for server in bench.in_turn(tuple(asks), number):
                ask, uses = asks[server]
                rows.append(await bench.closed("agent", server, uses, level, number, sessions, ask))
    level = max(plan)
    natural = Client(bench.http, bench.fleet.url("vllm"), COUNSELOR)
    for server, ask, uses in (
        (RESEARCH, research(natural, "natural", None), ["vllm"]),
        ("shipped", agent(bench, "shipped", "natural"), ["shipped"]),
    ):
        rows.append(await bench.closed("agent-natural", server, uses, level, 1, plan[level], ask))
    facts: dict[str, Any] = {
        "stage_tokens_mean": {
            stage: round(sum(sum(one[stage]) for one in lengths.values()) / len(lengths), 1) for stage in STAGES
        },
        "natural": {"did_not_parse": dict(natural.failures), "turns_given_up": natural.gave_up},
    }
    return Found(rows, facts)


PART = Part("agent", "Agent Mode beside the sequential research client", ("vllm", "shipped"), run)
