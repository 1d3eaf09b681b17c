"""What every memory promises, held by the local one and by a real Redis alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from psychechat.config import MemoryKeys, MemorySettings
from psychechat.conversation import EmotionMemory, Said
from psychechat.memory import backends
from psychechat.memory.base import Memory, Unreadable
from psychechat.memory.local import LocalMemory
from psychechat.memory.redis import RedisMemory
from psychechat.memory.vault import Vault
from psychechat.risk import CRISIS, HoldRules, LineReading, RiskState, Severity, next_state
from tests.support import virtual_time
from tests.support.redis_server import RedisServer

pytestmark = virtual_time.mark  # for the local one; Redis has a clock of its own, which is waited for

ONE, TWO, THREE = b"1" * 32, b"2" * 32, b"3" * 32
MEMORY = EmotionMemory("session", "en")
OTHER = EmotionMemory("other", "zh")

Open = Callable[..., Memory]


@pytest_asyncio.fixture(params=["local", "redis"])
async def open_memory(request: pytest.FixtureRequest, locks: MemoryKeys) -> AsyncIterator[Open]:
    """A function that opens an empty memory with a TTL."""
    opened: list[RedisMemory] = []
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.flush()

    def open_one(ttl_seconds: int = 60) -> Memory:
        if request.param == "local":
            return LocalMemory(MemorySettings(ttl_seconds=ttl_seconds), virtual_time.clock)
        opened.append(RedisMemory(server.url, Vault(locks), ttl_seconds))
        return opened[-1]

    yield open_one
    for memory in opened:
        await memory.close()


async def test_a_value_is_found_under_each_of_its_keys_and_no_other(open_memory: Open) -> None:
    memory = open_memory()
    assert await memory.remember([ONE, TWO], MEMORY, session=b"s" * 32, age=0.1)
    assert [await memory.recall(key) for key in (ONE, TWO, THREE)] == [MEMORY, MEMORY, None]


async def test_of_turns_side_by_side_the_more_careful_risk_stays(open_memory: Open) -> None:
    """Whichever ends last. A turn that had recalled the value replaces it."""
    memory, calm, held = open_memory(), RiskState(), next_state(RiskState(), [LineReading("x", CRISIS)], HoldRules())
    first = replace(MEMORY, risk=calm, revision="first")
    await memory.remember([ONE], first, session=b"s" * 32, age=0)
    in_crisis = replace(MEMORY, risk=held, revision="second", after="first")
    beside = replace(MEMORY, risk=calm, revision="third", after="first")
    await memory.remember([ONE], in_crisis, session=b"s" * 32, age=0)
    await memory.remember([ONE], beside, session=b"s" * 32, age=0)
    assert (kept := await memory.recall(ONE)) is not None
    assert kept.risk == held
    await memory.remember([ONE], replace(beside, revision="fourth", after="third"), session=b"s" * 32, age=0)
    assert (kept := await memory.recall(ONE)) is not None
    assert kept.risk == calm


@pytest.mark.parametrize(
    ("said", "is_held"),
    [
        (Said(("x", "z"), ("x",)), True),  # another reply to the same line
        (Said(("y", "z")), True),  # no more than the end of it
        (Said(("w", "z"), ("w",)), False),  # another conversation, that was given the same reply
        (Said(), False),
    ],
)
async def test_what_another_conversation_left_under_the_name_is_replaced(
    open_memory: Open, said: Said, is_held: bool
) -> None:
    memory, held = open_memory(), next_state(RiskState(), [LineReading("x", CRISIS)], HoldRules())
    there = replace(MEMORY, said=Said(("x", "y", "z"), ("x",)), risk=held, revision="first")
    await memory.remember([ONE], there, session=b"s" * 32, age=0)
    await memory.remember([ONE], replace(MEMORY, said=said), session=b"s" * 32, age=0)
    assert (kept := await memory.recall(ONE)) is not None
    assert kept.risk.held == is_held


async def test_a_value_lives_as_long_as_it_should(open_memory: Open) -> None:
    memory = open_memory(ttl_seconds=1)
    await memory.remember([ONE], MEMORY, session=b"s" * 32, age=0)
    assert await memory.recall(ONE) == MEMORY
    await _until(lambda: _gone(memory, ONE))


async def test_of_holds_under_one_key_the_graver_stays_until_its_own_conversation_calms_it(open_memory: Open) -> None:
    """Whichever is written last, and whichever sessions are forgotten."""
    memory = open_memory()
    grave, weak = (
        next_state(RiskState(), [LineReading(name, severity, place=name)], HoldRules())
        for name, severity in (("grave", Severity.ATTEMPT), ("weak", CRISIS))
    )
    calmer = next_state(grave, [LineReading("calm", Severity.NONE)], HoldRules())
    beside = next_state(grave, [LineReading("beside", Severity.NONE)], HoldRules())
    steps = [(weak, weak), (grave, grave), (weak, grave), (calmer, calmer), (grave, grave), (calmer, calmer)]
    for risk, kept in [*steps, (beside, calmer), (weak, calmer)]:
        await memory.remember_hold([ONE], EmotionMemory("", "en", risk=risk))
        assert await memory.recall(ONE) == EmotionMemory("", "en", risk=kept)
    await memory.remember([TWO], MEMORY, session=b"s" * 32, age=0)
    await memory.forget(b"s" * 32)
    assert await memory.recall(ONE) == EmotionMemory("", "en", risk=calmer)


async def test_a_hold_goes_by_its_age(open_memory: Open) -> None:
    memory = open_memory(ttl_seconds=1)
    await memory.remember_hold([ONE], MEMORY)
    assert await memory.recall(ONE) == MEMORY
    await _until(lambda: _gone(memory, ONE))


async def test_a_forgotten_session_has_nothing_left_and_others_have_all(open_memory: Open) -> None:
    memory = open_memory()
    for key in (ONE, TWO):
        await memory.remember([key], MEMORY, session=b"s" * 32, age=0)
    await memory.remember([THREE], OTHER, session=b"t" * 32, age=0)
    for _ in range(2):  # once more is no error
        await memory.forget(b"s" * 32)
        assert [await memory.recall(key) for key in (ONE, TWO, THREE)] == [None, None, OTHER]


async def test_a_session_that_nobody_knows_is_forgotten_too(open_memory: Open) -> None:
    await open_memory().forget(b"n" * 32)


async def test_a_turn_under_way_brings_nothing_back(open_memory: Open) -> None:
    """It began 5 seconds ago; its session was forgotten just now."""
    memory = open_memory()
    await memory.remember([ONE], MEMORY, session=b"s" * 32, age=0)
    await memory.forget(b"s" * 32)
    assert not await memory.remember([ONE, TWO], MEMORY, session=b"s" * 32, age=5)
    assert [await memory.recall(key) for key in (ONE, TWO)] == [None, None]
    assert await memory.remember([THREE], OTHER, session=b"t" * 32, age=5)


async def test_a_turn_that_begins_after_is_remembered_again(open_memory: Open) -> None:
    memory = open_memory()
    await memory.forget(b"s" * 32)
    await asyncio.sleep(1.1)
    assert await memory.remember([ONE], MEMORY, session=b"s" * 32, age=0.01)
    assert await memory.recall(ONE) == MEMORY


async def test_of_a_key_that_two_sessions_wrote_nothing_is_left_either_way(open_memory: Open) -> None:
    """Two seekers may begin with the same words, and get the same reply."""
    memory = open_memory()
    await memory.remember([ONE, THREE], MEMORY, session=b"s" * 32, age=0)
    await memory.remember([ONE, TWO], OTHER, session=b"t" * 32, age=0)
    await memory.forget(b"s" * 32)
    assert await memory.recall(ONE) != MEMORY
    assert [await memory.recall(key) for key in (TWO, THREE)] == [OTHER, None]
    await memory.forget(b"t" * 32)
    assert [await memory.recall(key) for key in (ONE, TWO)] == [None, None]


async def test_what_the_settings_name_is_opened_and_its_keys_changed(redis_server: RedisServer, tmp_path: Path) -> None:
    """As two ingress replicas do, of which one hears of a new key first."""

    def write(*names: str) -> None:
        keys = "".join(f"\n  {name}: '{name.encode().hex() * 32}'" for name in names)
        (tmp_path / "keys").write_text(f"index: {'0f' * 32}\nencrypt_with: {names[0]}\nkeys:{keys}\n")

    redis_server.flush()
    (tmp_path / "url").write_text(f"{redis_server.url}\n")
    write("a")
    settings = MemorySettings(backend="redis", url_file=tmp_path / "url", keys_file=tmp_path / "keys")
    (one, one_keys), (two, two_keys) = backends.open_memory(settings), backends.open_memory(settings)
    assert one_keys.of_session("ward", "s") == two_keys.of_session("ward", "s")
    write("a", "b")
    for memory in (one, two):
        backends.change_keys(memory, settings.keys())
    write("b", "a")
    backends.change_keys(one, settings.keys())
    for writer, reader in ((one, two), (two, one)):
        assert await writer.remember([ONE], MEMORY, session=b"s" * 32, age=0)
        assert await reader.recall(ONE) == MEMORY
    write("b")
    backends.change_keys(one, settings.keys())
    with pytest.raises(Unreadable):  # the last value is the other's, who still seals with the old key
        await one.recall(ONE)
    for memory in (one, two):
        assert isinstance(memory, RedisMemory)
        await memory.close()


async def test_local_memories_share_nothing() -> None:
    (_, one), (_, two) = (backends.open_memory(MemorySettings()) for _ in range(2))
    assert one.of_session("ward", "s") != two.of_session("ward", "s")


async def _gone(memory: Memory, key: bytes) -> bool:
    return await memory.recall(key) is None


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await true():
            await asyncio.sleep(0.02)
