"""Texts that are no turn's, read as a turn's newest message would be: their phrases, and the classifier."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from psychechat.conversation import Assessment, Reading
from psychechat.engines.base import Call, Classifier
from psychechat.errors import EngineUnavailable
from psychechat.policy import Policy
from psychechat.safety import crisis, overruling


async def read_texts(
    classifier: Classifier, texts: Sequence[str], policy: Policy, call: Call
) -> list[tuple[Reading, Assessment]]:
    """One reading a text, and the assessment that is in it, in order, all from one call of the classifier.

    Yields to the event loop after each text's phrases. Raises what the classifier raises, and EngineUnavailable for
    probabilities that are not finite.
    """
    below = policy.risk.veto_below or 0.0
    phrases = []
    for text in texts:
        phrases.append(crisis.read_text(text, policy))
        await asyncio.sleep(0)
    doubted = (passage for reading in phrases for passage in reading.doubted) if below else ()
    passages = list(dict.fromkeys((*texts, *doubted)))
    assessments = dict(zip(passages, await classifier.classify(passages, call), strict=True))
    if not all(assessment.is_finite for assessment in assessments.values()):
        raise EngineUnavailable("The classifier's answer cannot be used.")
    readings = [overruling.overruled(reading, assessments, below, held=False) for reading in phrases]
    read = [assessments[text] for text in texts]
    return [(replace(reading, assessment=its), its) for reading, its in zip(readings, read, strict=True)]
