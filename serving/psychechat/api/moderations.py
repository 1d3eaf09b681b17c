"""`POST /v1/moderations` in OpenAI's shape, from our own heads: self-harm is judged, nothing else is.

https://platform.openai.com/docs/api-reference/moderations/object
"""

import secrets
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from psychechat.api.body import StrictJSONRoute
from psychechat.api.classify import detected
from psychechat.api.leaving import CLIENT_LEFT, unless_left
from psychechat.api.rendering import JSONBytes
from psychechat.api.texts import MODEL, ModerationRequest, assessments, whole
from psychechat.config import Policy
from psychechat.conversation import Assessment
from psychechat.pipeline import crisis
from psychechat.pipeline.turn import Pipeline
from psychechat.risk import Severity

JUDGED = {"self-harm": Severity.IDEATION, "self-harm/intent": Severity.BEHAVIOR}
"""The categories that the risk head stands for, and the severity from which each is met. Intent shows in preparation
or an attempt; a wish is the wider category alone."""
NOT_JUDGED = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
)


def router(pipeline: Pipeline) -> APIRouter:
    routes = APIRouter(route_class=StrictJSONRoute)

    @routes.post("/v1/moderations", summary="Is there self-harm in these texts?")
    async def moderate(body: ModerationRequest, request: Request) -> Response:
        policy = pipeline.policy
        every = await unless_left(request, whole(assessments(pipeline, body.input, request)))
        if every is None:
            return Response(status_code=CLIENT_LEFT)
        results = [_result(text, each, policy) for text, each in zip(body.input, every, strict=True)]
        return JSONBytes({"id": f"modr-{secrets.token_hex(12)}", "model": MODEL, "results": results})

    return routes


def _result(text: str, assessment: Assessment, policy: Policy) -> dict[str, Any]:
    severity = assessment.severity(policy.risk.by_severity)
    alarm = crisis.alarm(text, policy.crisis.backstop)
    met = {name: severity >= least for name, least in JUDGED.items()}
    met["self-harm"] |= alarm
    scores = {
        name: round(sum(share for at, share in assessment.risk.items() if at >= least), 4)
        for name, least in JUDGED.items()
    }
    return {
        "flagged": any(met.values()),
        "categories": dict.fromkeys(NOT_JUDGED, False) | met,
        "category_scores": dict.fromkeys(NOT_JUDGED, 0.0) | scores,
        "category_applied_input_types": {name: [] for name in NOT_JUDGED} | {name: ["text"] for name in JUDGED},
        "psychechat": detected(assessment, policy) | {"backstop": alarm},
    }
