"""Which lines of seekers in a crisis a process has had turns for, so that a quotation of one raises no second event."""

import time
from collections.abc import Iterable

from cachetools import TTLCache

from psychechat.concurrency import Clock
from psychechat.memory.base import Keys

SECONDS = 3_600
_MOST = 50_000
_CHARACTERS = 200
"""Of a line, its first ones: chat pages quote a long message without its middle or its end."""


class CrisisLines:
    """Keyed hashes, no words, each for an hour. Of more than it holds, the oldest are forgotten first."""

    def __init__(self, keys: Keys, clock: Clock = time.monotonic) -> None:
        """`clock`: monotonic seconds."""
        self._keys = keys
        self._known: TTLCache[str, None] = TTLCache(_MOST, SECONDS, timer=clock)

    def note(self, tenant: str, lines: Iterable[str]) -> None:
        for line in lines:
            self._known[self._name(tenant, line)] = None

    def knows(self, tenant: str, line: str) -> bool:
        return self._name(tenant, line) in self._known

    def _name(self, tenant: str, line: str) -> str:
        return self._keys.of_line(tenant, "crisis", " ".join(line.split())[:_CHARACTERS])
