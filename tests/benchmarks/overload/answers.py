"""A server whose turns are answered as a test has it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.support.servers import free_port

HELP, OWN = "Call 000 000.", "\n\nI am here."
"""The two pieces of a reply, of which the first names somebody to turn to."""


def event(**found: Any) -> bytes:
    return b"data: " + json.dumps(found, separators=(",", ":")).encode() + b"\n\n"


def reply(reason: str, *, fallback: bool = False, kind: str | None = None, held: bool = False) -> bytes:
    found = {
        "reason": reason,
        "review": {"fallback": fallback},
        "risk": {"kind": kind, "conversation": {"held": held or reason == "crisis"}},
        "resources": [{"contact": "000 000"}],
    }
    pieces = (HELP,) if fallback else (HELP, OWN)
    return (
        b"".join(event(choices=[{"delta": {"content": piece}}]) for piece in pieces)
        + event(choices=[{"delta": {}}], psychechat=found)
        + event(choices=[], usage={"completion_tokens": 7})
        + b"data: [DONE]\n\n"
    )


@asynccontextmanager
async def serving(chat: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The URL of a server whose turns are answered so."""

    async def empty(request: web.Request) -> web.Response:
        return web.Response()

    app, port = web.Application(client_max_size=2**21), free_port()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/health", empty)
    app.router.add_get("/metrics", empty)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
