"""Assessments of a request's texts: within its deadline, charged to its key."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request

from psychechat.admission.lanes import estimate_tokens
from psychechat.api.http.auth import tenant
from psychechat.api.http.body.limits import check_length
from psychechat.api.http.middleware import request_id
from psychechat.conversation import Assessment, Reading
from psychechat.engines.base import Call, Pair
from psychechat.errors import InvalidRequest
from psychechat.pipeline.bulk_classify import BATCH, BULK, classify_all, judge_few, read_all
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Limits, Policy

R = TypeVar("R")
T = TypeVar("T")


def assessments(
    pipeline: Pipeline, texts: Sequence[str], request: Request, *, each_batch: bool = False
) -> AsyncGenerator[Assessment, None]:
    """One assessment per text, in order, within a turn's time limit; with `each_batch` every batch has as much.

    Raises at once InvalidRequest for too many or too long texts, Overloaded if the key's tokens are used up.
    """
    calls = _calls(pipeline, texts, request, each_batch)
    return classify_all(pipeline.classifier, pipeline.admission.classification, texts, calls)


def readings(
    pipeline: Pipeline, texts: Sequence[str], request: Request, policy: Policy
) -> AsyncGenerator[tuple[Reading, Assessment], None]:
    """One reading per text, in order: its assessment, and that with what the phrases say. Raises as `assessments`."""
    calls = _calls(pipeline, texts, request, each_batch=False)
    return read_all(pipeline.classifier, pipeline.admission.classification, texts, calls, policy)


async def judged(
    pipeline: Pipeline, replies: Sequence[str], answering: Sequence[str], request: Request
) -> list[float | None]:
    """P(hurting) of each text as a reply to its own of `answering`; of each None where no head can tell.

    Raises InvalidRequest for too many, too long or another number of texts.
    """
    if len(answering) != len(replies) or len(replies) > BATCH:
        raise InvalidRequest(f"'answering' has a text for each of 'input', and at most {BATCH}.", param="answering")
    for index, text in enumerate(answering):
        check_length(f"answering[{index}]", text, pipeline.policy.limits)
    call = _calls(pipeline, answering, request, each_batch=False)()
    pairs = [Pair(seeker, draft) for seeker, draft in zip(answering, replies, strict=True)]
    return await judge_few(pipeline.classifier, pipeline.admission.classification, pairs, call)


def _calls(pipeline: Pipeline, texts: Sequence[str], request: Request, each_batch: bool) -> Callable[[], Call]:
    """The calls of a request that is allowed, its tokens charged to its key."""
    limits, identifier, salt = pipeline.policy.limits, request_id(request), tenant(request)
    _check(texts, limits)
    pipeline.quotas.check(salt)
    pipeline.quotas.charge(salt, sum(map(estimate_tokens, texts)))

    def call() -> Call:
        return Call(identifier, identifier, salt, priority=BULK, deadline=time.monotonic() + limits.turn_seconds)

    first = call()
    return call if each_batch else lambda: first


def _check(texts: Sequence[str], limits: Limits) -> None:
    if len(texts) > limits.texts:
        raise InvalidRequest(f"'input' holds more than {limits.texts} texts.", param="input")
    for index, text in enumerate(texts):
        check_length(f"input[{index}]", text, limits)


async def each(read: AsyncGenerator[R, None], say: Callable[[int, R], T]) -> list[T]:
    """Results of `say` per text; yields to the event loop in between, so that thousands block no other request."""
    said: list[T] = []
    async with aclosing(read):
        async for item in read:
            said.append(say(len(said), item))
            await asyncio.sleep(0)
    return said
