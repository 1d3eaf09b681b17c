import asyncio

from psychechat.config import MemorySettings
from psychechat.conversation import EmotionMemory
from psychechat.memory.local import LocalMemory
from tests.support import virtual_time

pytestmark = virtual_time.mark

MEMORY = EmotionMemory("session", "en")


async def test_what_is_forgotten_by_also_stays_bounded() -> None:
    """One name for every turn, and a new name for every turn: neither leaves anything behind its entries."""
    memory = LocalMemory(MemorySettings(capacity=10), virtual_time.clock)
    for number in range(1_000):
        key = number.to_bytes(32)
        await memory.remember([key], MEMORY, session=key, age=0)
    assert len(memory._sessions) == 10
    await memory.forget((999).to_bytes(32))
    assert len(memory._sessions) == 9


async def test_a_session_that_goes_on_forever_drops_what_has_expired() -> None:
    memory = LocalMemory(MemorySettings(ttl_seconds=60), virtual_time.clock)
    for number in range(1_000):
        await asyncio.sleep(1)
        await memory.remember([number.to_bytes(32)], MEMORY, session=b"one", age=0)
    assert len(memory._sessions[b"one"].expiries) == 60
