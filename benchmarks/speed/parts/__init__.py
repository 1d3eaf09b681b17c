"""The parts of the benchmark, in the order in which the servers that they need are started and stopped least."""

from collections.abc import Sequence

from benchmarks.speed.parts import (
    agent,
    anatomy,
    classification,
    engine,
    pressure,
    ready,
    relay,
    scale,
    shipped,
    tokens,
)
from benchmarks.speed.parts.base import Bench, Found, Part

__all__ = ["PARTS", "Bench", "Found", "Part"]

PARTS: Sequence[Part] = (
    relay.PART,
    shipped.PART,
    classification.PART,
    agent.PART,
    tokens.PART,
    pressure.PART,
    engine.PART,
    anatomy.PART,
    ready.PART,
    scale.PART,
)
