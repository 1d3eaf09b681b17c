"""Judging a reply by the classifier, for clients that ask for it beside the turn."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from psychechat.admission.lanes import Lane, Rank, tokens
from psychechat.engines.base import Call, Classifier
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat.safety import crisis

logger = logging.getLogger(__name__)

Judging = Literal["score", "block"]
"""Whether a flagged reply only says so, or stays here."""


_TO_SPARE = 0.1
"""Seconds of the turn's time that are left for the reply to leave in."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the risk head says of one text; never less than a crisis where the backstop has hit."""

    severity: Severity
    risk: Mapping[Severity, float]

    @property
    def flagged(self) -> bool:
        return self.severity >= CRISIS


async def judge(
    classifier: Classifier, door: Lane, texts: Sequence[str], policy: Policy, call: Call, seconds: float
) -> tuple[Judged, ...] | None:
    """One a text; None if nobody can tell, or not in so many seconds. The reply is there: that fails no turn."""
    try:
        async with asyncio.timeout(min(seconds, call.deadline - time.time() - _TO_SPARE)):
            with await door.acquire(Rank.ORDINARY, sum(map(tokens, texts))):
                found = await classifier.classify(texts, call)
    except Exception as error:
        logger.error("request %s: %s; the reply is not judged", call.request_id, type(error).__name__)
        return None
    if not all(assessment.is_finite for assessment in found):
        return None
    judged = []
    for text, assessment in zip(texts, found, strict=True):
        severity = assessment.severity(policy.risk.by_severity)
        if crisis.alarm(text, policy.crisis.backstop):
            severity = max(severity, CRISIS)
        judged.append(Judged(severity, assessment.risk))
    return tuple(judged)
