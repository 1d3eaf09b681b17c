"""What turns are made with."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from psychechat.emotion import Language
from psychechat.engines.base import Classifier, Generator
from psychechat.memory.base import Keys, Memory
from psychechat.pipeline.admission import Admission
from psychechat.pipeline.escalation import Escalations
from psychechat.pipeline.packs import Pack
from psychechat.pipeline.quotas import Quotas
from psychechat.policy import Policy
from psychechat.telemetry import Metrics
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
    keys: Keys = field(default_factory=lambda: Keys(secrets.token_bytes(32)))
    escalations: Escalations | None = None
    generations: int = 64
    """Sequences that the engines may run at once for this pipeline."""
    weights: str = "none"
    """The version of the engines' weights."""
    admission: Admission = field(init=False)
    quotas: Quotas = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.generations, lambda: self.policy, self.metrics)
        self.quotas = Quotas(lambda: self.policy, self.metrics)

    @property
    def fingerprint(self) -> str:
        """What replies are made with: weights, packs and policy. A part that changes changes its third of this."""
        packs = short_hash(*(pack.version for _, pack in sorted(self.packs.items())))
        return f"fp_{self.weights}_{packs}_{self.policy.version}"

    @property
    def least_tokens(self) -> int:
        """The fewest in which any pack's reply may come."""
        return max(pack.least_tokens for pack in self.packs.values())
