"""Response bodies: JSON, and server-sent events."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
"""Comment line, which clients skip: https://html.spec.whatwg.org/multipage/server-sent-events.html"""


class JSONBytes(Response):
    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(orjson.dumps(content), status_code, headers)


def event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
