"""Memory in the process, for one ingress replica. Gone when the replica is."""

from cachetools import TTLCache

from psychechat.config import MemorySettings
from psychechat.conversation import EmotionMemory


class LocalMemory:
    def __init__(self, settings: MemorySettings) -> None:
        self._entries: TTLCache[bytes, EmotionMemory] = TTLCache(settings.capacity, settings.ttl_seconds)

    async def recall(self, key: bytes) -> EmotionMemory | None:
        return self._entries.get(key)

    async def remember(self, key: bytes, memory: EmotionMemory) -> None:
        self._entries[key] = memory
