"""More than the server can do, for a while. `make overload` does ten minutes, and says what is left of its goodput."""

import asyncio
import random
import time
from functools import partial
from typing import Any

import pytest

from benchmarks.overload.client import asking
from benchmarks.overload.conversations import drawn
from benchmarks.overload.load import opened
from benchmarks.overload.summary import summary
from tests.support.durations import load_seconds
from tests.support.servers import Server

RATE = 40.0
"""Turns a second, several times what two cores can do, and what the queue holds."""


def test_at_more_than_its_capacity_no_crisis_is_refused_and_nothing_is_cut(
    server: Server, pytestconfig: pytest.Config
) -> None:
    """What cannot be served is refused, never answered in part."""

    seconds = load_seconds(pytestconfig)

    async def overloaded() -> dict[str, Any]:
        begin, chance = time.monotonic(), random.Random(5)
        async with asking(server.url) as client:
            ended = await opened(client, RATE, seconds, chance, partial(drawn, chance))
            return summary(ended, begin, begin + seconds)

    found = asyncio.run(overloaded())
    assert found["statuses"]["200"] > 0
    assert found["statuses"]["429"] > 0, found
    # The demo counselor now and then writes nothing that can be used.
    assert found["statuses"].get("500", 0) + found["failed"] <= 0.02 * found["statuses"]["200"], found
    assert set(found["statuses"]) <= {"200", "429", "500"}, found
    assert found["cut"] == 0
    assert found["crisis"]["turns"] > 0
    # What only the classifier can tell is refused unread if there is no room at the classifier.
    assert found["crisis"]["not_answered"] == found["veiled"]["refused"]
