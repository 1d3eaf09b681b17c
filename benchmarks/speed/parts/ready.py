"""How long `psychechat serve` takes until it is ready, from a warm cache, with nothing beside it."""

from benchmarks.speed.parts.base import Bench, Found, Part


async def run(bench: Bench) -> Found:
    for _ in range(1 if bench.quick else bench.rounds - 1):
        bench.fleet.up([])
        bench.fleet.up(["shipped"])
    return Found(facts={"seconds": bench.fleet.start_seconds["shipped"]})


PART = Part("ready", "Seconds until `psychechat serve` is ready, from a warm cache", ("shipped",), run)
