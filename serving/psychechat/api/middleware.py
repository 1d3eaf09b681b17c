"""Around every request: an id, a bound on the body, a count, and an answer to whatever was not foreseen."""

import logging
import re
import secrets
import traceback
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from psychechat.api.errors import describe
from psychechat.api.rendering import JSONBytes
from psychechat.telemetry import Metrics

logger = logging.getLogger(__name__)

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Envelope:
    """Pure ASGI, so that streams pass through untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics, body_bytes: Callable[[], int]) -> None:
        self._app, self._metrics, self._body_bytes = app, metrics, body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if _SANE_ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        status, received, most = 0, 0, self._body_bytes()

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, f"The body is larger than {most} bytes.")
            return message

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", request_id.encode())]}
            await send(message)

        try:
            await self._app(scope, bounded, named)
        except Exception as error:
            if status:
                raise ConnectionAbortedError("the reply broke off") from None
            # Where it happened, without the message, which may quote what someone wrote.
            frames = traceback.extract_tb(error.__traceback__)
            logger.error(
                "request %s: unforeseen %s at %s:%s",
                request_id,
                type(error).__name__,
                frames[-1].filename,
                frames[-1].lineno,
            )
            http_status, body = describe(error)
            await JSONBytes(body, http_status)(scope, receive, named)
        finally:
            route = scope.get("route")
            self._metrics.requests.labels(getattr(route, "path", "none"), status).inc()


def request_id(request: Request) -> str:
    identifier: str = request.state.request_id
    return identifier
