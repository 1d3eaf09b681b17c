"""What each key may ask for: turns and tokens a minute, and turns at once. Each ingress replica counts for itself."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from psychechat.errors import Overloaded
from psychechat.pipeline.admission import Permit
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
        quota = self._of(tenant)
        self.check(tenant)
        if quota.turns_at_once is not None and self._under_way[tenant] >= quota.turns_at_once:
            raise self._refusal("turns_at_once", _RETRY_SECONDS, f"{quota.turns_at_once} turns at once")
        if quota.turns_per_minute is not None:
            turns = _a_minute(quota.turns_per_minute, "turns")
            if not self._limiter.hit(turns, tenant):
                raise self._refusal("turns", self._wait(turns, tenant), f"{quota.turns_per_minute} turns a minute")
        self._under_way[tenant] += 1
        permit = ExitStack()
        permit.callback(self._leave, tenant)
        return permit

    def check(self, tenant: str) -> None:
        """Raises Overloaded if the key's tokens are used up."""
        most = self._of(tenant).tokens_per_minute
        if most is not None:
            tokens = _a_minute(most, "tokens")
            if not self._limiter.test(tokens, tenant):
                raise self._refusal("tokens", self._wait(tokens, tenant), f"{most} tokens a minute")

    def charge(self, tenant: str, tokens: int) -> None:
        """What a turn has cost. It may take all that is left, but no debt is carried over."""
        most = self._of(tenant).tokens_per_minute
        if most is not None:
            item = _a_minute(most, "tokens")
            left = self._limiter.get_window_stats(item, tenant).remaining
            self._limiter.hit(item, tenant, cost=min(tokens, left))

    def _of(self, tenant: str) -> Quota:
        policy = self._policy()
        return policy.quotas.get(tenant, policy.quota)

    def _leave(self, tenant: str) -> None:
        self._under_way[tenant] -= 1
        if not self._under_way[tenant]:
            del self._under_way[tenant]

    def _wait(self, item: RateLimitItem, tenant: str) -> float:
        return max(_RETRY_SECONDS, self._limiter.get_window_stats(item, tenant).reset_time - time.time())

    def _refusal(self, cause: str, seconds: float, what: str) -> Overloaded:
        self._refusals.labels("key", cause).inc()
        return Overloaded(seconds, f"This key's limit of {what} is reached.")


def _a_minute(amount: int, unit: str) -> RateLimitItem:
    return RateLimitItemPerMinute(amount, namespace=unit)
