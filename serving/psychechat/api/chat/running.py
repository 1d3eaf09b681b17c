"""A turn, or a background task, under way for its client: whole or as events, in the objects of its endpoint."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from fastapi import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from psychechat.api.chat import moderation
from psychechat.api.http.disconnect import CLIENT_LEFT, before_leaving, end
from psychechat.api.http.responses import KEEP_ALIVE, STREAMED, JSONBytes
from psychechat.api.http.schemas import TurnModeration
from psychechat.concurrency import Silence, unshown
from psychechat.conversation import ReplyDelta
from psychechat.pipeline.request import Outcome, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.answer import run_task
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.pipeline.turn import run_turn


class Rendering(Protocol):
    """One answer in the objects of an endpoint: `whole`, or as server-sent events, by the others in their order."""

    def whole(self, outcome: Outcome, reasoning: Mapping[int, str], moderation: TurnModeration | None) -> Any:
        """`reasoning`: thinking by choice, as far as the policy shows it."""

    def opening(self, choices: int) -> bytes: ...

    def delta(self, delta: ReplyDelta) -> bytes: ...

    def finish(self, outcome: Outcome, moderation: TurnModeration | None) -> bytes: ...

    def broken_off(self, error: Exception) -> bytes:
        """In the place of `finish`, for a turn that failed after its opening had left."""


async def answered(
    pipeline: Pipeline, asked: TurnRequest | TaskRequest, rendering: Rendering, request: Request, *, streamed: bool
) -> Response:
    running = Running(pipeline, asked)
    if not streamed:
        outcome = await running.whole(request)
        if outcome is None:
            return Response(status_code=CLIENT_LEFT)
        return JSONBytes(rendering.whole(outcome, running.reasoning, running.moderation(outcome)))

    keep_alive = pipeline.policy.limits.keep_alive_seconds
    # A failure before the first delta is still an ordinary error with its own status.
    if not await running.first_sign(request, keep_alive):
        return Response(status_code=CLIENT_LEFT)
    return Stream(running, rendering, keep_alive)


class Running:
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
        self._task = asyncio.create_task(unshown(answering))
        self._task.add_done_callback(lambda _: self._emit(None))
        self.reasoning: dict[int, str] = defaultdict(str)

    def _emit(self, delta: ReplyDelta | None) -> None:
        """Queue the delta; None marks the end."""
        self._deltas.put_nowait(delta)
        if not self._sign.is_set():
            self._admitted.set()
            self._sign.set()

    async def whole(self, request: Request) -> Outcome | None:
        """Outcome, or None if the client left first."""
        try:
            if not await before_leaving(request, asyncio.wait({self._task})):
                return None
            outcome = self._task.result().value
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

    async def events(self, rendering: Rendering, keep_alive: float) -> AsyncGenerator[bytes, None]:
        opening = rendering.opening(self._asked.choices)
        if self._deltas.empty():  # else the first words leave with it
            yield opening
            opening = b""
        silence = Silence(keep_alive, lambda: self._deltas.put_nowait(_SILENCE))
        ended = False
        try:
            while not ended:
                waiting = [await self._deltas.get()]
                silence.broken()
                while not self._deltas.empty():  # after a slow read, or with many choices: one write for all
                    waiting.append(self._deltas.get_nowait())
                ended = None in waiting
                deltas = [delta for delta in waiting if delta is not None and delta is not _SILENCE]
                if events := opening + b"".join(map(rendering.delta, deltas)):
                    yield events
                    opening = b""
                elif not deltas and not ended:
                    yield KEEP_ALIVE
        finally:
            silence.close()
        try:
            outcome = self._task.result().value
        except Exception as error:
            yield rendering.broken_off(error)
            return
        yield rendering.finish(outcome, self.moderation(outcome))

    def moderation(self, outcome: Outcome) -> TurnModeration | None:
        return None if self._asked.moderation is None else moderation.of_turn(outcome)

    async def stop(self) -> None:
        """Cancel the turn, if it still runs, and wait until it has released its engine streams."""
        await end(self._task)


_SILENCE = ReplyDelta()
"""Stands among the deltas where none has come for so long that the client hears a keep-alive."""


class Stream(StreamingResponse):
    """Response that stops the turn even if its first byte cannot be sent and `events` is never iterated."""

    def __init__(self, running: Running, rendering: Rendering, keep_alive: float) -> None:
        events = running.events(rendering, keep_alive)
        super().__init__(events, media_type="text/event-stream", headers=STREAMED)
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._running.stop()
