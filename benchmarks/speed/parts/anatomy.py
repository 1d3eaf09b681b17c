"""Where the time of one turn goes: our server's own timings, and what a client waits beyond them."""

import statistics
from collections.abc import Sequence

from benchmarks.speed.parts.agent import agent
from benchmarks.speed.parts.base import BOUND, GREEDY, Bench, Found, Part, ours
from benchmarks.speed.wire import Answer

TURNS = 12


def pieces(answers: Sequence[Answer]) -> dict[str, float]:
    """Mean milliseconds of each piece of a turn. They add up to what the client waited."""
    names = {name for answer in answers for name in answer.found["timings"] if name != "total"}
    spent = {name: statistics.fmean(a.found["timings"].get(name, 0.0) for a in answers) for name in sorted(names)}
    total = statistics.fmean(answer.found["timings"]["total"] for answer in answers)
    spent["pipeline"] = total - sum(spent.values())
    spent["http"] = statistics.fmean(answer.seconds for answer in answers) - total
    if "reply" in spent:
        words = statistics.fmean(answer.deltas[0] for answer in answers)
        first = max(0.0, words - spent.get("classify", 0.0) - spent.get("queue", 0.0) - spent["http"])
        spent["reply: first words"] = min(first, spent["reply"])
        spent["reply: the rest"] = spent.pop("reply") - spent["reply: first words"]
    return {name: round(1000 * seconds, 2) for name, seconds in spent.items()}


async def run(bench: Bench) -> Found:
    asks = {
        "LLM Mode": ours(bench, "shipped", "psychechat-llm", max_completion_tokens=BOUND, **GREEDY),
        "Agent Mode": agent(bench, "shipped", "anatomy"),
    }
    facts = {}
    sessions = bench.pick(4 if bench.quick else TURNS, 1, "anatomy")
    for mode, ask in asks.items():
        with bench.fleet.alone("shipped"):
            answers = [await ask(session, session.turns[0]) for session in sessions]
        wanted = "agent" if mode == "Agent Mode" else "llm"
        kept = [a for a in answers if a.error is None and a.found["mode"] == wanted and a.deltas]
        facts[mode] = {"turns": len(kept), "ms": pieces(kept)}
        bench.console.log(f"One turn of {mode}: {facts[mode]}")
    return Found(facts=facts)


PART = Part("anatomy", "Where the milliseconds of one turn go", ("shipped",), run)
