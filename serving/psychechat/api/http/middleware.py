"""Middleware of every request: id, span, bounds on the body, metrics, and a response to unexpected errors."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from psychechat import logs, tracing
from psychechat.api.http.body import coding, unread
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
        status, began, body = 0, time.monotonic(), _Body(scope, receive, self._limits())

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (b"x-request-id", request_id.encode())]
                if ignored := scope["state"].get("ignored"):
                    headers.append((unread.HEADER.encode(), ignored.encode()))
                if not await body.drained():
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
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

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self._scope, self._receive, self._limits = scope, receive, limits
        headers = dict(scope["headers"])
        comes = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        self._due = time.monotonic() + limits.body_seconds if comes else None
        """None once all of it is here."""
        self._bytes = self._inflated = 0
        self._gzip: coding.Gzip | None = None

    async def receive(self) -> Message:
        """The next message, without the content coding that its bytes came in. Raises HTTPException."""
        if not self._bytes:
            self._gzip = coding.of(self._scope)
        try:
            message = await self._next()
        except TimeoutError:
            raise HTTPException(408, "The body did not arrive in time.") from None
        self._bytes += len(message.get("body", b""))
        most = self._limits.body_bytes
        if self._gzip is not None and message["type"] == "http.request" and self._bytes <= most:
            last = not message.get("more_body", False)
            body = self._gzip.inflate(message.get("body", b""), most + 1 - self._inflated, last=last)
            self._inflated += len(body)
            message = {**message, "body": body}
        if max(self._bytes, self._inflated) > most:
            raise HTTPException(413, f"The body is larger than {most} bytes.")
        return message

    async def drained(self) -> bool:
        """Read what is left, which nobody wants; False if it does not arrive in time.

        A client that still sends hears no answer; and one whose rest nobody awaits could send a byte now and then for
        ever, without a key.
        """
        with suppress(TimeoutError):
            while self._due is not None:
                await self._next()
        return self._due is None

    async def _next(self) -> Message:
        """Raises TimeoutError."""
        async with asyncio.timeout(None if self._due is None else self._due - time.monotonic()):
            message = await self._receive()
        if not message.get("more_body"):
            self._due = None  # the next message is the disconnect
        return message


def request_id(request: Request) -> str:
    identifier: str = request.state.request_id
    return identifier
