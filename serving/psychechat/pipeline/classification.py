"""Many texts through the classifier, for requests that want no reply: a batch at a time, behind every turn."""

from collections.abc import AsyncGenerator, Callable, Sequence

from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Classifier
from psychechat.errors import EngineUnavailable

BATCH = 64
"""Texts that are with the engine at once, so that a request of thousands neither fills it nor waits as a whole."""
BULK = 1
"""vLLM's priority, behind the turns' 0."""


async def classify_all(
    classifier: Classifier, texts: Sequence[str], call: Callable[[], Call]
) -> AsyncGenerator[Assessment, None]:
    """An assessment a text, in order. `call` is asked before each batch, for its deadline may be its own.

    Raises what the classifier raises, and EngineUnavailable for probabilities that are none.
    """
    for first in range(0, len(texts), BATCH):
        for assessment in await classifier.classify(texts[first : first + BATCH], call()):
            if not assessment.is_finite:
                raise EngineUnavailable("The classifier's answer cannot be used.")
            yield assessment
