"""Input and output of a turn, and what it costs."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any

from psychechat import tracing
from psychechat.concurrency import Clock
from psychechat.conversation import Conversation, Reply, ReplyModeration, TaskKind
from psychechat.engines.base import Usage
from psychechat.pipeline.router import Requested
from psychechat.risk import Severity
from psychechat.safety.reply_moderation import Judging
from psychechat.tracing import Tracer


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """Validated request of a client. `sampling` applies to the reply that the seeker reads, not to the other stages."""

    conversation: Conversation
    requested: Requested
    request_id: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Sampling` that the client set."""
    choices: int = 1
    think: bool = True
    """False: LLM Mode replies without thinking first. True: the pack decides."""
    tells_thinking: bool = True
    """False: the thinking is not shown, even where the policy shows it."""
    tenant: str = ""
    session: str | None = None
    """Session id that the client sent."""
    end_user: str | None = None
    """Speaker's id, as the client sent it."""
    locale: str | None = None
    seconds: float = inf
    """Client's timeout; the policy's limit applies as well."""
    streamed: bool = True
    """Whether the client sees the reply as it is written."""
    moderation: Judging | None = None
    """None: the reply is not moderated."""
    found: Severity | None = None
    """Crisis that was found in a request which breaks a rule: that it is answered at all is for this."""


@dataclass(frozen=True, slots=True)
class Outcome:
    reply: Reply
    usage: Usage
    seconds: Mapping[str, float]
    moderation: tuple[ReplyModeration, ...] | None = None
    """One per choice, judged before a flagged one was replaced; None if not asked for, or if the classifier failed."""
    task: TaskKind | None = None
    """Of a background task, which is no turn."""


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
