"""Two pipelines, as two ingress replicas have them, with one real Redis between them."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from psychechat import prompts
from psychechat.config import MemoryKeys
from psychechat.conversation import Conversation, Reply, Utterance
from psychechat.emotion import Emotion, Label
from psychechat.engines.base import StageName
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.errors import MemoryUnavailable
from psychechat.memory.base import Keys
from psychechat.memory.redis import RedisMemory
from psychechat.memory.vault import Vault
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.router import Requested
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.pipeline.turn_memory import forget
from psychechat.policy import Policy
from psychechat.telemetry import Metrics
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.asyncio

CANARY = "zanzibarquux"
FEELINGS = {
    "terrible": assessment(Emotion(Label.parse("grieving"), 0.9)),
    "lovely": assessment(Emotion(Label.parse("happy"), 0.9)),
}
ANALYSIS = (
    f'{{"current_emotion":["happy"],"current_analysis":"{CANARY}","recent_change":"{CANARY}",'
    f'"overall_trend":"{CANARY}","shift_analysis":"{CANARY}"}}'
)


@dataclass
class Replica:
    pipeline: Pipeline

    async def turn(self, *texts: str, requested: Requested = "agent", session: str | None = None) -> Reply:
        """The texts alternate, the seeker's first and last."""
        utterances = [Utterance("counselor" if i % 2 else "seeker", text) for i, text in enumerate(texts)]
        request = TurnRequest(Conversation(tuple(utterances)), requested, "req-1", session=session, tenant="ward")
        return (await run_turn(self.pipeline, request, lambda _: None)).reply

    async def is_generating(self) -> None:
        generator = self.pipeline.casts["en"].generators["counselor"]
        assert isinstance(generator, ScriptedGenerator)
        async with asyncio.timeout(5):
            while not generator.running:
                await asyncio.sleep(0.001)

    def count(self, name: str, result: str) -> float:
        return self.pipeline.metrics.registry.get_sample_value(f"psychechat_{name}_total", {"result": result}) or 0.0


@dataclass
class World:
    server: RedisServer
    one: Replica
    two: Replica


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    keys = {"index": secrets.token_hex(32), "encrypt_with": "first", "keys": {"first": secrets.token_hex(32)}}
    locks = MemoryKeys.model_validate(keys)
    with RedisServer(tmp_path) as server:
        memories = [RedisMemory(server.url, Vault(locks), 60) for _ in range(2)]
        one, two = (_replica(memory, locks) for memory in memories)
        yield World(server, one, two)
        for memory in memories:
            await memory.close()


def _replica(memory: RedisMemory, locks: MemoryKeys) -> Replica:
    generator = ScriptedGenerator({StageName.EMOTION: [ANALYSIS]}, seconds_per_word=0.005)
    packs = {"en": prompts.load("en"), "zh": prompts.load("zh")}
    pipeline = Pipeline(
        ScriptedClassifier(FEELINGS),
        everywhere(generator),
        packs,  # type: ignore[arg-type]
        memory,
        Metrics(),
        Policy(),
        memory_keys=Keys(locks.index),
    )
    return Replica(pipeline)


async def test_a_conversation_goes_on_at_another_replica(world: World) -> None:
    first = await world.one.turn("What a lovely day")
    second = await world.two.turn("What a lovely day", first.choices[0].text, "A terrible thing")
    assert (second.reading.shift, second.session) == (-5, first.session)
    assert world.two.count("memory_recalls", "hit") == 1
    assert world.one.count("memory_stores", "kept") == world.two.count("memory_stores", "kept") == 1


async def test_a_session_is_forgotten_at_every_replica(world: World) -> None:
    first = await world.one.turn("What a lovely day")
    assert first.session
    await forget(world.two.pipeline, "ward", first.session, "req-1")
    again = await world.one.turn("What a lovely day", first.choices[0].text, "A terrible thing")
    assert again.reading.shift is None


async def test_a_turn_under_way_at_one_replica_leaves_nothing_when_another_forgets(world: World) -> None:
    turn = asyncio.create_task(world.one.turn("What a lovely day", session="s1"))
    await world.one.is_generating()
    await forget(world.two.pipeline, "ward", "s1", "req-1")
    await turn
    assert world.one.count("memory_stores", "forgotten") == 1
    assert [key for key in world.server.everything() if b":forgotten:" not in key] == []


async def test_nothing_that_was_said_or_found_is_readable_in_redis(world: World) -> None:
    session = f"session {CANARY}"
    first = await world.one.turn(f"What a lovely day {CANARY}", session=session)
    await world.two.turn(f"What a lovely day {CANARY}", first.choices[0].text, "A terrible thing", session=session)
    await world.two.turn(f"What a lovely day {CANARY}")
    seen = world.server.everything()
    assert len(seen) == 4  # a value under the session's name, one under the other conversation, and an index of each
    text = b"\n".join([*seen, *(part for parts in seen.values() for part in parts)])
    for word in (CANARY, "happy", "joy", "ward", "session ", "current", first.choices[0].text):
        assert word.encode() not in text


async def test_redis_may_go_and_come_back_in_the_middle_of_it_all(world: World) -> None:
    first = await world.one.turn("What a lovely day")
    turn = asyncio.create_task(world.one.turn("What a lovely day", first.choices[0].text, "A terrible thing"))
    await world.one.is_generating()
    world.server.kill()
    assert (await turn).passed
    assert world.one.count("memory_stores", "error") == 1

    texts = ("What a lovely day", first.choices[0].text, "A terrible thing")
    for text in (texts[-1], "I want to die"):
        started = time.monotonic()
        reply = await world.two.turn(*texts[:2], text)
        assert (reply.reading.shift, reply.fallback) == (None, False)
        assert time.monotonic() - started < 3
    assert world.two.count("memory_recalls", "error") == world.two.count("memory_stores", "error") == 2
    with pytest.raises(MemoryUnavailable):
        await forget(world.two.pipeline, "ward", first.session or "", "req-1")

    world.server.start()
    again = await world.two.turn("What a lovely day")
    assert (await world.one.turn("What a lovely day", again.choices[0].text, "A terrible thing")).reading.shift == -5
