"""`POST /v1/moderations` in OpenAI's shape, from our classifier: only the self-harm categories are judged.

https://platform.openai.com/docs/api-reference/moderations/object
"""

import secrets

from fastapi import APIRouter, Request
from starlette.responses import Response

from psychechat.api.http import schemas
from psychechat.api.http.auth import minimal
from psychechat.api.http.body import unread
from psychechat.api.http.body.json_route import JSONRoute
from psychechat.api.http.disconnect import CLIENT_LEFT, unless_left
from psychechat.api.http.openapi import READ, answers
from psychechat.api.http.responses import JSONBytes
from psychechat.api.http.schemas import Moderation
from psychechat.api.texts.assess import each, readings
from psychechat.api.texts.protocol import MODEL, ModerationRequest
from psychechat.api.texts.rendering import detected, verdict
from psychechat.conversation import Assessment, Reading
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.risk import Severity


def router(pipeline: Pipeline) -> APIRouter:
    routes = APIRouter(route_class=JSONRoute)

    @routes.post(
        "/v1/moderations",
        summary="Is there self-harm in these texts?",
        responses=answers(Moderation, *READ, 504, when="A result a text, in order."),
    )
    async def moderate(body: ModerationRequest, request: Request) -> Response:
        policy, verdict_only = pipeline.policy, minimal(request)
        unread.check(body, strict=policy.strict_parameters)
        unread.note(body.unread, request)
        read = readings(pipeline, body.input, request, policy)
        results = await unless_left(
            request, each(read, lambda _, told: _result(*told, policy, verdict_only=verdict_only))
        )
        if results is None:
            return Response(status_code=CLIENT_LEFT)
        return JSONBytes({"id": f"modr-{secrets.token_hex(12)}", "model": MODEL, "results": results})

    return routes


def _result(reading: Reading, assessment: Assessment, policy: Policy, *, verdict_only: bool) -> schemas.Moderated:
    judged = verdict(reading.severity or Severity.NONE, reading.scores)
    findings: schemas.Found = {**detected(assessment, policy), "backstop": reading.alarm}
    result: schemas.Moderated = {**judged, "psychechat": findings}
    if verdict_only:
        del result["psychechat"]
    return result
