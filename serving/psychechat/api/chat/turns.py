"""What every endpoint for turns does with a request of chat's, as which its own is read."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fastapi import Request
from starlette.responses import Response

from psychechat.api.chat.background import refused_task, supported_task, task_request
from psychechat.api.chat.intake import Caller, turn_request
from psychechat.api.chat.protocol import ChatRequest, TurnBody
from psychechat.api.chat.rendering import Heading
from psychechat.api.chat.rescue import rescue
from psychechat.api.chat.running import Rendering, answered
from psychechat.api.http.auth import for_tasks, inspects, minimal, tenant
from psychechat.api.http.body import unread
from psychechat.api.http.body.json_route import Refusal
from psychechat.api.http.disconnect import unless_left
from psychechat.api.http.middleware import request_id
from psychechat.errors import ContextLengthExceeded
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.answer import read_task
from psychechat.pipeline.tasks.request import TaskRequest


class Turns:
    def __init__(self, pipeline: Pipeline, prefix: str, rendering: Callable[[Heading, ChatRequest], Rendering]) -> None:
        """`prefix`: of the answers' ids."""
        self._pipeline, self._prefix, self._rendering = pipeline, prefix, rendering

    async def answer(self, body: ChatRequest, request: Request, sent: TurnBody | None = None) -> Response:
        """`sent`: what `body` was made of, where that is no chat's."""
        sent = body if sent is None else sent
        unread.check(sent, strict=self._pipeline.policy.strict_parameters)
        caller = _caller(request)
        task = task_request(body, self._pipeline, caller, for_tasks=for_tasks(request))
        return await self._answer(body, task or turn_request(body, self._pipeline, caller), request, sent.unread)

    async def refused(
        self, body: object, refusal: Refusal, request: Request, in_vain: Sequence[str] | None = None
    ) -> Response:
        """The answer to a crisis, or to a task, in a body that breaks a rule; else the refusal, raised.

        `body`: any value of JSON, or what is made out of what is none. `in_vain`: the names of what it was made of that
        change nothing, where that is no chat's.
        """
        if isinstance(refusal, ContextLengthExceeded):
            raise refusal  # the turn was read
        caller, reserved = _caller(request), for_tasks(request)
        if isinstance(body, dict):
            supported = supported_task(body, self._pipeline, caller, for_tasks=reserved)
            if supported is not None:
                return await self._answer(*supported, request, in_vain)
        task = refused_task(body, self._pipeline, caller, for_tasks=reserved)
        if task is not None:  # never a turn, whatever it quotes
            await unless_left(request, read_task(self._pipeline, task))
            raise refusal
        rescued = await unless_left(request, rescue(body, self._pipeline, caller))
        if rescued is None:
            raise refusal
        return await self._answer(*rescued, request, in_vain)

    async def _answer(
        self, body: ChatRequest, asked: TurnRequest | TaskRequest, request: Request, in_vain: Sequence[str] | None
    ) -> Response:
        unread.note(body.unread if in_vain is None else in_vain, request)
        if minimal(request) and isinstance(asked, TurnRequest):
            asked = replace(asked, tells_thinking=False)
        heading = Heading(
            f"{self._prefix}{secrets.token_hex(12)}",
            int(time.time()),
            body.model,
            self._pipeline.fingerprint,
            None if body.service_tier is None else "default",
            asked.request_id,
            minimal(request),
            self._pipeline.policy.show_stages and inspects(request),
        )
        rendering = self._rendering(heading, body)
        return await answered(self._pipeline, asked, rendering, request, streamed=bool(body.stream))


def _caller(request: Request) -> Caller:
    headers = request.headers
    return Caller(request_id(request), tenant(request), headers.get("x-session-id"), headers.get("x-request-timeout"))
