"""`POST /v1/moderations` in OpenAI's shape, from our classifier: only the self-harm categories are judged.

https://platform.openai.com/docs/api-reference/moderations/object
"""

import secrets
from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from psychechat.api.http import schemas
from psychechat.api.http.disconnect import CLIENT_LEFT, unless_left
from psychechat.api.http.json_route import JSONRoute
from psychechat.api.http.openapi import READ, answers
from psychechat.api.http.responses import JSONBytes
from psychechat.api.http.schemas import Moderation
from psychechat.api.texts.assess import assessments, each
from psychechat.api.texts.protocol import MODEL, ModerationRequest
from psychechat.api.texts.rendering import detected, verdict
from psychechat.conversation import Assessment
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.risk import Severity
from psychechat.safety import crisis


def router(pipeline: Pipeline) -> APIRouter:
    routes = APIRouter(route_class=JSONRoute)

    @routes.post(
        "/v1/moderations",
        summary="Is there self-harm in these texts?",
        responses=answers(Moderation, *READ, 504, when="A result a text, in order."),
    )
    async def moderate(body: ModerationRequest, request: Request) -> Response:
        policy = pipeline.policy
        assessed = assessments(pipeline, body.input, request)
        judging = each(assessed, lambda index, assessment: _result(body.input[index], assessment, policy))
        results = await unless_left(request, judging)
        if results is None:
            return Response(status_code=CLIENT_LEFT)
        return JSONBytes({"id": f"modr-{secrets.token_hex(12)}", "model": MODEL, "results": results})

    return routes


def _result(text: str, assessment: Assessment, policy: Policy) -> schemas.Moderated:
    reading = replace(crisis.read_text(text, policy), assessment=assessment)
    judged = verdict(reading.severity or Severity.NONE, reading.scores)
    return {**judged, "psychechat": {**detected(assessment, policy), "backstop": reading.alarm}}
