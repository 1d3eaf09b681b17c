"""Many texts through the classifier, for requests that want no reply: a batch at a time, behind every turn."""

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

from psychechat.admission.lanes import Lane, Rank, estimate_tokens
from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Classifier
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded

BATCH = 64
"""Texts that are with the engine at once, so that a request of thousands neither fills it nor waits as a whole."""
BULK = 1
"""vLLM's priority, behind the turns' 0."""


async def classify_all(
    classifier: Classifier, door: Lane, texts: Sequence[str], call: Callable[[], Call]
) -> AsyncGenerator[Assessment, None]:
    """An assessment a text, in order. `call` is asked before each batch, for its deadline may be its own.

    Raises what the classifier raises, EngineUnavailable for probabilities that are none, and Overloaded if the first
    batch is not let in, or a later one has to make room for a turn. The later ones wait as long as their call:
    DeadlineExceeded.
    """
    begun = False
    for batch in _batches(texts, door.max_cost(Rank.BULK) // 2):
        its_call = call()
        seconds = max(0.0, its_call.deadline - time.time()) if begun else None
        try:
            permit = await door.acquire(Rank.BULK, sum(map(estimate_tokens, batch)), seconds=seconds)
        except Overloaded:
            if its_call.deadline <= time.time():
                raise DeadlineExceeded("The request's time is up.") from None
            raise
        with permit:
            begun = True
            assessments = await classifier.classify(batch, its_call)
        for assessment in assessments:
            if not assessment.is_finite:
                raise EngineUnavailable("The classifier's answer cannot be used.")
            yield assessment


def _batches(texts: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Up to BATCH texts each, and about as many tokens; a text that alone has more is a batch of its own."""
    first = held = 0
    for index, text in enumerate(texts):
        cost = estimate_tokens(text)
        if index > first and (index - first == BATCH or held + cost > most):
            yield texts[first:index]
            first, held = index, 0
        held += cost
    yield texts[first:]
