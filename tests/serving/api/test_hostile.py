"""Some hundreds of hostile requests, each with a fate that docs/api.md names. `make hostile` sends thousands."""

import asyncio
from typing import Any

from benchmarks.hostile import Found, attack


def test_hostile_requests_are_refused_and_harm_nobody(served: Any) -> None:
    """Seeded, so that a failure is found again. Forty connections dribble bytes meanwhile."""
    found = Found()
    asyncio.run(attack(served.url, 400, seed=1, found=found, dribblers=40))
    found.count(400)
    assert not found.complaints
    assert found.kinds["dear body"] > 3
    assert found.statuses["400"] > 100
    assert len(found.health) > 10
    assert found.statuses["200"] > 10  # what was spoilt does not always matter
    assert served.generator.running == 0
    assert served.http.get("/health").status_code == 200
