"""Cost of a turn: seconds per stage, and tokens."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psychechat import tracing
from psychechat.concurrency import Clock
from psychechat.engines.base import Usage
from psychechat.tracing import Tracer


@dataclass
class TurnMeter:
    """Filled in by the turn's stages. The reply's timings, the metrics and the spans are read from it."""

    tracer: Tracer = tracing.OFF
    clock: Clock = time.monotonic
    usage: Usage = field(default_factory=Usage)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Per stage; several runs of a stage add up."""

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def elapsed(self) -> float:
        return self.clock() - self._started

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = self.clock()
        try:
            with tracing.span(self.tracer, stage):
                yield
        finally:
            self.seconds[stage] += self.clock() - start
