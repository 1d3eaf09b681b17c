"""A minute at more than the server can do. `make overload` does ten, and says what is left of its goodput."""

import asyncio
import random

import httpx

from benchmarks.overload import closed, opened, summary
from benchmarks.servers import Server


def test_at_more_than_its_capacity_no_crisis_is_refused_and_nothing_is_cut(server: Server) -> None:
    """Half of what comes cannot be served, whatever the machine. It is refused, never answered in part."""
    chance = random.Random(5)

    async def overloaded() -> None:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=100, limits=httpx.Limits(max_connections=None)
        ) as client:
            capacity = summary(await closed(client, 13, 15.0, chance), 15.0)
            rate = max(4.0, 3 * capacity["goodput_a_second"])
            found = summary(await opened(client, rate, 30.0, chance), 30.0)
        assert capacity["goodput_a_second"] > 0
        assert set(found["statuses"]) <= {"200", "429"}, found
        assert found["statuses"]["429"] > 0
        assert found["not_whole"] == 0
        assert found["crisis"]["turns"] > 0
        assert found["crisis"]["not_answered"] == 0

    asyncio.run(overloaded())
