"""`POST /v1/chat/completions`: one turn, plain or streamed."""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from psychechat.api.chat import moderation
from psychechat.api.chat.background import refused_task, supported_task, task_request
from psychechat.api.chat.intake import Caller, turn_request
from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.chat.rendering import Chunks, Heading, completion
from psychechat.api.chat.rescue import rescue
from psychechat.api.http.auth import for_tasks, tenant
from psychechat.api.http.disconnect import CLIENT_LEFT, before_leaving, end, unless_left
from psychechat.api.http.errors import broken_off
from psychechat.api.http.json_route import JSONRequest, JSONRoute, Refusal
from psychechat.api.http.middleware import request_id
from psychechat.api.http.openapi import READ, answers, streamed
from psychechat.api.http.responses import KEEP_ALIVE, JSONBytes
from psychechat.api.http.schemas import ChatCompletion, ChatCompletionChunk, TurnModeration
from psychechat.conversation import ReplyDelta
from psychechat.errors import ContextLengthExceeded
from psychechat.pipeline.request import Outcome, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.answer import read_task, run_task
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.pipeline.turn import run_turn


def router(pipeline: Pipeline) -> APIRouter:
    class ChatRoute(JSONRoute):
        async def refused(self, request: JSONRequest, refusal: Refusal) -> Response:
            if isinstance(refusal, ContextLengthExceeded):
                raise refusal  # the turn was read
            caller, made_out = _caller(request), await request.made_out()
            reserved = for_tasks(request)
            if isinstance(made_out, dict):
                supported = supported_task(made_out, pipeline, caller, for_tasks=reserved)
                if supported is not None:
                    return await _answer(pipeline, *supported, request)
            task = refused_task(made_out, pipeline, caller, for_tasks=reserved)
            if task is not None:  # never a turn, whatever it quotes
                await unless_left(request, read_task(pipeline, task))
                raise refusal
            rescued = await unless_left(request, rescue(made_out, pipeline, caller))
            if rescued is None:
                raise refusal
            return await _answer(pipeline, *rescued, request)

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
        caller = _caller(request)
        task = task_request(body, pipeline, caller, for_tasks=for_tasks(request))
        return await _answer(pipeline, body, task or turn_request(body, pipeline, caller), request)

    return routes


def _caller(request: Request) -> Caller:
    headers = request.headers
    return Caller(request_id(request), tenant(request), headers.get("x-session-id"), headers.get("x-request-timeout"))


async def _answer(
    pipeline: Pipeline, body: ChatRequest, asked: TurnRequest | TaskRequest, request: Request
) -> Response:
    running = _Running(pipeline, asked)
    heading = Heading(
        f"chatcmpl-{secrets.token_hex(12)}",
        int(time.time()),
        body.model,
        pipeline.fingerprint,
        None if body.service_tier is None else "default",
    )
    if not body.stream:
        outcome = await running.whole(request)
        if outcome is None:
            return Response(status_code=CLIENT_LEFT)
        return JSONBytes(completion(outcome, running.reasoning, heading, running.moderation(outcome)))

    keep_alive = pipeline.policy.limits.keep_alive_seconds
    # A failure before the first delta is still an ordinary error with its own status.
    if not await running.first_sign(request, keep_alive):
        return Response(status_code=CLIENT_LEFT)
    usage = body.stream_options is not None and body.stream_options.include_usage
    chunks = Chunks(heading, include_usage=usage)
    return _Stream(running, chunks, keep_alive)


class _Stream(StreamingResponse):
    """Response that stops the turn even if its first byte cannot be sent and `events` is never iterated."""

    def __init__(self, running: "_Running", chunks: Chunks, keep_alive: float) -> None:
        events = running.events(chunks, keep_alive)
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._running.stop()


class _Running:
    """Turn in a task of its own, and the deltas that it emitted. Cancelled when the client disconnects."""

    def __init__(self, pipeline: Pipeline, asked: TurnRequest | TaskRequest) -> None:
        self._asked = asked
        self._deltas: asyncio.Queue[ReplyDelta | None] = asyncio.Queue()
        self._admitted, self._sign = asyncio.Event(), asyncio.Event()
        answering = (
            run_task(pipeline, asked, self._emit, self._admitted.set)
            if isinstance(asked, TaskRequest)
            else run_turn(pipeline, asked, self._emit, self._admitted.set)
        )
        self._task = asyncio.create_task(answering)
        self._task.add_done_callback(lambda _: self._emit(None))
        self.reasoning: dict[int, str] = defaultdict(str)

    def _emit(self, delta: ReplyDelta | None) -> None:
        """Queue the delta; None marks the end."""
        self._deltas.put_nowait(delta)
        self._admitted.set()
        self._sign.set()

    async def whole(self, request: Request) -> Outcome | None:
        """Outcome, or None if the client left first."""
        try:
            if not await before_leaving(request, asyncio.wait({self._task})):
                return None
            outcome = self._task.result()
        finally:
            await self.stop()
        while (delta := self._deltas.get_nowait()) is not None:
            self.reasoning[delta.index] += delta.reasoning
        return outcome

    async def first_sign(self, request: Request, seconds: float) -> bool:
        """Wait until the turn has emitted a delta, has ended, or was admitted and then took `seconds`.

        False if the client left. Raises the error of a turn that failed by then, Overloaded among them.
        """
        try:
            if not (
                await before_leaving(request, self._admitted.wait())
                and await before_leaving(request, self._sign.wait(), seconds)
            ):
                await self.stop()
                return False
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self._task.done() and self._task.exception() is not None:
            self._task.result()
        return True

    async def events(self, chunks: Chunks, keep_alive: float) -> AsyncGenerator[bytes, None]:
        yield chunks.opening(self._asked.choices)
        ended = False
        while not ended:
            try:
                async with asyncio.timeout(keep_alive):
                    waiting = [await self._deltas.get()]
            except TimeoutError:
                yield KEEP_ALIVE
                continue
            while not self._deltas.empty():  # after a slow read, or with many choices: one write for all
                waiting.append(self._deltas.get_nowait())
            ended = waiting[-1] is None
            if events := b"".join(chunks.delta(delta) for delta in waiting if delta is not None):
                yield events
        try:
            outcome = self._task.result()
        except Exception as error:
            yield broken_off(self._asked.request_id, error)
            return
        yield chunks.finish(outcome, self.moderation(outcome))

    def moderation(self, outcome: Outcome) -> TurnModeration | None:
        return None if self._asked.moderation is None else moderation.of_turn(outcome)

    async def stop(self) -> None:
        """Cancel the turn, if it still runs, and wait until it has released its engine streams."""
        await end(self._task)
