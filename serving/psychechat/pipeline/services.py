"""What turns are made with."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from psychechat.admission.lanes import Admission
from psychechat.admission.quotas import Quotas
from psychechat.concurrency import Clock
from psychechat.emotion import Language
from psychechat.engines.base import Classifier, Generator
from psychechat.memory.base import Keys, Memory
from psychechat.policy import Policy
from psychechat.prompts.pack import Pack
from psychechat.safety.escalation import Escalations
from psychechat.telemetry import Metrics
from psychechat.tracing import OFF, Tracer
from psychechat.versions import short_hash


@dataclass
class Pipeline:
    """One a replica. Only `policy` is ever replaced, whole, between turns."""

    classifier: Classifier
    counselor: Generator
    seeker: Generator
    packs: Mapping[Language, Pack]
    memory: Memory
    metrics: Metrics
    policy: Policy
    default_language: Language = "en"
    memory_keys: Keys = field(default_factory=lambda: Keys(secrets.token_bytes(32)))
    escalations: Escalations | None = None
    tracer: Tracer = OFF
    wall_clock: Clock = time.time
    """Unix time in seconds: deadlines are told to engines on other machines."""
    monotonic: Clock = time.monotonic
    """Seconds that never jump, for how long something takes."""
    max_sequences: Callable[[], int] = lambda: 64
    """Sequences that the engines may run at once for this pipeline, now."""
    weights: str = "none"
    """The version of the engines' weights."""
    admission: Admission = field(init=False)
    quotas: Quotas = field(init=False)
    _named: tuple[Policy, str] | None = field(init=False, default=None)
    """The policy in use and the fingerprint with it: to hash a whole policy takes too long for every request."""

    def __post_init__(self) -> None:
        self.admission = Admission(self.max_sequences, lambda: self.policy, self.metrics, self.monotonic)
        self.quotas = Quotas(lambda: self.policy, self.metrics, self.monotonic)

    @property
    def fingerprint(self) -> str:
        """What replies are made with: weights, packs and policy. A part that changes changes its third of this."""
        if self._named is None or self._named[0] is not self.policy:
            packs = short_hash(*(pack.version for _, pack in sorted(self.packs.items())))
            self._named = self.policy, f"fp_{self.weights}_{packs}_{self.policy.version}"
        return self._named[1]

    @property
    def min_reply_tokens(self) -> int:
        """The fewest in which any pack's reply may come."""
        return max(pack.min_reply_tokens for pack in self.packs.values())
