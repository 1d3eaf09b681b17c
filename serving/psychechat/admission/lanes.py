"""Admission queues: a permit before classification (the door), another before generation, when the rank is known.

Turns wait in no other queue: an engine's own holds requests that were admitted, by their priority.
"""

import asyncio
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Literal, get_args

from psychechat.concurrency import Clock
from psychechat.errors import Overloaded
from psychechat.policy import Policy
from psychechat.telemetry import Metrics

_BYTES_PER_TOKEN = 4
"""UTF-8 bytes per token; a little below what encoders average in English, a little above in Chinese."""


RefusalCause = Literal["full", "late", "displaced"]

Permit = ExitStack
"""Capacity held in a lane; released at the end of `with`, or earlier by `close`."""


class Rank(IntEnum):
    """Priority in a queue. When it is full, the last waiter of the lowest rank is displaced by one of a higher rank."""

    CRISIS = 0
    RAISED = 1
    ORDINARY = 2
    BULK = 3


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a lane, in its own unit (tokens or sequences)."""

    capacity: int
    """Total that may be held at once."""
    ordinary: int
    """Capacity for all non-crisis work; the rest is kept for crises."""
    max_waiting: int
    """Queue limit for non-crisis waiters."""
    seconds: float
    """Wait limit of non-crisis work."""
    crisis_seconds: float
    """Wait limit of a crisis; at 0 it skips the queue and may exceed capacity."""


class Admission:
    """Lanes of one ingress replica: one for classification, and one for the generations of each counselor engine."""

    def __init__(
        self,
        engines: Iterable[str],
        max_sequences: Callable[[str], int],
        policy: Callable[[], Policy],
        metrics: Metrics,
        clock: Clock = time.monotonic,
    ) -> None:
        """`engines`: names of the counselor engines. `max_sequences`: of one of them, how many may run for this replica
        at once, now.
        """

        def door() -> Bounds:
            limits = policy().admission
            return Bounds(limits.tokens, limits.tokens, limits.waiting, limits.door_seconds, crisis_seconds=0.0)

        def engine(name: str) -> Bounds:
            limits, capacity = policy().admission, max_sequences(name)
            ordinary = limits.ordinary(capacity)
            return Bounds(capacity, ordinary, limits.waiting, limits.generation_seconds, limits.crisis_seconds)

        self.classification = Lane("classification", "classifier", door, metrics, clock)
        self.generation = {name: Lane("generation", name, partial(engine, name), metrics, clock) for name in engines}


def estimate_tokens(text: str) -> int:
    """Estimated cost of classifying the text, without a tokenizer."""
    return 1 + len(text.encode()) // _BYTES_PER_TOKEN


@dataclass(order=True)
class _Waiter:
    rank: Rank
    number: int
    cost: int = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class Lane:
    """Permits of one kind. Waiters are served by rank, then first come, first served.

    Bounds are read again at each acquire and release; raising them wakes waiters only then, and lowering them takes
    back no permit.
    """

    def __init__(
        self, name: str, engine: str, bounds: Callable[[], Bounds], metrics: Metrics, clock: Clock = time.monotonic
    ) -> None:
        """`name` and `engine` are labels of its metrics."""
        self._bounds, self._clock = bounds, clock
        self._held = self._held_by_ordinary = self._number = 0
        self._waiting: list[_Waiter] = []
        self._pace = _Pace(clock)
        self._refusals = {cause: metrics.refusals.labels(name, engine, cause) for cause in get_args(RefusalCause)}
        self._seconds = metrics.wait_seconds.labels(name, engine)
        metrics.permits.labels(name, engine, "held").set_function(lambda: self._held)
        metrics.permits.labels(name, engine, "waiting").set_function(lambda: len(self._waiting))
        metrics.permits_bound.labels(name, engine, "held").set_function(lambda: bounds().capacity)
        metrics.permits_bound.labels(name, engine, "waiting").set_function(lambda: bounds().max_waiting)

    @property
    def busy(self) -> bool:
        """Whether an ordinary newcomer would have to wait."""
        return bool(self._waiting) or not self._fits(Rank.ORDINARY, 1)

    def max_cost(self, rank: Rank) -> int:
        """Cap on all non-crisis work for a request of this rank to enter. Bulk stops at half of it, for turns' sake."""
        ordinary = self._bounds().ordinary
        return max(1, ordinary // 2) if rank is Rank.BULK else ordinary

    async def acquire(self, rank: Rank, cost: int = 1, *, seconds: float | None = None) -> Permit:
        """Permit, at once or after a wait of at most `seconds` (None: the bounds'); 0: fail at once, a crisis enters.

        `cost` is capped at max_cost(rank), also for a crisis.

        Raises Overloaded if the queue is full, if the wait times out, or if a higher rank displaces this request.
        """
        self._wake()
        bounds = self._bounds()
        cost = min(cost, self.max_cost(rank))
        self._number += 1
        waiter = _Waiter(rank, self._number, cost, asyncio.get_running_loop().create_future())
        if seconds is None:
            seconds = bounds.crisis_seconds if rank is Rank.CRISIS else bounds.seconds
        its_turn = self._fits(rank, cost) and not (self._waiting and self._waiting[0].rank <= rank)
        if its_turn or (rank is Rank.CRISIS and not seconds):
            self._take(waiter)
            return self._permit(waiter)
        if not seconds:
            raise self._refusal("full", cost)
        if rank is not Rank.CRISIS and sum(w.rank is not Rank.CRISIS for w in self._waiting) >= bounds.max_waiting:
            self._make_room(waiter)
        insort(self._waiting, waiter)
        began = self._clock()
        try:
            async with asyncio.timeout(seconds):
                await waiter.granted
        except BaseException as error:
            self._leave(waiter)
            if isinstance(error, TimeoutError):
                raise self._refusal("late", cost) from None
            raise
        finally:
            self._seconds.observe(self._clock() - began)
        return self._permit(waiter)

    def try_acquire(self, cost: int) -> Permit | None:
        """Permit for optional work, never queued; None unless all of `cost` fits and the queue is empty."""
        if self._waiting or cost > self.max_cost(Rank.ORDINARY) or not self._fits(Rank.ORDINARY, cost):
            return None
        self._number += 1
        waiter = _Waiter(Rank.ORDINARY, self._number, cost, asyncio.get_running_loop().create_future())
        self._take(waiter)
        return self._permit(waiter)

    def _fits(self, rank: Rank, cost: int) -> bool:
        # A waiter's cost may date from when the bounds were wider; uncapped it could never fit.
        cost = min(cost, self.max_cost(rank))
        if self._held + cost > self._bounds().capacity:
            return False
        return rank is Rank.CRISIS or self._held_by_ordinary + cost <= self.max_cost(rank)

    def _take(self, waiter: _Waiter) -> None:
        self._held += waiter.cost
        if waiter.rank is not Rank.CRISIS:
            self._held_by_ordinary += waiter.cost

    def _permit(self, waiter: _Waiter) -> Permit:
        permit = ExitStack()
        permit.callback(self._give_back, waiter)
        return permit

    def _give_back(self, waiter: _Waiter) -> None:
        self._held -= waiter.cost
        if waiter.rank is not Rank.CRISIS:
            self._held_by_ordinary -= waiter.cost
        self._pace.note(waiter.cost)
        self._wake()

    def _wake(self) -> None:
        """Grant permits to waiters in order, up to the first that does not fit."""
        while self._waiting and self._fits(self._waiting[0].rank, self._waiting[0].cost):
            waiter = self._waiting.pop(0)
            if not waiter.granted.done():  # else its wait was cancelled
                self._take(waiter)
                waiter.granted.set_result(None)

    def _make_room(self, newcomer: _Waiter) -> None:
        last = self._waiting[-1] if self._waiting else newcomer
        if last.rank <= newcomer.rank:
            raise self._refusal("full", newcomer.cost)
        self._waiting.remove(last)
        if not last.granted.done():
            last.granted.set_exception(self._refusal("displaced", last.cost))

    def _leave(self, waiter: _Waiter) -> None:
        """Cleanup of a cancelled wait: leave the queue, or release a permit granted at the same moment."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._wake()  # those behind it may fit
        elif not waiter.granted.cancelled() and waiter.granted.exception() is None:
            self._give_back(waiter)

    def _refusal(self, cause: RefusalCause, cost: int) -> Overloaded:
        self._refusals[cause].inc()
        return Overloaded(self._pace.seconds(cost + sum(waiter.cost for waiter in self._waiting)))


class _Pace:
    """Rate of recent releases, from which a refusal's retry time is estimated."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._returns: deque[tuple[float, int]] = deque(maxlen=_RETURNS)

    def note(self, cost: int) -> None:
        self._returns.append((self._clock(), cost))

    def seconds(self, cost: int) -> float:
        """Estimated seconds until `cost` is released; between one second and one minute."""
        now = self._clock()
        while self._returns and now - self._returns[0][0] > _RECENT_SECONDS:
            self._returns.popleft()
        if not self._returns:
            return _RETRY[0]
        took = now - self._returns[0][0]
        returned = sum(cost for _, cost in self._returns)
        return min(max(cost * took / returned, _RETRY[0]), _RETRY[1])


_RETURNS = 64
_RECENT_SECONDS = 30.0
"""Releases older than this are ignored."""
_RETRY = (1.0, 60.0)
