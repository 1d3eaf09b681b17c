"""Whose memory a turn goes on from: clients that trim, edit or share a session's name, over both memories."""

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from psychechat import prompts
from psychechat.config import MemoryKeys, MemorySettings
from psychechat.conversation import Conversation, EmotionMemory, Reply, Utterance
from psychechat.emotion import Emotion, Label
from psychechat.engines.base import StageName
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.memory.base import Memory
from psychechat.memory.local import LocalMemory
from psychechat.memory.redis import RedisMemory, _name
from psychechat.memory.vault import Vault
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.pipeline.turn_memory import forget
from psychechat.policy import Policy
from psychechat.risk import Severity
from psychechat.telemetry import Metrics
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.asyncio

CRISIS = "I want to die"
LOW = ["I went to work as usual", "We had pasta for dinner again", "The film last night was long"]
QUOTED = "sister in Lisbon"
ANALYSIS = (
    f'{{"current_emotion":["happy"],"current_analysis":"She spoke of her {QUOTED}.","recent_change":"",'
    '"overall_trend":"","shift_analysis":""}'
)
FEELINGS = {
    "terrible": assessment(Emotion(Label.parse("grieving"), 0.9)),
    "lovely": assessment(Emotion(Label.parse("happy"), 0.9)),
    "pointless": assessment(risk=Severity.BEHAVIOR),
}
NAMES = pytest.mark.parametrize("session", [None, "one name"], ids=["unnamed", "named"])


@dataclass
class World:
    memory: Memory
    generator: ScriptedGenerator = field(default_factory=lambda: ScriptedGenerator({StageName.EMOTION: [ANALYSIS]}))

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(
            ScriptedClassifier(FEELINGS),
            everywhere(self.generator),
            {"en": prompts.load("en"), "zh": prompts.load("zh")},
            self.memory,
            Metrics(),
            Policy(),
        )

    async def turn(self, said: list[Utterance], session: str | None, tenant: str = "ward") -> Reply:
        request = TurnRequest(Conversation(tuple(said)), "auto", "req-1", session=session, tenant=tenant)
        return (await run_turn(self.pipeline, request, lambda _: None)).reply


@dataclass
class Client:
    """Has one conversation, of which it sends the last `window` utterances."""

    world: World
    session: str | None = None
    window: int = 1_000
    said: list[Utterance] = field(default_factory=list)

    async def say(self, text: str) -> Reply:
        self.said.append(Utterance("seeker", text))
        reply = await self.world.turn(self.said[-self.window :], self.session)
        self.said.append(Utterance("counselor", reply.choices[0].text))
        return reply


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest_asyncio.fixture(params=["local", "redis"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "local":
        yield World(LocalMemory(MemorySettings()))
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    keys = {"index": secrets.token_hex(32), "encrypt_with": "a", "keys": {"a": secrets.token_hex(32)}}
    memory = RedisMemory(server.url, Vault(MemoryKeys.model_validate(keys)), 60)
    yield World(memory)
    await memory.close()


async def test_strangers_under_one_name_share_no_emotions(world: World) -> None:
    """Also where they have been given the same replies, and greet alike."""
    alice, bob = Client(world, "one name"), Client(world, "one name")
    for client in (alice, bob):
        client.said.append(Utterance("counselor", "Hello, I am here to listen. What is on your mind today?"))
        await client.say("hello")
    await alice.say("What a lovely day, I sang a song")
    await alice.say("A terrible thing came up on the way home")
    asked = len(world.generator.prompts)
    reply = await bob.say("What a lovely day, says my neighbour")
    assert reply.reading.shift is None
    told = "\n".join(m.content for _, messages, *_ in world.generator.prompts[asked:] for m in messages)
    assert QUOTED not in told
    assert "grieving" not in told
    assert (await bob.say("A terrible thing happened to him")).reading.shift == -5


async def test_strangers_under_one_name_share_no_hold(world: World) -> None:
    """Neither where a turn recalls nor where it stores what the other has left under the name."""
    alice, bob = Client(world, "one name"), Client(world, "one name")
    await bob.say("I like to cook on Sundays")
    await alice.say(CRISIS)
    for line in ("My bread rose well this time", "The soup was a little salty"):
        reply = await bob.say(line)
        assert not reply.reading.conversation.held
        assert reply.decision.reason == "low_risk"
        assert (await alice.say(f"{line}, says my brother")).reading.conversation.held


@pytest.mark.parametrize("window", [2, 3, 4, 7])
async def test_a_trimmed_history_agrees(world: World, window: int) -> None:
    client = Client(world, "one name", window)
    for number in range(10):
        await client.say(f"What a lovely day, number {number}")
    assert (await client.say("A terrible thing came up")).reading.shift == -5


async def test_a_history_with_other_replies_agrees_by_the_seekers_lines(world: World) -> None:
    client = Client(world, "one name")
    await client.say("What a lovely day we had")
    client.said[-1] = Utterance("counselor", "(This reply was shortened.)")
    assert (await client.say("A terrible thing came up")).reading.shift == -5


@NAMES
@pytest.mark.parametrize("window", [2, 3, 5])
async def test_no_hold_is_lost_to_a_trimmed_history_and_each_ends(
    world: World, window: int, session: str | None
) -> None:
    client = Client(world, session, window)
    await client.say("All feels pointless")
    for number in range(6):
        reply = await client.say(f"{LOW[number % 3]}, on day {number}")
        assert reply.reading.conversation.held is (number < 5)
        assert reply.decision.reason == ("held" if number < 5 else "low_risk")


async def test_no_hold_is_lost_to_a_stranger_who_takes_the_name(world: World) -> None:
    """While the crisis itself is no longer sent."""
    alice, bob = Client(world, "one name", 2), Client(world, "one name")
    await alice.say(CRISIS)
    for line in LOW[:2]:
        await bob.say(f"{line}, and I sang in the car")
        assert (await alice.say(line)).reading.conversation.held


@pytest.mark.parametrize("session", ["another", None])
async def test_no_hold_is_lost_to_another_name(world: World, session: str | None) -> None:
    client = Client(world, "one name", 2)
    await client.say(CRISIS)
    client.session = session
    assert (await client.say(LOW[0])).reading.conversation.held


async def test_a_client_that_takes_the_crisis_out_of_its_history_stays_held(world: World) -> None:
    """As one does whose own moderation does."""
    client = Client(world, "one name")
    await client.say("I moved to the city last year")
    kept = list(client.said)
    await client.say(CRISIS)
    client.said = kept
    assert (await client.say(LOW[0])).reading.conversation.held


@NAMES
async def test_no_other_tenant_is_held(world: World, session: str | None) -> None:
    client = Client(world, session)
    reply = await client.say(CRISIS)
    said = [Utterance("counselor", reply.choices[0].text), Utterance("seeker", LOW[0])]
    assert (await world.turn(said, session)).reading.conversation.held
    assert not (await world.turn(said, session, tenant="another")).reading.conversation.held


@NAMES
async def test_of_a_forgotten_session_no_more_than_the_hold_by_its_end_is_left(
    world: World, session: str | None
) -> None:
    """Another conversation may have the same end, and the hold there may be its own."""
    client = Client(world, session, 2)
    await client.say("What a lovely day, I sang a song")
    reply = await client.say(CRISIS)
    ends = _ends(world, *client.said[-2:])
    await forget(world.pipeline, "ward", reply.session or "", "req-1")
    for end in ends:
        hold = await world.memory.recall(end)
        assert hold is not None
        assert (hold.session_id, hold.labels, hold.analysis, hold.said.utterances) == ("", None, None, ())
    after = await client.say(LOW[0])
    assert after.reading.conversation.held
    assert after.reading.shift is None
    assert session or after.session != reply.session


@NAMES
async def test_forgetting_takes_no_hold_from_another_conversation_with_the_same_end(
    world: World, session: str | None
) -> None:
    alice, bob = Client(world, session and "alice", 2), Client(world, session and "bob", 2)
    await alice.say(CRISIS)
    reply = await bob.say(CRISIS)
    await forget(world.pipeline, "ward", reply.session or "", "req-1")
    alice.session = None
    assert (await alice.say(LOW[0])).reading.conversation.held


@NAMES
async def test_an_end_that_cannot_be_written_costs_the_session_nothing(
    world: World, session: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fixed words give many conversations one end, where they write at the same time."""
    stranger, client = Client(world), Client(world, session)
    await stranger.say(f"{CRISIS} today")
    hot = _ends(world, *stranger.said)[1]
    if isinstance(world.memory, RedisMemory):
        _written_meanwhile(world.memory, hot, monkeypatch)
    else:
        monkeypatch.setattr(LocalMemory, "remember_hold", _fail)
    await client.say(CRISIS)
    assert client.said[-1] == stranger.said[-1]
    keys, begun = world.pipeline.memory_keys, Conversation((client.said[0],))
    place = keys.of_session("ward", session) if session else keys.after("ward", begun, client.said[1].text)
    stored = await world.memory.recall(place)
    assert stored is not None
    assert stored.risk.held
    assert "Error; no hold remembered" in caplog.text
    assert CRISIS not in caplog.text


async def test_a_hold_by_the_end_is_asked_where_the_name_knows_less(world: World) -> None:
    """The name's memory knows one line of those sent, and nothing of a crisis that came after."""
    line = Utterance("seeker", "What a lovely day we had")
    named = Client(world, "one name")
    await named.say(line.text)
    other = Client(world, "another", said=[line, Utterance("counselor", "Go on.")])
    await other.say("All feels pointless")
    named.said = [line, *other.said[-2:]]
    world.pipeline.classifier = ScriptedClassifier({})  # what is read again tells nothing
    reply = await named.say(LOW[0])
    assert reply.reading.conversation.held
    assert reply.reading.conversation.peak is Severity.BEHAVIOR


async def test_a_weaker_hold_leaves_a_graver_one_of_another_at_their_end(world: World) -> None:
    grave, weak = (Client(world, name) for name in ("grave", "weak"))
    await grave.say(f"{CRISIS}, all feels pointless")
    await weak.say(CRISIS)
    assert grave.said[-1] == weak.said[-1]
    hold = await world.memory.recall(_ends(world, *weak.said)[1])
    assert hold is not None
    assert (hold.risk.peak, hold.risk.held) == (Severity.BEHAVIOR, True)


def _ends(world: World, *said: Utterance) -> list[bytes]:
    keys = world.pipeline.memory_keys
    return [keys.of_end("ward", said), keys.of_end("ward", said[-1:])]


async def _fail(*_: object) -> None:
    raise OSError(CRISIS)


def _written_meanwhile(memory: RedisMemory, key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that the key's value is read, somebody writes another one."""
    name, get = _name("memory", key), memory._redis.get

    async def read(asked: bytes) -> object:
        value = await get(asked)
        if asked == name:
            await memory._redis.set(name, secrets.token_bytes(32))
        return value

    monkeypatch.setattr(memory._redis, "get", read)


async def test_a_value_of_an_earlier_release_agrees_with_nobody(world: World) -> None:
    old = EmotionMemory("one name", "en", (Label.parse("happy"),))
    place = world.pipeline.memory_keys.of_session("ward", "one name")
    await world.memory.remember([place], old, session=place, age=0)
    client = Client(world, "one name")
    client.said = [Utterance("seeker", CRISIS), Utterance("counselor", "I am here.")]
    reply = await client.say("A terrible thing came up")
    assert (reply.reading.shift, reply.reading.conversation.held) == (None, True)
