"""What each key may ask for: turns and tokens a minute, turns at once, and crises a minute that engines write for.

Each ingress replica counts for itself.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import get_args

from psychechat.admission.lanes import Permit
from psychechat.concurrency import Clock
from psychechat.errors import Overloaded
from psychechat.policy import Policy, Quota
from psychechat.telemetry import Metrics, QuotaCause

_RETRY_SECONDS = 1.0
"""After which one of a key's turns may have ended."""


class Quotas:
    def __init__(self, policy: Callable[[], Policy], metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self._policy = policy
        self._refusals = {cause: metrics.refusals.labels("key", "", cause) for cause in get_args(QuotaCause)}
        self._turns: defaultdict[str, _LastMinute] = defaultdict(lambda: _LastMinute(clock))
        self._tokens: defaultdict[str, _LastMinute] = defaultdict(lambda: _LastMinute(clock))
        self._crises: defaultdict[str, _LastMinute] = defaultdict(lambda: _LastMinute(clock))
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
        spent = self._spent_turns(tenant)
        if spent is not None:
            raise self._refusal(spent)
        if self._of(tenant).turns_per_minute is not None:
            self._turns[tenant].add(1)

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
            used = self._tokens[tenant]
            used.add(min(tokens, most - used.sum))

    def has_spent_crises(self, tenant: str) -> bool:
        """Whether fixed words alone would answer a crisis of this key now."""
        most = self._of(tenant).crises_per_minute
        return most is not None and self._crises[tenant].sum >= most

    def count_crisis(self, tenant: str) -> bool:
        """Whether the engines may write for one more crisis. One that they do is counted, whatever becomes of it."""
        if self.has_spent_crises(tenant):
            return False
        if self._of(tenant).crises_per_minute is not None:
            self._crises[tenant].add(1)
        return True

    def _spent(self, tenant: str) -> "_Spent | None":
        most = self._of(tenant).turns_at_once
        if most is not None and self._under_way[tenant] >= most:
            return _Spent("turns_at_once", _RETRY_SECONDS, f"{most} turns at once")
        return self._spent_turns(tenant) or self._spent_tokens(tenant)

    def _spent_turns(self, tenant: str) -> "_Spent | None":
        most, used = self._of(tenant).turns_per_minute, self._turns[tenant]
        if most is None or used.sum < most:
            return None
        return _Spent("turns", used.seconds, f"{most} turns a minute")

    def _spent_tokens(self, tenant: str) -> "_Spent | None":
        most, used = self._of(tenant).tokens_per_minute, self._tokens[tenant]
        if most is None or used.sum < most:
            return None
        return _Spent("tokens", used.seconds, f"{most} tokens a minute")

    def _of(self, tenant: str) -> Quota:
        policy = self._policy()
        return policy.quotas.get(tenant, policy.quota)

    def _leave(self, tenant: str) -> None:
        self._under_way[tenant] -= 1
        if not self._under_way[tenant]:
            del self._under_way[tenant]

    def _refusal(self, spent: "_Spent") -> Overloaded:
        self._refusals[spent.cause].inc()
        return Overloaded(max(spent.seconds, _RETRY_SECONDS), f"This key's limit of {spent.limit} is reached.")


@dataclass(frozen=True, slots=True)
class _Spent:
    """Which part of a quota is used up, and after how many seconds there may be more."""

    cause: QuotaCause
    seconds: float
    limit: str


class _LastMinute:
    """What one key has used of one thing in the last sixty seconds, whenever they began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._uses: deque[tuple[float, int]] = deque()
        """When each is forgotten, and how much it was."""
        self._sum = 0

    @property
    def sum(self) -> int:
        while self._uses and self._uses[0][0] <= self._clock():
            self._sum -= self._uses.popleft()[1]
        return self._sum

    @property
    def seconds(self) -> float:
        """Until it is less."""
        return self._uses[0][0] - self._clock()

    def add(self, amount: int) -> None:
        if amount > 0:
            self._uses.append((self._clock() + 60.0, amount))
            self._sum += amount
