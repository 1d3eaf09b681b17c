"""Middleware of every request: id, span, bounds on the body, metrics, and a response to unexpected errors."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from psychechat import logs, tracing
from psychechat.api.http.errors import describe
from psychechat.api.http.responses import JSONBytes
from psychechat.logs import log_unforeseen
from psychechat.policy import Limits
from psychechat.telemetry import Metrics
from psychechat.tracing import Span, SpanKind, Tracer

logger = logging.getLogger(__name__)

SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Envelope:
    """Middleware in pure ASGI, so that streams pass through unbuffered."""

    def __init__(self, app: ASGIApp, metrics: Metrics, limits: Callable[[], Limits], tracer: Tracer) -> None:
        self._app, self._metrics, self._limits, self._tracer = app, metrics, limits, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if SANE_ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        logs.request_id.set(request_id)
        parent = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
        tracer = self._tracer if scope["path"].startswith("/v1/") else tracing.OFF  # not the probes
        with tracing.span(tracer, "request", kind=SpanKind.SERVER, parent=parent) as span:
            span.set_attribute("psychechat.request_id", request_id)
            await self._answer(scope, receive, send, request_id, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str, span: Span) -> None:
        status, began, body = 0, time.monotonic(), _Body(receive, self._limits())

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", request_id.encode())]}
            await send(message)

        try:
            await self._app(scope, body.receive, named)
        except Exception as error:
            if status:
                raise ConnectionAbortedError("the reply broke off") from None
            log_unforeseen(logger, request_id, error)
            http_status, described = describe(error)
            await JSONBytes(described, http_status)(scope, receive, named)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, status).inc()
            span.update_name(route)
            span.set_attributes({"http.route": route, "http.response.status_code": status})
            if route.startswith("/v1/"):
                fields = {"route": route, "status": status, "seconds": round(time.monotonic() - began, 3)}
                logger.info("request %s: %s", request_id, status, extra={"fields": fields})


class _Body:
    """Request body as it arrives, with limits on its size and duration."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._due: float | None = time.monotonic() + limits.body_seconds
        self._bytes = 0

    async def receive(self) -> Message:
        try:
            async with asyncio.timeout(None if self._due is None else self._due - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "The body did not arrive in time.", {"connection": "close"}) from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._limits.body_bytes:
            raise HTTPException(413, f"The body is larger than {self._limits.body_bytes} bytes.")
        if not message.get("more_body"):
            self._due = None  # the next message is the disconnect
        return message


def request_id(request: Request) -> str:
    identifier: str = request.state.request_id
    return identifier
