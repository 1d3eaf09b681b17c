"""The memory that the settings name, and the keys by which it is asked."""

import secrets

from psychechat.config import MemoryKeys, MemorySettings
from psychechat.memory.base import Keys, Memory
from psychechat.memory.local import LocalMemory
from psychechat.memory.redis import RedisMemory
from psychechat.memory.vault import Vault


def open_memory(settings: MemorySettings) -> tuple[Memory, Keys]:
    """Connects to nothing yet. Raises SettingsError if Redis's URL or the keys are missing or wrong."""
    if settings.backend == "local":
        return LocalMemory(settings), Keys(secrets.token_bytes(32))
    keys = settings.keys()
    return RedisMemory(settings.url(), Vault(keys), settings.ttl_seconds), Keys(keys.index)


def change_keys(memory: Memory, keys: MemoryKeys | None) -> None:
    """Seal and unseal values with these from now on. None, for a memory that has none, changes nothing."""
    if isinstance(memory, RedisMemory) and keys is not None:
        memory.vault = Vault(keys)
