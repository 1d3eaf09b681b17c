"""Memory in the process, for one ingress replica. Gone when the replica is."""

import time
from collections.abc import Sequence
from math import inf
from typing import NamedTuple
from weakref import WeakValueDictionary

from cachetools import TTLCache

from psychechat.concurrency import Clock
from psychechat.config import MemorySettings
from psychechat.conversation import EmotionMemory
from psychechat.memory.base import TOMBSTONE_SECONDS, graver, merged


class _Session:
    """Where a session's entries are. Each of them holds it, so it lives as long as the last one."""

    def __init__(self) -> None:
        self.expiries: dict[bytes, float] = {}
        """By key, the next one first."""


class _Entry(NamedTuple):
    memory: EmotionMemory
    session: _Session | None
    """None: a hold."""


class LocalMemory:
    def __init__(self, settings: MemorySettings, clock: Clock = time.monotonic) -> None:
        self._ttl, self._clock = settings.ttl_seconds, clock
        self._entries: TTLCache[bytes, _Entry] = TTLCache(settings.capacity, settings.ttl_seconds, timer=clock)
        self._sessions: WeakValueDictionary[bytes, _Session] = WeakValueDictionary()
        self._forgotten: TTLCache[bytes, float] = TTLCache(settings.capacity, TOMBSTONE_SECONDS, timer=clock)

    async def recall(self, key: bytes) -> EmotionMemory | None:
        entry = self._entries.get(key)
        return entry.memory if entry else None

    async def remember(self, keys: Sequence[bytes], memory: EmotionMemory, *, session: bytes, age: float) -> bool:
        now = self._clock()
        if now - age <= self._forgotten.get(session, -inf):
            return False
        kept = self._sessions.setdefault(session, _Session())
        while kept.expiries and next(iter(kept.expiries.values())) <= now:
            del kept.expiries[next(iter(kept.expiries))]
        for key in keys:
            kept.expiries.pop(key, None)
            kept.expiries[key] = now + self._ttl
            there = self._entries.get(key)
            self._entries[key] = _Entry(merged(memory, there.memory if there else None), kept)
        return True

    async def remember_hold(self, keys: Sequence[bytes], hold: EmotionMemory) -> None:
        for key in keys:
            self._entries[key] = _Entry(graver(hold, await self.recall(key)), None)

    async def forget(self, session: bytes) -> None:
        self._forgotten[session] = self._clock()
        kept = self._sessions.get(session)
        for key in kept.expiries if kept else ():
            self._entries.pop(key, None)
