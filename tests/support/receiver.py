"""A webhook's receiver as an operator would write one: a real HTTP server that verifies what it gets."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.support.http_server import listening
from tests.support.servers import free_port

SECRET = "whsec_c29tZSAyNCBvciBtb3JlIHJhbmRvbSBieXRlcw=="
HANG = 0
"""As a status: no answer."""


@dataclass(frozen=True)
class Delivery:
    headers: Mapping[str, str]
    body: bytes
    at: float
    """`time.monotonic()`"""

    @property
    def event(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.body)
        return loaded


@dataclass
class Receiver:
    """Gives `answers` in turn, statuses with headers; the last one repeats. A delivery that does not verify is 401."""

    answers: Sequence[tuple[int, Mapping[str, str]]]
    deliveries: list[Delivery] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    """Ends the hanging."""
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        status, headers = self.answers[min(len(self.deliveries), len(self.answers) - 1)]
        self.deliveries.append(Delivery(dict(request.headers), body, time.monotonic()))
        try:
            Webhook(SECRET).verify(body, dict(request.headers))
        except Exception:
            status = 401
        while status == HANG and not self.released.is_set():
            await asyncio.sleep(0.02)
        await Response(status_code=status or 200, headers=dict(headers))(scope, receive, send)

    @property
    def told(self) -> str:
        """All that the events hold but the sessions' names, which are the client's own."""
        return str([{**delivery.event, "session_id": None} for delivery in self.deliveries])

    def wait_for(self, deliveries: int, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while len(self.deliveries) < deliveries:
            assert time.monotonic() < deadline, f"{len(self.deliveries)} deliveries came"
            time.sleep(0.01)


@contextmanager
def receiving(*statuses: int | tuple[int, Mapping[str, str]]) -> Iterator[Receiver]:
    """In a thread of its own, so that what it does never holds up the event loop of what is tested."""
    receiver = Receiver([(status, {}) if isinstance(status, int) else status for status in statuses])
    port = free_port()
    receiver.url = f"http://127.0.0.1:{port}/crises"
    with listening(receiver, port, log_level="warning", lifespan="off"):
        try:
            yield receiver
        finally:
            receiver.released.set()
