"""The third head's word on what a model wrote: whether it may hurt the seeker whom it answers.

Asked of a draft while its review is generated, and of LLM Mode's sentences behind the output guard.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

from psychechat import tracing
from psychechat.concurrency import in_time
from psychechat.conversation import Mode
from psychechat.engines.base import Call, Classifier, Pair
from psychechat.errors import EngineUnavailable
from psychechat.logs import log_kind
from psychechat.pipeline.request import TurnMeter
from psychechat.policy import Policy
from psychechat.telemetry import Metrics

logger = logging.getLogger(__name__)

Judgement = Literal["kind", "hurting", "unknown"]

_STREAM_SECONDS = 2.0
"""The head answers in a small part of one, and a reader waits; a draft waits for its review anyway."""
_SEEKER_CHARACTERS = 4_000
"""Of the seeker's, the last ones: more than the tokens that the head reads of them."""


@dataclass(frozen=True)
class Judge:
    """Of one turn. It never raises: without an answer the judgement is `unknown`, logged and counted."""

    classifier: Classifier
    policy: Policy
    call: Call
    metrics: Metrics
    meter: TurnMeter
    seeker: str
    """All that the drafts answer."""
    is_strict: bool
    """Whether what nobody could judge is refused: in a crisis and in a held conversation."""

    @property
    def is_asked(self) -> bool:
        return self.policy.review.threshold is not None

    def refuses(self, judgement: Judgement) -> bool:
        return judgement == "hurting" or (judgement == "unknown" and self.is_strict)

    async def judge(self, drafts: Sequence[str], mode: Mode) -> list[Judgement]:
        """One judgement a draft, in order; all kind where the policy or the heads know of no hurting ones.

        `mode`: who asks.
        """
        threshold = self.policy.review.threshold
        if threshold is None or not drafts:
            return ["kind"] * len(drafts)
        seconds = self.policy.limits.classify_seconds
        with self.meter.timed("judge"):
            hurting = await self._ask(drafts, min(_STREAM_SECONDS, seconds) if mode == "llm" else seconds)
        if hurting is None:
            return ["kind"] * len(drafts)
        judgements = [_judgement(probability, threshold) for probability in hurting]
        for judgement in judgements:
            self.metrics.judgements.labels(mode, judgement).inc()
        return judgements

    async def _ask(self, drafts: Sequence[str], seconds: float) -> list[float | None] | None:
        """P(hurting) a draft, None for each where it is unknown; None for all if the heads cannot tell."""
        pairs = [Pair(self.seeker[-_SEEKER_CHARACTERS:], draft) for draft in drafts]
        call = replace(self.call, trace=tracing.headers())
        try:
            async with in_time(seconds):
                hurting = await self.classifier.judge(pairs, call)
            if hurting is not None and not all(map(isfinite, hurting)):
                raise EngineUnavailable("The classifier's answer cannot be used.")
        except Exception as error:
            log_kind(logger, self.call.request_id, error, "a draft is not judged")
            return [None] * len(drafts)
        return None if hurting is None else list(hurting)


def _judgement(hurting: float | None, threshold: float) -> Judgement:
    if hurting is None:
        return "unknown"
    return "hurting" if hurting >= threshold else "kind"
