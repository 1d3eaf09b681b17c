"""When the words of a replica's streams leave: all at the same moments."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_MESSAGE_SECONDS = 0.001
"""About what a message costs its sender and its reader together."""


class Departures:
    """Of the streams of one replica. Words of many that leave together share packets, and wake their reader once."""

    def __init__(self, longest: float) -> None:
        """`longest`: seconds between two of them, however many streams there are."""
        self._longest = longest
        self._waiting: list[asyncio.Future[None]] = []
        self.streams = 0
        """Under way."""

    @contextmanager
    def stream(self) -> Iterator[None]:
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    async def next(self) -> None:
        """Wait for the next one, while the engine gathers what will leave with it. One stream alone hardly waits."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(pause(self.streams, self._longest), self._leave)
        leaving = loop.create_future()
        self._waiting.append(leaving)
        await leaving

    def _leave(self) -> None:
        waiting, self._waiting = self._waiting, []
        for leaving in waiting:
            if not leaving.done():  # its stream was closed
                leaving.set_result(None)


def pause(streams: int, longest: float) -> float:
    """Seconds between two departures.

    So a replica sends at most 1 / `_MESSAGE_SECONDS` messages a second, until that would take `longest`.
    """
    return min(streams * _MESSAGE_SECONDS, longest)
