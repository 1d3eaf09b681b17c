import pytest

from psychechat.config import MemorySettings
from psychechat.conversation import EmotionMemory
from psychechat.memory.local import LocalMemory

MEMORY = EmotionMemory("session", "en")


@pytest.mark.asyncio
async def test_what_is_forgotten_by_also_stays_bounded() -> None:
    """One name for every turn, and a new name for every turn: neither leaves anything behind its entries."""
    memory = LocalMemory(MemorySettings(capacity=10))
    for number in range(1_000):
        key = number.to_bytes(32)
        await memory.remember([key], MEMORY, session=key, age=0)
    assert len(memory._sessions) == 10
    await memory.forget((999).to_bytes(32))
    assert len(memory._sessions) == 9


@pytest.mark.asyncio
async def test_a_session_that_goes_on_forever_drops_what_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("psychechat.memory.local.time.monotonic", lambda: now)
    memory = LocalMemory(MemorySettings(ttl_seconds=60))
    for number in range(1_000):
        now += 1
        await memory.remember([number.to_bytes(32)], MEMORY, session=b"one", age=0)
    assert len(memory._sessions[b"one"].expiries) == 60
