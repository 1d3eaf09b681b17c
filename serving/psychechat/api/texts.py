"""Requests about texts, which want no reply: what they may hold, and how they reach the classifier."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Annotated, Literal, TypeVar

from fastapi import Request
from pydantic import BeforeValidator, ConfigDict, Field

from psychechat.admission.lanes import tokens
from psychechat.api.auth import tenant
from psychechat.api.intake import check_length
from psychechat.api.middleware import request_id
from psychechat.api.protocol import TextPart, Wire
from psychechat.conversation import Assessment
from psychechat.engines.base import Call
from psychechat.errors import InvalidRequest, UnsupportedParameter
from psychechat.pipeline.bulk_classify import BULK, classify_all
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Limits

MODEL: Literal["psychechat"] = "psychechat"


T = TypeVar("T")
_Several = Annotated[list[T], Field(min_length=1)]


def _strings(value: object) -> object:
    """A string is one text. The message names no part of what was sent."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a string or a list of strings that is not empty")
    return texts


def _strings_or_parts(value: object) -> object:
    """As OpenAI reads it: several strings are several texts, several parts are one."""
    if not isinstance(value, list) or not value or not all(isinstance(part, dict) for part in value):
        return _strings(value)
    if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in value):
        raise UnsupportedParameter("input", "its parts must be of type 'text'; images cannot be judged here")
    return ["\n".join(part["text"] for part in value)]


class ClassifyRequest(Wire):
    """`POST /v1/classify`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": "I am worried"}, {"input": ["a"], "stream": True}]}
    )

    input: Annotated[list[str], BeforeValidator(_strings, json_schema_input_type=str | _Several[str])]
    model: Literal["psychechat"] = MODEL
    stream: bool = False


class ModerationRequest(Wire):
    """`POST /v1/moderations`: https://platform.openai.com/docs/api-reference/moderations/create"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["I am worried", "a fine day"]}]})

    input: Annotated[
        list[str], BeforeValidator(_strings_or_parts, json_schema_input_type=str | _Several[str] | _Several[TextPart])
    ]
    model: str = MODEL
    """Any name is taken, since clients write OpenAI's; the answer names the one that judged."""


def assessments(
    pipeline: Pipeline, texts: Sequence[str], request: Request, *, each_batch: bool = False
) -> AsyncGenerator[Assessment, None]:
    """One a text, in order, in the turn's time; with `each_batch` every batch has as much.

    Raises InvalidRequest at once if there are too many or too long ones, Overloaded if the key's tokens are used up.
    """
    limits, identifier, salt = pipeline.policy.limits, request_id(request), tenant(request)
    _check(texts, limits)
    pipeline.quotas.check(salt)
    pipeline.quotas.charge(salt, sum(map(tokens, texts)))

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


async def each(found: AsyncGenerator[Assessment, None], say: Callable[[int, Assessment], T]) -> list[T]:
    """What is to be said of each text, said as it comes: that of thousands at once would hold up everybody else."""
    said: list[T] = []
    async with aclosing(found):
        async for assessment in found:
            said.append(say(len(said), assessment))
            await asyncio.sleep(0)
    return said
