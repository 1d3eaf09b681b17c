"""Services that turns share, one set per ingress replica."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cachetools import LRUCache

from psychechat import ngrams
from psychechat.admission.lanes import Admission
from psychechat.admission.quotas import Quotas
from psychechat.concurrency import Clock
from psychechat.conversation import Assessment
from psychechat.emotion import Language
from psychechat.engines.base import Classifier
from psychechat.engines.cast import Cast
from psychechat.memory.base import Keys, Memory
from psychechat.memory.crisis_lines import CrisisLines
from psychechat.policy import Policy
from psychechat.prompts.pack import Pack
from psychechat.safety.escalation import Escalations
from psychechat.telemetry import Metrics
from psychechat.tracing import OFF, Tracer
from psychechat.versions import short_hash

_READ_LINES = 20_000


@dataclass
class Pipeline:
    """Engines, packs, memory and the rest of what a turn uses. Only `policy` is ever replaced, as a whole."""

    classifier: Classifier
    casts: Mapping[Language, Cast]
    """Who generates, by the language of a turn's conversation."""
    packs: Mapping[Language, Pack]
    memory: Memory
    metrics: Metrics
    policy: Policy
    default_language: Language = "en"
    memory_keys: Keys = field(default_factory=lambda: Keys(secrets.token_bytes(32)))
    episode_keys: Keys = field(default_factory=lambda: Keys(secrets.token_bytes(32)))
    """Name what events are of. Those of the webhook's secret, so that a restart gives the same names."""
    escalations: Escalations | None = None
    tracer: Tracer = OFF
    monotonic: Clock = time.monotonic
    """Seconds, for durations and deadlines; the engines' calls are compared by the same clock."""
    max_sequences: Callable[[str], int] = lambda lane: 64
    """Sequences that the engines may run at once for this pipeline, by lane; a function, since replicas come and go."""
    read_lines: LRUCache[str, Assessment] = field(default_factory=lambda: LRUCache(_READ_LINES))
    """The classifier's readings by a line's keyed hash: where memory is lost, each line is read again once."""
    weights: str = "none"
    """Version of the engines' weights."""
    admission: Admission = field(init=False)
    quotas: Quotas = field(init=False)
    crisis_lines: CrisisLines = field(init=False)
    """Of turns; a background task that quotes one raises no event."""
    _named: tuple[Policy, str] | None = field(init=False, default=None)
    """Cache of the fingerprint for the policy in use; hashing a policy per request is too slow."""

    def __post_init__(self) -> None:
        ngrams.told("")  # its file is read now, not while a seeker waits
        lanes = dict.fromkeys(cast.lane for cast in self.casts.values())
        self.admission = Admission(lanes, self.max_sequences, lambda: self.policy, self.metrics, self.monotonic)
        self.quotas = Quotas(lambda: self.policy, self.metrics, self.monotonic)
        self.crisis_lines = CrisisLines(self.memory_keys, self.monotonic)

    @property
    def fingerprint(self) -> str:
        """Value of `system_fingerprint`: fp_<weights>_<packs>_<policy>."""
        if self._named is None or self._named[0] is not self.policy:
            packs = short_hash(ngrams.version(), *(pack.version for _, pack in sorted(self.packs.items())))
            self._named = self.policy, f"fp_{self.weights}_{packs}_{self.policy.version}"
        return self._named[1]
