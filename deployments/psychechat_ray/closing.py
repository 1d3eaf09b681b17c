"""Clients of HTTP/1.0 know no chunks: what is streamed to them ends where the connection closes.

uvicorn's faster reader sends chunks to them too, and HAProxy hands those on.
"""

import sys
from typing import Any

from uvicorn.protocols.http import httptools_impl

_Cycle: Any = httptools_impl.RequestResponseCycle


class Closing(_Cycle):  # type: ignore[misc]
    """One request and its response. uvicorn itself closes the connection of such a client."""

    _bare = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and self.scope["http_version"] == "1.0":
            self._bare = not any(name.lower() == b"content-length" for name, _ in message["headers"])
            if self._bare:
                self.chunked_encoding = False
        elif self._bare:
            self.expected_content_length = sys.maxsize if message.get("more_body") else len(message.get("body", b""))
        await super().send(message)


def install() -> None:
    """For every server that this process starts."""
    httptools_impl.RequestResponseCycle = Closing  # type: ignore[misc]
