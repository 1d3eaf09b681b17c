"""The memory that the settings name, and the keys by which it is asked."""

import secrets

from psychechat.config import MemorySettings
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


def change_keys(memory: Memory, settings: MemorySettings) -> None:
    """Read again what seals and unseals values. Raises SettingsError."""
    if isinstance(memory, RedisMemory):
        memory.vault = Vault(settings.keys())
