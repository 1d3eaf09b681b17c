"""`POST /v1/classify`: emotion and risk of texts, whole or as a stream."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from psychechat.api.body import StrictJSONRoute
from psychechat.api.document import READ, answers, streamed
from psychechat.api.errors import broken_off
from psychechat.api.leaving import CLIENT_LEFT, unless_left
from psychechat.api.middleware import request_id
from psychechat.api.objects import Classification, Classifications
from psychechat.api.rendering import DONE, JSONBytes, emotions_object, event, risk_object
from psychechat.api.texts import ClassifyRequest, assessments, each
from psychechat.conversation import Assessment
from psychechat.emotion import valence
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy

_LEVELS = ("absent", "low", "mid", "high")


def router(pipeline: Pipeline) -> APIRouter:
    routes = APIRouter(route_class=StrictJSONRoute)

    @routes.post(
        "/v1/classify",
        summary="Emotion and risk of texts",
        responses=streamed(
            answers(Classifications, *READ, 504, when="A classification a text, in order."),
            Classification,
        ),
    )
    async def classify(body: ClassifyRequest, request: Request) -> Response:
        policy = pipeline.policy
        found = assessments(pipeline, body.input, request, each_batch=body.stream)
        if body.stream:
            # What fails before there is anything to say is still an ordinary error with its own status.
            first = await unless_left(request, anext(found))
            if first is None:
                return Response(status_code=CLIENT_LEFT)
            events, headers = _events(request_id(request), first, found, policy), {"cache-control": "no-store"}
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        saying = each(found, lambda index, assessment: classification(index, assessment, policy))
        data = await unless_left(request, saying)
        if data is None:
            return Response(status_code=CLIENT_LEFT)
        heading = {"id": f"classify-{secrets.token_hex(12)}", "object": "list", "created": int(time.time())}
        return JSONBytes(heading | {"model": body.model, "data": data})

    return routes


async def _events(
    identifier: str, first: Assessment, rest: AsyncGenerator[Assessment, None], policy: Policy
) -> AsyncGenerator[bytes, None]:
    """An event a text, then `[DONE]`; an error ends the stream without it."""
    yield event(classification(0, first, policy))
    index = 0
    async with aclosing(rest):
        try:
            async for assessment in rest:
                index += 1
                yield event(classification(index, assessment, policy))
                await asyncio.sleep(0)  # to send it need not be to wait
        except Exception as error:
            yield broken_off(identifier, error)
            return
    yield DONE


def classification(index: int, assessment: Assessment, policy: Policy) -> dict[str, Any]:
    return {"object": "classification", "index": index} | detected(assessment, policy)


def detected(assessment: Assessment, policy: Policy) -> dict[str, Any]:
    """What is in one text. `groups` holds the probabilities before any threshold."""
    emotions = assessment.emotions(policy.emotion_threshold)
    return {
        "emotions": emotions_object(emotions),
        "valence": valence(emotion.label for emotion in emotions),
        "groups": {
            str(group): {level: round(share, 4) for level, share in zip(_LEVELS, columns, strict=True)}
            for group, columns in assessment.groups.items()
        },
        "risk": risk_object(assessment.severity(policy.risk.by_severity), assessment.risk),
    }
