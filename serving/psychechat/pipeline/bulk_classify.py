"""Classification of many texts, for requests without a reply: one batch at a time, at a lower priority than turns."""

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

from psychechat.admission.lanes import Lane, Rank, estimate_tokens
from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Classifier
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded

BATCH = 64
"""Texts per engine call, so that a request of thousands neither fills the engine nor waits as a whole."""
BULK = 1
"""Priority in vLLM, which serves lower values first; ordinary turns have 0."""


async def classify_all(
    classifier: Classifier, door: Lane, texts: Sequence[str], call: Callable[[], Call]
) -> AsyncGenerator[Assessment, None]:
    """One assessment per text, in order. `call` is invoked before each batch, since each may have its own deadline.

    Raises what the classifier raises, EngineUnavailable for probabilities that are not finite, Overloaded if the first
    batch gets no permit or a later one is displaced from the queue by a turn, and DeadlineExceeded if a later one waits
    past its call's deadline.
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
    """Batches of up to BATCH texts and about `most` tokens; a text that alone has more is a batch of its own."""
    first = held = 0
    for index, text in enumerate(texts):
        cost = estimate_tokens(text)
        if index > first and (index - first == BATCH or held + cost > most):
            yield texts[first:index]
            first, held = index, 0
        held += cost
    yield texts[first:]
