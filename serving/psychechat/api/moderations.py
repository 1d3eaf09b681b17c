"""`POST /v1/moderations` in OpenAI's shape, from our own heads: self-harm is judged, nothing else is.

https://platform.openai.com/docs/api-reference/moderations/object
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from psychechat.api.body import StrictJSONRoute
from psychechat.api.classify import detected
from psychechat.api.document import READ, answers
from psychechat.api.leaving import CLIENT_LEFT, unless_left
from psychechat.api.objects import Moderation
from psychechat.api.rendering import JSONBytes
from psychechat.api.texts import MODEL, ModerationRequest, assessments, each
from psychechat.conversation import Assessment
from psychechat.pipeline.request import Outcome
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat.safety import crisis

JUDGED = {"self-harm": CRISIS, "self-harm/intent": Severity.BEHAVIOR}
"""The categories that the risk head stands for, and the severity from which each is met. Intent shows in preparation
or an attempt; a wish is the wider category alone."""
NOT_JUDGED = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
)


def router(pipeline: Pipeline) -> APIRouter:
    routes = APIRouter(route_class=StrictJSONRoute)

    @routes.post(
        "/v1/moderations",
        summary="Is there self-harm in these texts?",
        responses=answers(Moderation, *READ, 504, when="A result a text, in order."),
    )
    async def moderate(body: ModerationRequest, request: Request) -> Response:
        policy = pipeline.policy
        found = assessments(pipeline, body.input, request)
        judging = each(found, lambda index, assessment: _result(body.input[index], assessment, policy))
        results = await unless_left(request, judging)
        if results is None:
            return Response(status_code=CLIENT_LEFT)
        return JSONBytes({"id": f"modr-{secrets.token_hex(12)}", "model": MODEL, "results": results})

    return routes


def _result(text: str, assessment: Assessment, policy: Policy) -> dict[str, Any]:
    severity = assessment.severity(policy.risk.by_severity)
    alarm = crisis.alarm(text, policy.crisis.backstop)
    verdict = _verdict(max(severity, CRISIS) if alarm else severity, assessment.risk)
    return verdict | {"psychechat": detected(assessment, policy) | {"backstop": alarm}}


def of_turn(outcome: Outcome) -> dict[str, Any]:
    """Chat's `moderation` object: the seeker's newest message, and the reply that was written.

    Its shape is that of `openai.types.chat.chat_completion.Moderation`.
    """
    reply, judged = outcome.reply, outcome.judged
    return {
        "input": _NOBODY if reply.severity is None else _results([(reply.severity, reply.risk)]),
        "output": _NOBODY if judged is None else _results([(text.severity, text.risk) for text in judged]),
    }


_NOBODY = {"type": "error", "code": "engine_unavailable", "message": "The classifier gave no answer."}


def _results(found: Sequence[tuple[Severity, Mapping[Severity, float]]]) -> dict[str, Any]:
    results = [{"type": "moderation_result", "model": MODEL} | _verdict(severity, risk) for severity, risk in found]
    return {"type": "moderation_results", "model": MODEL, "results": results}


def _verdict(severity: Severity, risk: Mapping[Severity, float]) -> dict[str, Any]:
    """`severity` counts the backstop in; `risk` is the head's alone."""
    met = {name: severity >= least for name, least in JUDGED.items()}
    scores = {name: round(sum(share for at, share in risk.items() if at >= least), 4) for name, least in JUDGED.items()}
    return {
        "flagged": any(met.values()),
        "categories": dict.fromkeys(NOT_JUDGED, False) | met,
        "category_scores": dict.fromkeys(NOT_JUDGED, 0.0) | scores,
        "category_applied_input_types": {name: [] for name in NOT_JUDGED} | {name: ["text"] for name in JUDGED},
    }
