"""Who may go on and who waits: permits for classification, at the door, and for generation, once the risk is known.

These are the only queues that hold a turn. An engine's own holds what was let through, and knows its priority.
"""

import asyncio
import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import IntEnum

from psychechat.concurrency import Clock
from psychechat.errors import Overloaded
from psychechat.policy import Policy
from psychechat.telemetry import Metrics

_BYTES_PER_TOKEN = 4
"""Of UTF-8: a little under what encoders make of English, a little over for Chinese."""


Permit = ExitStack
"""Something of a lane, given back where its `with` ends, or earlier by `close`."""


class Rank(IntEnum):
    """Who goes first. When a queue is full, the last of the lowest rank makes room for a higher one."""

    CRISIS = 0
    RAISED = 1
    ORDINARY = 2
    BULK = 3


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a lane lets through, in its own unit (tokens or sequences)."""

    capacity: int
    ordinary: int
    """What all that is no crisis may hold of it."""
    max_waiting: int
    """How many may wait; those in a crisis are not counted."""
    seconds: float
    """How long each may wait."""
    crisis_seconds: float
    """How long a crisis may; 0 lets it in over the bounds."""


class Admission:
    """Both lanes of one ingress replica. `max_sequences`: how many its engines may run for it at once, now."""

    def __init__(
        self,
        max_sequences: Callable[[], int],
        policy: Callable[[], Policy],
        metrics: Metrics,
        clock: Clock = time.monotonic,
    ) -> None:
        def door() -> Bounds:
            limits = policy().admission
            return Bounds(limits.tokens, limits.tokens, limits.waiting, limits.door_seconds, crisis_seconds=0.0)

        def engine() -> Bounds:
            limits, capacity = policy().admission, max_sequences()
            ordinary = limits.ordinary(capacity)
            return Bounds(capacity, ordinary, limits.waiting, limits.generation_seconds, limits.crisis_seconds)

        self.classification = Lane("classification", door, metrics, clock)
        self.generation = Lane("generation", engine, metrics, clock)


def estimate_tokens(text: str) -> int:
    """About what the text costs a classifier."""
    return 1 + len(text.encode()) // _BYTES_PER_TOKEN


@dataclass(order=True)
class _Waiter:
    rank: Rank
    number: int
    cost: int = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class Lane:
    """Permits of one kind. Waiters go by rank, then first come, first served.

    The bounds may change at any time. Who holds a permit keeps it; who waits hears of more room from whoever comes or
    goes next.
    """

    def __init__(
        self, name: str, bounds: Callable[[], Bounds], metrics: Metrics, clock: Clock = time.monotonic
    ) -> None:
        self._name, self._bounds, self._clock = name, bounds, clock
        self._held = self._held_by_ordinary = self._number = 0
        self._waiting: list[_Waiter] = []
        self._pace = _Pace(clock)
        self._refusals, self._seconds = metrics.refusals, metrics.wait_seconds.labels(name)
        metrics.permits.labels(name, "held").set_function(lambda: self._held)
        metrics.permits.labels(name, "waiting").set_function(lambda: len(self._waiting))
        metrics.permits_bound.labels(name, "held").set_function(lambda: bounds().capacity)
        metrics.permits_bound.labels(name, "waiting").set_function(lambda: bounds().max_waiting)

    @property
    def busy(self) -> bool:
        """Whether an ordinary newcomer would have to wait."""
        return bool(self._waiting) or not self._fits(Rank.ORDINARY, 1)

    def max_cost(self, rank: Rank) -> int:
        """What work of this rank may hold in all. Bulk gets half, so that it never shuts the lane to a turn."""
        ordinary = self._bounds().ordinary
        return max(1, ordinary // 2) if rank is Rank.BULK else ordinary

    async def acquire(self, rank: Rank, cost: int = 1, *, seconds: float | None = None) -> Permit:
        """A permit, at once or after a wait: `seconds` at most, or what the bounds say. 0 waits for nothing.

        What costs more than there is gets all there is.

        Raises Overloaded if too many wait already, if the wait is over, or if a higher rank needs the place.
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
        """A permit for what could also be done without one, if there is room for it all that no one waits for."""
        if self._waiting or cost > self.max_cost(Rank.ORDINARY) or not self._fits(Rank.ORDINARY, cost):
            return None
        self._number += 1
        waiter = _Waiter(Rank.ORDINARY, self._number, cost, asyncio.get_running_loop().create_future())
        self._take(waiter)
        return self._permit(waiter)

    def _fits(self, rank: Rank, cost: int) -> bool:
        # One that waits may have come when there was more, and could else never go.
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
        """Let in whom there is room for now, in their order."""
        while self._waiting and self._fits(self._waiting[0].rank, self._waiting[0].cost):
            waiter = self._waiting.pop(0)
            if not waiter.granted.done():  # else it is about to leave
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
        """Its wait broke off: out of the queue with it, or back with what it was given in that very moment."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._wake()  # it may have held up others, who fit
        elif not waiter.granted.cancelled() and waiter.granted.exception() is None:
            self._give_back(waiter)

    def _refusal(self, cause: str, cost: int) -> Overloaded:
        self._refusals.labels(self._name, cause).inc()
        return Overloaded(self._pace.seconds(cost + sum(waiter.cost for waiter in self._waiting)))


class _Pace:
    """How fast permits came back of late, and so how long it takes until a place is free."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._returns: deque[tuple[float, int]] = deque(maxlen=_RETURNS)

    def note(self, cost: int) -> None:
        self._returns.append((self._clock(), cost))

    def seconds(self, cost: int) -> float:
        """Until this much has come back; between one second and one minute."""
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
"""Returns older than this say nothing about the pace of now."""
_RETRY = (1.0, 60.0)
