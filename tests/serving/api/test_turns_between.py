"""However large a body is, the event loop goes on to other requests while it is worked on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio

TEXTS = 1_000


class Turns:
    """How often the loop came round while a request was under way."""

    taken = 0

    async def take(self) -> None:
        while True:
            self.taken += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def counting() -> AsyncIterator[Turns]:
    turns = Turns()
    task = asyncio.create_task(turns.take())
    try:
        yield turns
    finally:
        task.cancel()


async def post(served: Any, path: str, body: dict[str, Any]) -> httpx.Response:
    """To the app itself, in this loop."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served.app), base_url="http://localhost") as client:
        return await client.post(path, json=body, timeout=60)


@pytest.mark.parametrize(
    ("path", "more"), [("/v1/classify", {}), ("/v1/classify", {"stream": True}), ("/v1/moderations", {})]
)
async def test_the_loop_comes_round_for_every_text(served: Any, path: str, more: dict[str, Any]) -> None:
    async with counting() as turns:
        answer = await post(served, path, {"input": ["I am worried"] * TEXTS, **more})
    assert answer.status_code == 200
    assert turns.taken > TEXTS


@pytest.mark.parametrize("alarm", ["I want to die", ""])
async def test_the_loop_comes_round_while_an_alarm_is_looked_for(
    serving: Callable[..., AbstractContextManager[Any]], alarm: str
) -> None:
    """In what is far too long, and alarming at its very end."""
    said = [{"role": "user", "content": "I went for a walk. " * 10_000 + alarm}]
    with serving(limits={"message_characters": 1_000}) as served:
        async with counting() as turns:
            answer = await post(served, "/v1/chat/completions", {"model": "psychechat", "messages": said})
    assert answer.status_code == (200 if alarm else 400)
    assert turns.taken > 64  # its first and its last 32,000 characters are read, a thousand at a time
