"""A real HTTP server in a thread of its own, so that it and what is tested never hold up each other's event loop."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn


@contextmanager
def listening(app: Any, port: int, **config: Any) -> Iterator[None]:
    """`config`: further fields of uvicorn's."""
    server = _Server(uvicorn.Config(app, port=port, **config))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.listens.wait(0.01):
        assert thread.is_alive()
    try:
        yield
    finally:
        server.end()
        thread.join(10)


class _Server(uvicorn.Server):
    """Begins and ends when it is told to. uvicorn's looks every tenth of a second, longer than most tests take."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def main_loop(self) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        self.listens.set()
        while not await self.on_tick(0):  # it notes the date
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1)

    def end(self) -> None:
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._told.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.002)
        await self.lifespan.shutdown()
