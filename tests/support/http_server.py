"""A real HTTP server in a thread of its own, so that it and what is tested never hold up each other's event loop."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def listening(app: Any, port: int, **config: Any) -> Iterator[None]:
    """`config`: further fields of uvicorn's."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, **config))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
