"""A call between two processes. Each may count `time.monotonic` from another moment, so a deadline means nothing to the
other: the call goes with the seconds that are left.
"""

import time
from dataclasses import dataclass, replace
from math import inf

from psychechat.concurrency import Clock
from psychechat.engines.base import Call


@dataclass(frozen=True, slots=True)
class SentCall:
    """What `remote` sends and `replicas.traced` receives; no engine takes it for a `Call`."""

    call: Call
    """Without its deadline."""
    seconds: float
    """Left of the turn when it was sent."""

    @classmethod
    def of(cls, call: Call, clock: Clock = time.monotonic) -> "SentCall":
        return cls(replace(call, deadline=inf), call.deadline - clock())

    def received(self, clock: Clock = time.monotonic) -> Call:
        """The call with its deadline by this process's clock. The milliseconds of its way are not taken off."""
        return replace(self.call, deadline=clock() + self.seconds)
