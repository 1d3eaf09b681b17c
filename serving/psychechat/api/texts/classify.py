"""`POST /v1/classify`: emotion and risk of texts, whole or as a stream."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from psychechat.api.http.body import unread
from psychechat.api.http.body.json_route import JSONRoute
from psychechat.api.http.disconnect import CLIENT_LEFT, unless_left
from psychechat.api.http.errors import broken_off
from psychechat.api.http.middleware import request_id
from psychechat.api.http.openapi import READ, answers, streamed
from psychechat.api.http.responses import DONE, STREAMED, JSONBytes, event
from psychechat.api.http.schemas import Classification, Classifications
from psychechat.api.texts.assess import assessments, each, judged
from psychechat.api.texts.protocol import MODEL, ClassifyRequest
from psychechat.api.texts.rendering import classification
from psychechat.conversation import Assessment
from psychechat.errors import UnknownModel
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy


def router(pipeline: Pipeline) -> APIRouter:
    routes = APIRouter(route_class=JSONRoute)

    @routes.post(
        "/v1/classify",
        summary="Emotion and risk of texts",
        responses=streamed(
            answers(Classifications, *READ, 404, 504, when="A classification a text, in order."),
            Classification,
        ),
    )
    async def classify(body: ClassifyRequest, request: Request) -> Response:
        policy = pipeline.policy
        unread.check(body, strict=policy.strict_parameters)
        unread.note(body.unread, request)
        if policy.model(body.model) != MODEL:
            raise UnknownModel(", ".join(name for name in policy.names if policy.model(name) == MODEL))
        hurting = None
        if body.answering is not None:
            hurting = await unless_left(request, judged(pipeline, body.input, body.answering, request))
            if hurting is None:
                return Response(status_code=CLIENT_LEFT)
        assessed = assessments(pipeline, body.input, request, each_batch=body.stream)
        if body.stream:
            # A failure before the first event is still an ordinary error with its own status.
            first = await unless_left(request, anext(assessed))
            if first is None:
                return Response(status_code=CLIENT_LEFT)
            events = _events(request_id(request), first, assessed, policy, hurting)
            return StreamingResponse(events, media_type="text/event-stream", headers=STREAMED)
        saying = each(assessed, lambda index, assessment: classification(index, assessment, policy, hurting))
        data = await unless_left(request, saying)
        if data is None:
            return Response(status_code=CLIENT_LEFT)
        heading = {"id": f"classify-{secrets.token_hex(12)}", "object": "list", "created": int(time.time())}
        return JSONBytes(heading | {"model": body.model, "data": data})

    return routes


async def _events(
    identifier: str,
    first: Assessment,
    rest: AsyncGenerator[Assessment, None],
    policy: Policy,
    hurting: Sequence[float | None] | None,
) -> AsyncGenerator[bytes, None]:
    """One event per text, then `[DONE]`; an error ends the stream without it."""
    yield event(classification(0, first, policy, hurting))
    index = 0
    async with aclosing(rest):
        try:
            async for assessment in rest:
                index += 1
                yield event(classification(index, assessment, policy, hurting))
                await asyncio.sleep(0)  # sending may not yield to the event loop
        except Exception as error:
            yield broken_off(identifier, error)
            return
    yield DONE
