"""LLM Mode as a plain relay beside vLLM's own server and Ray Serve LLM: what our serving layer alone costs."""

from benchmarks.speed.driver import Ask
from benchmarks.speed.parts.base import BOUND, GREEDY, Bench, Found, Part, Run, ours, plain

SERVERS = ("vllm", "ray-serve-llm", "relay")
LEVELS = {1: (6, 2), 4: (12, 2), 16: (64, 2), 64: (256, 1)}
"""At once: conversations, and turns of each. Each load lasts seconds: shorter ones differed by half between rounds."""
RATE = 0.6
"""Of vLLM's turns a second at 16: what comes in open loop."""


async def run(bench: Bench) -> Found:
    asks: dict[str, Ask] = {
        "vllm": plain(bench, "vllm"),
        "ray-serve-llm": plain(bench, "ray-serve-llm"),
        "relay": ours(bench, "relay", "psychechat-llm", max_completion_tokens=BOUND, **GREEDY),
    }
    levels = {level: LEVELS[level] for level in ((1, 4) if bench.quick else LEVELS)}
    for server in SERVERS:
        for level in levels:
            await bench.closed(Run("warm-up", server, level, 0), bench.pick(level, 1, "warm"), asks[server])
    rows, opened = [], []
    for number in range(1, bench.rounds + 1):
        for level, (count, turns) in levels.items():
            sessions = bench.pick(count, turns, f"relay {number} {level}")
            for server in bench.in_turn(SERVERS, number):
                rows.append(await bench.closed(Run("relay", server, level, number), sessions, asks[server]))
    pace = max(row.turns_s for row in rows if row.server == "vllm")
    for number in range(1, bench.rounds + 1):
        sessions = bench.pick(16 if bench.quick else 40, 1, f"open {number}")
        for server in bench.in_turn(SERVERS, number):
            rate = RATE * pace
            opened.append(await bench.opened(Run("open", server, round(rate), number), rate, sessions, asks[server]))
    return Found([*rows, *opened], {"open_rate": round(RATE * pace, 2)})


PART = Part("relay", "LLM Mode as a plain relay beside vLLM's server and Ray Serve LLM", SERVERS, run)
