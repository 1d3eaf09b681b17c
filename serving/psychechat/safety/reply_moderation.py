"""Moderation of a reply by the classifier, for clients that ask for it beside the turn."""

import logging
from collections.abc import Sequence
from typing import Literal

from psychechat.admission.lanes import Lane, Rank, estimate_tokens
from psychechat.concurrency import in_time
from psychechat.conversation import ReplyModeration
from psychechat.engines.base import Call, Classifier
from psychechat.policy import Policy
from psychechat.risk import Severity
from psychechat.safety.text_reading import read_texts

logger = logging.getLogger(__name__)

Judging = Literal["score", "block"]
"""`score`: a flagged reply is sent with its scores. `block`: it is withheld."""


async def moderate(
    classifier: Classifier, door: Lane, texts: Sequence[str], policy: Policy, call: Call, seconds: float
) -> tuple[ReplyModeration, ...] | None:
    """Moderation per text; None if the classifier fails or takes longer than `seconds`.

    The reply exists already, so a failure here is logged and does not fail the turn.
    """
    try:
        async with in_time(seconds):
            with await door.acquire(Rank.ORDINARY, sum(map(estimate_tokens, texts))):
                read = await read_texts(classifier, texts, policy, call)
    except Exception as error:
        logger.error("request %s: %s; the reply is not moderated", call.request_id, type(error).__name__)
        return None
    return tuple(ReplyModeration(reading.severity or Severity.NONE, reading.scores) for reading, _ in read)
