"""What each key may ask for: turns and tokens a minute, and turns at once. Each ingress replica counts for itself."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from psychechat.admission.lanes import Permit
from psychechat.errors import Overloaded
from psychechat.policy import Policy, Quota
from psychechat.telemetry import Metrics

_RETRY_SECONDS = 1.0
"""After which one of a key's turns may have ended."""


class Quotas:
    def __init__(self, policy: Callable[[], Policy], metrics: Metrics) -> None:
        self._policy, self._refusals = policy, metrics.refusals
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._under_way: Counter[str] = Counter()

    def enter(self, tenant: str) -> Permit:
        """Held while the turn runs. Raises Overloaded, which says what of the quota is used up."""
        spent = self._spent(tenant)
        if spent is not None:
            raise self._refusal(spent)
        self._under_way[tenant] += 1
        permit = ExitStack()
        permit.callback(self._leave, tenant)
        return permit

    def count(self, tenant: str) -> None:
        """A turn begins that has entered. One that was refused for load in between has used nothing up.

        Raises Overloaded if others began meanwhile, and that was the last of the minute.
        """
        most = self._of(tenant).turns_per_minute
        if most is not None and not self._limiter.hit(_a_minute(most, "turns"), tenant):
            raise self._refusal(self._turns(tenant, most))

    def exceeded(self, tenant: str) -> bool:
        """Whether a turn of this key would be refused now, unless it is a crisis."""
        return self._spent(tenant) is not None

    def check(self, tenant: str) -> None:
        """Raises Overloaded if the key's tokens are used up."""
        spent = self._spent_tokens(tenant)
        if spent is not None:
            raise self._refusal(spent)

    def charge(self, tenant: str, tokens: int) -> None:
        """What a turn has cost. It may take all that is left, but no debt is carried over."""
        most = self._of(tenant).tokens_per_minute
        if most is not None:
            item = _a_minute(most, "tokens")
            left = self._limiter.get_window_stats(item, tenant).remaining
            self._limiter.hit(item, tenant, cost=min(tokens, left))

    def _spent(self, tenant: str) -> "_Spent | None":
        quota = self._of(tenant)
        most = quota.turns_at_once
        if most is not None and self._under_way[tenant] >= most:
            return _Spent("turns_at_once", _RETRY_SECONDS, f"{most} turns at once")
        most = quota.turns_per_minute
        if most is not None and not self._limiter.test(_a_minute(most, "turns"), tenant):
            return self._turns(tenant, most)
        return self._spent_tokens(tenant)

    def _turns(self, tenant: str, most: int) -> "_Spent":
        return _Spent("turns", self._wait(_a_minute(most, "turns"), tenant), f"{most} turns a minute")

    def _spent_tokens(self, tenant: str) -> "_Spent | None":
        most = self._of(tenant).tokens_per_minute
        if most is None or self._limiter.test(_a_minute(most, "tokens"), tenant):
            return None
        return _Spent("tokens", self._wait(_a_minute(most, "tokens"), tenant), f"{most} tokens a minute")

    def _of(self, tenant: str) -> Quota:
        policy = self._policy()
        return policy.quotas.get(tenant, policy.quota)

    def _leave(self, tenant: str) -> None:
        self._under_way[tenant] -= 1
        if not self._under_way[tenant]:
            del self._under_way[tenant]

    def _wait(self, item: RateLimitItem, tenant: str) -> float:
        return max(_RETRY_SECONDS, self._limiter.get_window_stats(item, tenant).reset_time - time.time())

    def _refusal(self, spent: "_Spent") -> Overloaded:
        self._refusals.labels("key", spent.cause).inc()
        return Overloaded(spent.seconds, f"This key's limit of {spent.limit} is reached.")


@dataclass(frozen=True, slots=True)
class _Spent:
    """Which part of a quota is used up, and after how many seconds there may be more."""

    cause: str
    seconds: float
    limit: str


def _a_minute(amount: int, unit: str) -> RateLimitItem:
    return RateLimitItemPerMinute(amount, namespace=unit)
