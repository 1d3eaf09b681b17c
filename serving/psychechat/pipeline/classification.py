"""Many texts through the classifier, for requests that want no reply: a batch at a time, behind every turn."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence

from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Classifier
from psychechat.errors import EngineUnavailable
from psychechat.pipeline.admission import Lane, Rank, tokens

BATCH = 64
"""Texts that are with the engine at once, so that a request of thousands neither fills it nor waits as a whole."""
BULK = 1
"""vLLM's priority, behind the turns' 0."""


async def classify_all(
    classifier: Classifier, door: Lane, texts: Sequence[str], call: Callable[[], Call]
) -> AsyncGenerator[Assessment, None]:
    """An assessment a text, in order. `call` is asked before each batch, for its deadline may be its own.

    Raises what the classifier raises, EngineUnavailable for probabilities that are none, and Overloaded if the first
    batch is not let in. The later ones wait as long as their call, so that nothing begun is lost to a moment's load.
    """
    for first in range(0, len(texts), BATCH):
        batch, its_call = texts[first : first + BATCH], call()
        seconds = its_call.deadline - time.time() if first else None
        with await door.acquire(Rank.BULK, sum(map(tokens, batch)), seconds=seconds):
            found = await classifier.classify(batch, its_call)
        for assessment in found:
            if not assessment.is_finite:
                raise EngineUnavailable("The classifier's answer cannot be used.")
            yield assessment
