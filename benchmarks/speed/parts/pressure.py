"""Prefix-cache hits where the engine has KV memory for a quarter of the conversations that come in turn.

First everybody's turn `TURNS[0]`, then everybody's turn `TURNS[1]`, whose hits are counted: by then what the others
computed has driven out what a conversation left. Agent Mode and the research client have as much memory each, and the
client writes as many tokens. The same once more with ample memory, to compare.

There are as many conversations as four times the memory holds on our server. What one holds is what its first turn
computes and writes, for nothing of it was there before. The client needs more: each of its stages has its own copy of
the history.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.speed import conversations
from benchmarks.speed.conversations import Session
from benchmarks.speed.driver import Ask
from benchmarks.speed.parts.agent import OURS, agent, at_equal_lengths
from benchmarks.speed.parts.base import Bench, Found, Part
from benchmarks.speed.parts.shipped import calm
from benchmarks.speed.peers import LITTLE_TOKENS
from benchmarks.speed.wire import Answer

LITTLE, LITTLE_VLLM = "even-little", "vllm-little"
TIMES = 4
"""So often the memory would have to be there."""
TURNS = (5, 6)
CHARACTERS = 600
"""Of a conversation at most: its prompt and what our server keeps free for the answers must fit into
`LITTLE_TOKENS`. So short are only Chinese ones."""
MOST = 60


async def run(bench: Bench) -> Found:
    sessions = await calm(bench, LITTLE, candidates(bench.sessions))
    sessions = await crowd(bench, sessions, agent(bench, LITTLE, "crowd"))
    facts: dict[str, Any] = {"conversations": len(sessions), "memory_tokens": LITTLE_TOKENS}
    facts["ample"] = await both(bench, sessions, OURS, "vllm")
    bench.fleet.up((LITTLE, LITTLE_VLLM))
    facts["little"] = await both(bench, sessions, LITTLE, LITTLE_VLLM)
    bench.console.log(f"pressure: {facts}")
    return Found(facts=facts)


def candidates(sessions: Sequence[Session]) -> list[Session]:
    """Conversations that are long enough, each once, with their two turns."""
    picked = conversations.pick(sessions, MOST, max(TURNS), seed="pressure", characters=CHARACTERS)
    once = {session.name: session for session in picked if len(session.turns) == max(TURNS)}
    return [session.part(*TURNS) for session in once.values()]


async def crowd(bench: Bench, sessions: Sequence[Session], ask: Ask) -> list[Session]:
    """The first ones that need `TIMES` as much as there is. Raises RuntimeError if all of them need less."""
    needed = 0
    with bench.fleet.alone(LITTLE):
        for count, session in enumerate(sessions, 1):
            answer = await ask(session, session.turns[0])
            needed += answer.prompt_tokens - answer.cached_tokens + answer.completion_tokens
            if needed >= TIMES * LITTLE_TOKENS:
                return list(sessions[:count])
    raise RuntimeError(f"{len(sessions)} conversations of {max(TURNS)} turns are too few to fill the memory")


async def both(bench: Bench, sessions: Sequence[Session], ours: str, theirs: str) -> dict[str, Any]:
    found = await at_equal_lengths(
        bench, "pressure", ours, theirs, {}, lambda server, ask: in_turn(bench, server, sessions, ask)
    )
    return {name: hits(each) for name, each in found.items()}


async def in_turn(bench: Bench, server: str, sessions: Sequence[Session], ask: Ask) -> list[Answer]:
    """One turn of all, then the next of all; the answers to the last."""
    answers: list[Answer] = []
    with bench.fleet.alone(server):
        for number in range(len(TURNS)):
            answers = [await ask(session, session.turns[number]) for session in sessions]
    return answers


def hits(answers: Sequence[Answer]) -> Mapping[str, float]:
    """Of the turns that were answered."""
    whole = [answer for answer in answers if answer.error is None]
    prompt, cached = sum(a.prompt_tokens for a in whole), sum(a.cached_tokens for a in whole)
    return {
        "rate": round(cached / max(1, prompt), 3),
        "computed_a_turn": round((prompt - cached) / max(1, len(whole))),
        "of": len(whole),
    }


PART = Part(
    "pressure",
    "Prefix-cache hits with KV memory for a quarter of the conversations",
    ("vllm", OURS, LITTLE),
    run,
)
