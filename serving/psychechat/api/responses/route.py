"""`POST /v1/responses`: one turn, plain or streamed. Nothing of it is stored."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from psychechat.api.chat.turns import Turns
from psychechat.api.http.body.json_route import JSONRequest, JSONRoute, Refusal
from psychechat.api.http.openapi import READ, answers, streamed
from psychechat.api.responses import schemas
from psychechat.api.responses.protocol import ResponsesRequest
from psychechat.api.responses.rendering import PREFIX, ResponseObject
from psychechat.api.responses.translation import as_chat, renamed
from psychechat.errors import InvalidRequest
from psychechat.pipeline.services import Pipeline


def router(pipeline: Pipeline) -> APIRouter:
    turns = Turns(pipeline, PREFIX, ResponseObject)

    class ResponsesRoute(JSONRoute):
        async def refused(self, request: JSONRequest, refusal: Refusal) -> Response:
            body = await request.made_out()
            in_vain = tuple(ResponsesRequest.unread_in(body)) if isinstance(body, dict) else ()
            try:
                return await turns.refused(as_chat(body), refusal, request, in_vain)
            except InvalidRequest as error:
                raise renamed(error, body) from None

    routes = APIRouter(route_class=ResponsesRoute)

    @routes.post(
        "/v1/responses",
        summary="Answer one turn, in the shape of OpenAI's Responses",
        responses=streamed(
            answers(schemas.Response, *READ, 404, 500, 504, when="The reply, or the events of one."),
            *schemas.EVENTS,
            done=False,
        ),
    )
    async def respond(body: ResponsesRequest, request: Request) -> Response:
        return await turns.answer(body.chat, request, body)

    return routes
