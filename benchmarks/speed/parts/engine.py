"""Agent Mode with what ours adds to vLLM's engine on a CPU, and without: jump-forward decoding and sparse penalties.

Both answer the same turns, greedily, so they write the same tokens.
"""

from benchmarks.speed.parts.agent import OURS, agent
from benchmarks.speed.parts.base import Bench, Found, Part, Run
from benchmarks.speed.parts.shipped import calm

BARE = "even-bare"
SERVERS = (BARE, OURS)
LEVELS = {1: (8, 2), 16: (96, 1)}


async def run(bench: Bench) -> Found:
    rows = []
    levels = {level: LEVELS[level] for level in ((1,) if bench.quick else LEVELS)}
    for number in range(bench.rounds + 1):  # the first warms up
        for level, (count, turns) in levels.items() if number else [(4, (4, 1))]:
            sessions = (await calm(bench, OURS, bench.pick(2 * count, turns, f"engine {number} {level}")))[:count]
            for server in bench.in_turn(SERVERS, number):
                ask = agent(bench, server, f"engine {number} {level}")
                found = await bench.closed(Run("engine", server, level, number), sessions, ask)
                rows += [found] if number else []
    return Found(rows)


PART = Part("engine", "Agent Mode with and without what our engine adds to vLLM's on a CPU", SERVERS, run)
