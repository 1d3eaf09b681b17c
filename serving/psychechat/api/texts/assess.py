"""Assessments of a request's texts: within its deadline, charged to its key."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request

from psychechat.admission.lanes import estimate_tokens
from psychechat.api.http.auth import tenant
from psychechat.api.http.limits import check_length
from psychechat.api.http.middleware import request_id
from psychechat.conversation import Assessment
from psychechat.engines.base import Call
from psychechat.errors import InvalidRequest
from psychechat.pipeline.bulk_classify import BULK, classify_all
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Limits

T = TypeVar("T")


def assessments(
    pipeline: Pipeline, texts: Sequence[str], request: Request, *, each_batch: bool = False
) -> AsyncGenerator[Assessment, None]:
    """One assessment per text, in order, within a turn's time limit; with `each_batch` every batch has as much.

    Raises at once InvalidRequest for too many or too long texts, Overloaded if the key's tokens are used up.
    """
    limits, identifier, salt = pipeline.policy.limits, request_id(request), tenant(request)
    _check(texts, limits)
    pipeline.quotas.check(salt)
    pipeline.quotas.charge(salt, sum(map(estimate_tokens, texts)))

    def call() -> Call:
        return Call(identifier, identifier, salt, priority=BULK, deadline=time.time() + limits.turn_seconds)

    first = call()
    calls: Callable[[], Call] = call if each_batch else lambda: first
    return classify_all(pipeline.classifier, pipeline.admission.classification, texts, calls)


def _check(texts: Sequence[str], limits: Limits) -> None:
    if len(texts) > limits.texts:
        raise InvalidRequest(f"'input' holds more than {limits.texts} texts.", param="input")
    for index, text in enumerate(texts):
        check_length(f"input[{index}]", text, limits)


async def each(assessed: AsyncGenerator[Assessment, None], say: Callable[[int, Assessment], T]) -> list[T]:
    """Results of `say` per text; yields to the event loop in between, so that thousands block no other request."""
    said: list[T] = []
    async with aclosing(assessed):
        async for assessment in assessed:
            said.append(say(len(said), assessment))
            await asyncio.sleep(0)
    return said
