"""One thread for work that comes in pieces: whatever is most urgent goes on after each piece."""

import asyncio
import itertools
import threading
from collections.abc import Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, PriorityQueue
from typing import Any, TypeVar

T = TypeVar("T")
Pieces = Generator[None, None, T]
"""Work that yields after each piece and returns its result."""


@dataclass(order=True, slots=True)
class _Job:
    priority: int
    number: int
    pieces: Pieces[Any] | None = field(compare=False)
    """None: the thread ends."""
    result: Future[Any] = field(compare=False)


class UrgentFirst:
    """Of jobs of one priority each gets a piece done in turn, so that a short one does not wait for a long one's end.

    A job whose waiter was cancelled gets no further piece. Waiters are cancelled by `close`, and by all that comes
    after it.
    """

    def __init__(self, name: str) -> None:
        self._jobs: PriorityQueue[_Job] = PriorityQueue()
        self._numbers = itertools.count()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, pieces: Pieces[T], priority: int) -> T:
        """What `pieces` returns. Lower goes first. Raises what it raises."""
        result: Future[T] = Future()
        self._put(_Job(priority, next(self._numbers), pieces, result))
        return await asyncio.wrap_future(result)

    def close(self) -> None:
        with self._closing:
            self._closed = True
            self._jobs.put(_Job(0, -1, None, Future()))

    def _put(self, job: _Job) -> None:
        with self._closing:
            if not self._closed:
                self._jobs.put(job)
                return
        job.result.cancel()

    def _work(self) -> None:
        while (job := self._jobs.get()).pieces is not None:
            self._go_on(job, job.pieces)
        with suppress(Empty):
            while True:
                self._jobs.get_nowait().result.cancel()

    def _go_on(self, job: _Job, pieces: Pieces[Any]) -> None:
        if job.result.cancelled():
            pieces.close()
            return
        try:
            next(pieces)
        except StopIteration as end:
            with suppress(InvalidStateError):  # cancelled meanwhile
                job.result.set_result(end.value)
        except BaseException as error:
            with suppress(InvalidStateError):
                job.result.set_exception(error)
        else:
            job.number = next(self._numbers)
            self._put(job)
