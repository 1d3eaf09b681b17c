"""`DELETE /v1/sessions/{id}`: deletes what a session's turns have stored in memory."""

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from psychechat.api.http.auth import tenant
from psychechat.api.http.body.limits import is_session
from psychechat.api.http.middleware import request_id
from psychechat.api.http.openapi import answers
from psychechat.api.http.responses import JSONBytes
from psychechat.api.http.schemas import Forgotten
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn_memory import forget


def router(pipeline: Pipeline) -> APIRouter:
    routes = APIRouter()

    @routes.delete(
        "/v1/sessions/{session:path}",
        summary="Forget a session",
        responses=answers(Forgotten, 401, 403, 404, 503, when="It is forgotten, or was not known."),
    )
    async def delete(session: str, request: Request) -> Response:
        name = request.scope["path"].partition("/v1/sessions/")[2]  # the router's own lacks a last line break
        if not is_session(name):
            raise HTTPException(404)
        await forget(pipeline, tenant(request), name, request_id(request))
        return JSONBytes({"id": name, "object": "session.deleted", "deleted": True})

    return routes
