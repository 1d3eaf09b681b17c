"""Response bodies: JSON, and server-sent events."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
"""Comment line, which clients skip: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

STREAMED = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Headers of a stream: kept nowhere, and not held back by nginx, whose word the second one is."""


class JSONBytes(Response):
    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(orjson.dumps(content), status_code, headers)


def event(value: Any, name: str | None = None) -> bytes:
    line = b"" if name is None else f"event: {name}\n".encode()
    return line + b"data: " + orjson.dumps(value) + b"\n\n"
