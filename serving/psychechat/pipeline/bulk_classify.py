"""Classification of many texts, for requests without a reply: one batch at a time, at a lower priority than turns."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from math import isfinite
from typing import TypeVar

from psychechat.admission.lanes import Lane, Rank, estimate_tokens
from psychechat.concurrency import foreign_cancellation_fails
from psychechat.conversation import Assessment, Reading
from psychechat.engines.base import Call, Classifier, Pair
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded
from psychechat.policy import Policy
from psychechat.safety.text_reading import read_texts

BATCH = 64
"""Texts per engine call, so that a request of thousands neither fills the engine nor waits as a whole."""
BULK = 1
"""Priority in vLLM, which serves lower values first; ordinary turns have 0."""


T = TypeVar("T")


def classify_all(
    classifier: Classifier, door: Lane, texts: Sequence[str], call: Callable[[], Call]
) -> AsyncGenerator[Assessment, None]:
    """One assessment per text, in order. `call` is invoked before each batch, since each may have its own deadline.

    Raises what the classifier raises, EngineUnavailable for probabilities that are not finite, Overloaded if the first
    batch gets no permit or a later one is displaced from the queue by a turn, and DeadlineExceeded if a later one waits
    past its call's deadline.
    """

    async def ask(batch: Sequence[str], its_call: Call) -> list[Assessment]:
        assessments = await classifier.classify(batch, its_call)
        if not all(assessment.is_finite for assessment in assessments):
            raise EngineUnavailable("The classifier's answer cannot be used.")
        return assessments

    return _in_batches(door, texts, call, ask)


def read_all(
    classifier: Classifier, door: Lane, texts: Sequence[str], call: Callable[[], Call], policy: Policy
) -> AsyncGenerator[tuple[Reading, Assessment], None]:
    """One reading per text, in order, with its phrases, and its assessment. Raises as `classify_all`."""
    return _in_batches(door, texts, call, lambda batch, its_call: read_texts(classifier, batch, policy, its_call))


async def judge_few(classifier: Classifier, door: Lane, pairs: Sequence[Pair], call: Call) -> list[float | None]:
    """P(hurting) of each reply, up to BATCH of them; None where the heads cannot tell. Raises as `classify_all`."""
    cost = sum(estimate_tokens(pair.seeker) + estimate_tokens(pair.draft) for pair in pairs)
    with await door.acquire(Rank.BULK, cost), foreign_cancellation_fails():
        hurting = await classifier.judge(pairs, call)
    if hurting is None:
        return [None] * len(pairs)
    if not all(map(isfinite, hurting)):
        raise EngineUnavailable("The classifier's answer cannot be used.")
    return list(hurting)


async def _in_batches(
    door: Lane,
    texts: Sequence[str],
    call: Callable[[], Call],
    ask: Callable[[Sequence[str], Call], Awaitable[Sequence[T]]],
) -> AsyncGenerator[T, None]:
    begun = False
    for batch in _batches(texts, door.max_cost(Rank.BULK) // 2):
        its_call = call()
        seconds = max(0.0, its_call.deadline - time.monotonic()) if begun else None
        try:
            permit = await door.acquire(Rank.BULK, sum(map(estimate_tokens, batch)), seconds=seconds)
        except Overloaded:
            if its_call.deadline <= time.monotonic():
                raise DeadlineExceeded("The request's time is up.") from None
            raise
        with permit:
            begun = True
            with foreign_cancellation_fails():
                answers = await ask(batch, its_call)
        for answer in answers:
            yield answer


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
