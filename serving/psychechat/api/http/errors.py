"""Error responses: one table from our errors to HTTP status and OpenAI's error object.

https://platform.openai.com/docs/guides/error-codes: `{"error": {"message", "type", "param", "code"}}`.
"""

import logging
import re
from collections.abc import Sequence
from math import ceil
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from psychechat.api.http.methods import allowed
from psychechat.api.http.responses import JSONBytes, event
from psychechat.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineUnavailable,
    Forbidden,
    InvalidRequest,
    MemoryUnavailable,
    NotLocal,
    Overloaded,
    PsycheChatError,
    Unauthorized,
    UnknownModel,
)
from psychechat.logs import log_unforeseen

logger = logging.getLogger(__name__)

# Status, type and code. The first row whose class matches is used.
_TABLE: Sequence[tuple[type[PsycheChatError], int, str, str | None]] = (
    (UnknownModel, 404, "invalid_request_error", "model_not_found"),
    (ContextLengthExceeded, 400, "invalid_request_error", "context_length_exceeded"),
    (InvalidRequest, 400, "invalid_request_error", None),
    (Unauthorized, 401, "invalid_request_error", "invalid_api_key"),
    (Forbidden, 403, "invalid_request_error", "insufficient_permissions"),
    (NotLocal, 403, "invalid_request_error", "not_local"),
    (Overloaded, 429, "rate_limit_error", "rate_limit_exceeded"),
    (EngineUnavailable, 503, "server_error", "engine_unavailable"),
    (MemoryUnavailable, 503, "server_error", "memory_unavailable"),
    (DeadlineExceeded, 504, "server_error", "deadline_exceeded"),
    (PsycheChatError, 500, "server_error", None),
)

_RESTART_SECONDS = 5
"""Retry-After for a lost engine or memory; the official clients wait as long."""

_HTTP = {
    400: "The body must be one JSON object.",
    404: "There is nothing at this path.",
    405: "This path does not take this method.",
}
_FIELD = re.compile(r"[A-Za-z0-9_]{1,64}")


def error_object(message: str, type: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """HTTP status and error object of any exception."""
    if isinstance(error, RequestValidationError):
        return 400, _invalid(error)
    if isinstance(error, HTTPException):
        return error.status_code, error_object(_HTTP.get(error.status_code, error.detail), "invalid_request_error")
    for kind, status, type, code in _TABLE:
        if isinstance(error, kind):
            param = None
            if isinstance(error, InvalidRequest):
                param, code = error.param, code or error.code
            return status, error_object(str(error), type, param=param, code=code)
    return 500, error_object("The server failed. Nothing of the request was kept.", "server_error")


def broken_off(request_id: str, error: Exception) -> bytes:
    """Event that ends a stream early. No `[DONE]` follows, so that a client does not take the part for the whole."""
    return event(in_stream(request_id, error))


def in_stream(request_id: str, error: Exception) -> dict[str, Any]:
    """Error object of what ends a stream early; what nobody foresaw is logged."""
    if not isinstance(error, PsycheChatError):
        log_unforeseen(logger, request_id, error)
    return describe(error)[1]


def respond(request: Request, error: Exception) -> Response:
    status, body = describe(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 405:
        headers = {"allow": allowed(request.scope)}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, Overloaded):
        headers |= _retry_after(error.retry_after)
    if isinstance(error, EngineUnavailable | MemoryUnavailable):
        headers |= _retry_after(_RESTART_SECONDS)
    if isinstance(error, DeadlineExceeded):
        headers["x-should-retry"] = "false"  # the client's own time is over
    return JSONBytes(body, status, headers)


def _retry_after(seconds: float) -> dict[str, str]:
    """Standard header, and the official clients' one in milliseconds."""
    return {
        "retry-after": str(max(1, ceil(seconds))),
        "retry-after-ms": str(max(1, ceil(seconds * 1000))),
    }


def _invalid(error: RequestValidationError) -> dict[str, Any]:
    """Error object with the field and the rule; the client's value is not repeated."""
    first = error.errors()[0]
    kind, place = first["type"], [part for part in first["loc"] if part != "body"]
    if kind in ("json_invalid", "model_attributes_type", "missing") and not place[1:] and not _known(place):
        return error_object(_HTTP[400], "invalid_request_error")
    param = _path(place)
    if kind == "extra_forbidden":
        message = f"Unknown parameter: '{param}'." if param else "There is a parameter that is not known here."
    elif kind == "missing":
        message = f"Missing required parameter: '{param}'."
    else:
        message = f"Invalid '{param}': {first['msg'].removeprefix('Value error, ')}."
    return error_object(message, "invalid_request_error", param=param)


def _known(place: list[Any]) -> bool:
    return bool(place) and isinstance(place[0], str)


def _path(place: list[Any]) -> str | None:
    """Path such as `messages[0].role`; None if part of it is not a plain field name, since the client then chose it,
    as it does the keys of `metadata`.
    """
    path = ""
    for part in place[:1] if place[:1] == ["metadata"] else place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _FIELD.fullmatch(part):
            path += f".{part}" if path else part
        else:
            return None
    return path or None
