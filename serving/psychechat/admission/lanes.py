"""Admission queues: a permit before classification (the door), another before generation, when the rank is known.

Turns wait in no other queue: an engine's own holds requests that were admitted, by their priority.
"""

import asyncio
import time
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from itertools import takewhile
from typing import Literal, get_args

from cachetools import TTLCache

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

    def max_cost(self, rank: Rank) -> int:
        """Cap on all non-crisis work for a request of this rank to enter. Bulk stops at half of it, for turns' sake."""
        return max(1, self.ordinary // 2) if rank is Rank.BULK else self.ordinary


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
    tenant: str = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)
    passed: int = field(default=0, compare=False)
    """How often one that came later went before it."""


class Lane:
    """Permits of one kind. Crises go first and bulk last; of each those whose tenant has the least here, then by rank,
    then first come, first served. One that does not fit is passed by others that do, so often and no more.

    Bounds are read again at each acquire and release; raising them wakes waiters only then, and lowering them takes
    back no permit.
    """

    def __init__(
        self, name: str, engine: str, bounds: Callable[[], Bounds], metrics: Metrics, clock: Clock = time.monotonic
    ) -> None:
        """`name` and `engine` are labels of its metrics."""
        self._bounds, self._clock = bounds, clock
        self._held = self._held_by_ordinary = self._number = 0
        self._crises: Counter[str] = Counter()
        """What each tenant's crises hold."""
        self._others: Counter[str] = Counter()
        """What all else of each tenant's holds."""
        self._last_tenants: TTLCache[str, None] = TTLCache(2, _TENANT_SECONDS, timer=clock)
        """The two that came last, which tells one tenant from several; each for a while."""
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
        """Whether somebody waits, or an ordinary newcomer would have to."""
        return bool(self._waiting) or not self._fits(self._bounds(), Rank.ORDINARY, 1)

    def max_cost(self, rank: Rank) -> int:
        """That of the bounds as they are now."""
        return self._bounds().max_cost(rank)

    async def acquire(self, rank: Rank, cost: int = 1, *, tenant: str = "", seconds: float | None = None) -> Permit:
        """Permit, at once or after a wait of at most `seconds` (None: the bounds'); 0: fail at once, a crisis enters.

        `cost` is capped at max_cost(rank), also for a crisis. `tenant`: whose crises share the lane with others'. While
        several came within ten minutes, the last place is for one whose crises hold none, or less than their share.

        Raises Overloaded if the queue is full, if the wait times out, or if a higher rank displaces this request.
        """
        bounds = self._bounds()
        cost = min(cost, bounds.max_cost(rank))
        if tenant:
            self._last_tenants[tenant] = None
        if seconds is None:
            seconds = bounds.crisis_seconds if rank is Rank.CRISIS else bounds.seconds
        waiter = self._waiter(rank, cost, tenant)
        insort(self._waiting, waiter)
        self._wake()
        if waiter.granted.done():
            return self._permit(waiter)
        if not seconds:
            self._waiting.remove(waiter)
            if rank is not Rank.CRISIS:
                raise self._refusal("full", cost)
            self._take(waiter)
            return self._permit(waiter)
        if rank is not Rank.CRISIS and sum(w.rank is not Rank.CRISIS for w in self._waiting) > bounds.max_waiting:
            self._displace_last(waiter)
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

    def try_acquire(self, cost: int, rank: Rank = Rank.ORDINARY) -> Permit | None:
        """Permit for optional work, never queued; None unless all of `cost` fits and the queue is empty. That is no
        refusal.
        """
        bounds = self._bounds()
        if self._waiting or cost > bounds.max_cost(rank) or not self._fits(bounds, rank, cost):
            return None
        waiter = self._waiter(rank, cost, "")
        self._take(waiter)
        return self._permit(waiter)

    def _waiter(self, rank: Rank, cost: int, tenant: str) -> _Waiter:
        self._number += 1
        return _Waiter(rank, self._number, cost, tenant, asyncio.get_running_loop().create_future())

    def _fits(self, bounds: Bounds, rank: Rank, cost: int, tenant: str = "", share: int = 0) -> bool:
        """`share`: as `_share` has it."""
        # A waiter's cost may date from when the bounds were wider; uncapped it could never fit.
        most = bounds.max_cost(rank)
        cost = min(cost, most)
        free = bounds.capacity - self._held
        if rank is Rank.CRISIS:
            has = self._crises[tenant]
            left_to_others = 1 if has and has + cost > share and len(self._last_tenants) > 1 else 0
            return cost + left_to_others <= free
        return cost <= free and self._held_by_ordinary + cost <= most

    def _share(self, bounds: Bounds) -> int:
        """An equal part of all that crises may hold now, for each tenant whose crises hold some or wait; 0 where
        that is one tenant, or where no crisis waits.
        """
        if self._waiting[0].rank is not Rank.CRISIS:
            return 0
        waiting = takewhile(lambda waiter: waiter.rank is Rank.CRISIS, self._waiting)
        tenants = len(self._crises.keys() | {waiter.tenant for waiter in waiting})
        return -((self._held_by_ordinary - bounds.capacity) // tenants) if tenants > 1 else 0

    def _take(self, waiter: _Waiter) -> None:
        self._held += waiter.cost
        if waiter.rank is not Rank.CRISIS:
            self._held_by_ordinary += waiter.cost
        self._holdings(waiter)[waiter.tenant] += waiter.cost

    def _holdings(self, waiter: _Waiter) -> Counter[str]:
        return self._crises if waiter.rank is Rank.CRISIS else self._others

    def _permit(self, waiter: _Waiter) -> Permit:
        permit = ExitStack()
        permit.callback(self._give_back, waiter)
        return permit

    def _give_back(self, waiter: _Waiter) -> None:
        self._held -= waiter.cost
        if waiter.rank is not Rank.CRISIS:
            self._held_by_ordinary -= waiter.cost
        holdings = self._holdings(waiter)
        holdings[waiter.tenant] -= waiter.cost
        if not holdings[waiter.tenant]:
            del holdings[waiter.tenant]
        self._pace.note(waiter.cost)
        self._wake()

    def _wake(self) -> None:
        """Grant permits to waiters as long as one may enter."""
        while (waiter := self._next()) is not None:
            self._waiting.remove(waiter)
            self._take(waiter)
            waiter.granted.set_result(None)

    def _next(self) -> _Waiter | None:
        """First waiter that fits, unless one before it lets nobody pass. Bulk passes nobody, only crises a crisis."""
        bounds = self._bounds()
        if not self._waiting or self._held >= bounds.capacity:
            return None
        share = self._share(bounds)
        passed: list[_Waiter] = []
        nobody_may_pass = only_crises_may_pass = False
        for waiter in sorted(self._waiting, key=self._turn):
            if waiter.granted.done():  # its wait was cancelled
                continue
            if nobody_may_pass or (passed and waiter.rank is Rank.BULK):
                return None
            if only_crises_may_pass and waiter.rank is not Rank.CRISIS:
                return None
            if self._fits(bounds, waiter.rank, waiter.cost, waiter.tenant, share):
                for other in passed:
                    other.passed += 1
                return waiter
            passed.append(waiter)
            nobody_may_pass |= waiter.passed >= _MOST_PASSES
            only_crises_may_pass |= waiter.rank is Rank.CRISIS
        return None

    def _turn(self, waiter: _Waiter) -> tuple[bool, bool, int, Rank, int]:
        """Place in the queue: crises, then what is not bulk; of each those first whose tenant has the least here, so
        that one that asks for much does not keep out the others; then by rank.
        """
        has = self._holdings(waiter)[waiter.tenant]
        return waiter.rank is not Rank.CRISIS, waiter.rank is Rank.BULK, has, waiter.rank, waiter.number

    def _displace_last(self, newcomer: _Waiter) -> None:
        """Room in a queue that the newcomer has made too long: bulk leaves, else one of the tenant that has most
        waiting, the last of its lowest rank; perhaps the newcomer itself.
        """
        others = [waiter for waiter in self._waiting if waiter.rank is not Rank.CRISIS]
        many = Counter(waiter.tenant for waiter in others)
        last = max(others, key=lambda waiter: (waiter.rank is Rank.BULK, many[waiter.tenant], waiter))
        self._waiting.remove(last)
        if last is newcomer:
            raise self._refusal("full", newcomer.cost)
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


_MOST_PASSES = 8
"""So often one that does not fit is passed, then those behind it wait until it does."""
_TENANT_SECONDS = 600.0
"""One that has not come for so long counts no more, and the last place is kept for it no longer."""
_RETURNS = 64
_RECENT_SECONDS = 30.0
"""Releases older than this are ignored."""
_RETRY = (1.0, 60.0)
