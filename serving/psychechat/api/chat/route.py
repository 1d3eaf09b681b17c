"""`POST /v1/chat/completions`: one turn, plain or streamed."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.chat.rendering import Completion
from psychechat.api.chat.turns import Turns
from psychechat.api.http.body.json_route import JSONRequest, JSONRoute, Refusal
from psychechat.api.http.openapi import READ, answers, streamed
from psychechat.api.http.schemas import ChatCompletion, ChatCompletionChunk
from psychechat.pipeline.services import Pipeline


def router(pipeline: Pipeline) -> APIRouter:
    turns = Turns(pipeline, "chatcmpl-", Completion)

    class ChatRoute(JSONRoute):
        async def refused(self, request: JSONRequest, refusal: Refusal) -> Response:
            return await turns.refused(await request.made_out(), refusal, request)

    routes = APIRouter(route_class=ChatRoute)

    @routes.post(
        "/v1/chat/completions",
        summary="Answer one turn",
        responses=streamed(
            answers(ChatCompletion, *READ, 404, 500, 504, when="The reply, or the events of one."),
            ChatCompletionChunk,
        ),
    )
    async def chat(body: ChatRequest, request: Request) -> Response:
        return await turns.answer(body, request)

    return routes
