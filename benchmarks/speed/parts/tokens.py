"""What a turn computes as the conversation grows: prompt tokens at turns 5, 8 and 20, of Agent Mode and of the client.

Each turn follows the one before it, so that the prefix cache holds what it would hold. Without a cache every prompt
token is computed, so that figure is the sum of the prompts. Twenty turns are rare in the data, so conversations are put
one behind the other. Counted are turns whose first draft passed.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.speed import conversations
from benchmarks.speed.conversations import Session
from benchmarks.speed.driver import Ask
from benchmarks.speed.parts.agent import OURS, Key, at_equal_lengths, key
from benchmarks.speed.parts.base import Bench, Found, Part
from benchmarks.speed.wire import Answer

TURNS = (5, 8, 20)
SESSIONS = 5


async def run(bench: Bench) -> Found:
    sessions = conversations.chained(bench.sessions, max(TURNS), 1 if bench.quick else SESSIONS)
    answers: dict[Key, Answer] = {}
    counted = await at_equal_lengths(
        bench, "tokens", OURS, "vllm", answers, lambda server, ask: growth(bench, server, sessions, ask, answers)
    )
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


async def growth(
    bench: Bench, server: str, sessions: Sequence[Session], ask: Ask, ours: Mapping[Key, Answer]
) -> dict[int, list[Answer]]:
    """The answers to the turns that count. Each has the turn before it asked first, which leaves its prefix."""
    found: dict[int, list[Answer]] = {at: [] for at in TURNS}
    with bench.fleet.alone(server):
        for session in sessions:
            for at in TURNS:
                former, turn = session.turns[at - 2 : at]
                await ask(session, former)
                answer = await ask(session, turn)
                if all(in_one_round(ours[key(session, each)]) for each in (former, turn)):
                    found[at].append(answer)
                else:
                    bench.console.log(f"tokens, {server}, turn {at}: left out")
    return found


def in_one_round(answer: Answer) -> bool:
    """A second draft costs a turn twice as much, whenever it comes."""
    return answer.error is None and answer.found["review"]["rounds"] == 1


PART = Part("tokens", "Prompt tokens that a turn computes as the conversation grows", ("vllm", OURS), run)
