"""What a webhook's receiver hears of conversations that go on, end, are sent again, or outlive the process."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from psychechat import prompts
from psychechat.config import EscalationSettings, MemorySettings
from psychechat.conversation import Conversation, Utterance
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.memory.base import Keys
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.policy import Policy
from psychechat.risk import Severity
from psychechat.safety.webhook import WebhookEscalations
from psychechat.telemetry import Metrics
from tests.support.receiver import SECRET, Receiver, receiving

pytestmark = pytest.mark.asyncio

CRISIS, AGAIN = "I want to die", "I still want to die, nothing helps"
UNDER_WAY = "I just took all my pills"
FRIEND = "My friend says she wants to kill herself"
LOW = ["I went to work as usual today", "We had pasta for dinner again", "The film last night was long"]
MORE = ["My sister came over for tea", "The garden needs some rain", "I slept well again", "The bus was late today"]
WEARY = assessment(risk=Severity.INDICATOR)
FEELINGS = {"weary": WEARY, "pointless": assessment(risk=Severity.BEHAVIOR)}


@dataclass
class Client:
    """Has one conversation. Its counselor answers the same words each time."""

    receiver: Receiver
    pipeline: Pipeline
    webhook: WebhookEscalations
    said: tuple[str, ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)
    requests: int = 0

    async def say(self, *texts: str) -> None:
        for text in texts:
            self.said = (*await self.send(*self.said, text),)

    async def send(self, *texts: str) -> Sequence[str]:
        """They alternate, the seeker's first and last. The conversation with its reply."""
        self.requests += 1
        utterances = (Utterance("counselor" if i % 2 else "seeker", text) for i, text in enumerate(texts))
        request = TurnRequest(
            Conversation(tuple(utterances)), "llm", f"req-{self.requests:02}", tenant="ward", **self.asked
        )
        reply = (await run_turn(self.pipeline, request, lambda _: None)).reply
        return (*texts, reply.choices[0].text)

    async def events(self) -> list[dict[str, Any]]:
        """All that was told so far, in this order."""
        await self.webhook.close(10)
        return sorted((delivery.event for delivery in self.receiver.deliveries), key=lambda e: e["request_id"])


@asynccontextmanager
async def talking(monkeypatch: pytest.MonkeyPatch, *, conversation: str = "on", **asked: Any) -> AsyncIterator[Client]:
    monkeypatch.setenv("PSYCHECHAT_ESCALATION_SECRET", SECRET)
    with receiving(200) as receiver:
        client = opened(receiver, conversation=conversation)
        client.asked = asked
        try:
            yield client
        finally:
            await client.webhook.close(0)


def opened(receiver: Receiver, *, conversation: str = "on") -> Client:
    """A process of its own: what it shares with another is the secret."""
    metrics, generator = Metrics(), ScriptedGenerator()
    settings = EscalationSettings.model_validate({"url": receiver.url, "rising": True})
    webhook = WebhookEscalations(settings, metrics)
    pipeline = Pipeline(
        ScriptedClassifier(FEELINGS),
        everywhere(generator),
        {"en": prompts.load("en"), "zh": prompts.load("zh")},
        LocalMemory(MemorySettings(), time.monotonic),
        metrics,
        Policy.model_validate({"risk": {"conversation": conversation}}),
        episode_keys=Keys(webhook.episode_key),
        escalations=webhook,
    )
    return Client(receiver, pipeline, webhook)


async def test_an_episode_is_told_when_it_begins_gets_worse_and_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as client:
        await client.say("hello there", CRISIS, AGAIN, LOW[0], UNDER_WAY, *LOW[1:], *MORE)
        events = await client.events()
    assert [(event["type"], event["kind"]) for event in events] == [
        ("crisis.detected", "thoughts"),
        ("crisis.worse", "under_way"),
        ("crisis.over", None),
    ]
    assert {event["episode"] for event in events} == {events[0]["id"]}
    assert len({event["id"] for event in events}) == 3


async def test_the_same_turn_sent_again_has_the_same_id_with_and_without_a_sessions_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (None, "one name"):
        async with talking(monkeypatch, session=name) as client:
            await client.say("hello there")
            for _ in range(2):
                await client.send(*client.said, CRISIS)
            await client.say(CRISIS)
            for _ in range(2):
                await client.send(*client.said, UNDER_WAY)
            events = await client.events()
        for event in ("started", "worse"):
            assert len({told["id"] for told in events if told["event"] == event}) == 1


@pytest.mark.parametrize("asked", [{}, {"session": "one for all"}, {"end_user": "one for all"}])
@pytest.mark.parametrize("before", [(), ("hello there",)], ids=["at first", "later"])
async def test_three_people_who_say_the_same_are_three_crises(
    before: tuple[str, ...], asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(monkeypatch, **asked) as client:
        for number in range(3):
            client.said = ()
            await client.say(*(f"{text} from {number}" for text in before), CRISIS)
        events = await client.events()
    assert [event["event"] for event in events] == ["started"] * 3
    assert len({event["request_id"] for event in events}) == 3


async def test_a_restart_names_the_episode_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as client:
        await client.say("hello there", CRISIS, LOW[0])
        await client.webhook.close(10)
        later = opened(client.receiver)
        later.said, later.requests = client.said, client.requests
        await later.say(AGAIN, UNDER_WAY)
        events = await later.events()
    assert [event["event"] for event in events] == ["started", "started", "worse"]
    assert events[0]["id"] == events[1]["id"] == events[2]["episode"]


@pytest.mark.parametrize("conversation", ["observe", "off"])
async def test_where_conversations_are_not_followed_each_crisis_is_told(
    conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(monkeypatch, conversation=conversation) as client:
        await client.say(CRISIS, AGAIN, UNDER_WAY, *LOW)
        events = await client.events()
    assert [event["event"] for event in events] == ["started"] * 3
    assert len({event["id"] for event in events}) == 3


async def test_who_fears_for_another_is_told_of_each_time_and_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as client:
        await client.say(FRIEND, LOW[0], CRISIS, FRIEND)
        events = await client.events()
    assert [(event["event"], event["kind"]) for event in events] == [
        ("started", "other_person"),
        ("started", "thoughts"),
        ("started", "other_person"),
    ]
    assert len({event["episode"] for event in events}) == 3


async def test_crises_are_counted_by_kind_and_turns_by_language(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(monkeypatch) as client:
        await client.say(FRIEND, UNDER_WAY, "All feels pointless", LOW[0])
        await client.send("我想死")
        value = client.pipeline.metrics.registry.get_sample_value
    kinds = {
        (kind, language): value("psychechat_crisis_kinds_total", {"kind": kind, "language": language})
        for kind in ("thoughts", "plan_or_means", "under_way", "other_person", "untold")
        for language in ("en", "zh")
    }
    assert {name: count for name, count in kinds.items() if count} == {
        ("other_person", "en"): 1,
        ("under_way", "en"): 1,
        ("untold", "en"): 1,
        ("thoughts", "zh"): 1,
    }
    assert [value("psychechat_language_turns_total", {"language": name}) for name in ("en", "zh")] == [4, 1]


async def test_lines_that_add_up_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    share = {**WEARY.risk, Severity.INDICATOR: 0.72, Severity.IDEATION: 0.28}
    monkeypatch.setitem(FEELINGS, "weary", type(WEARY)(WEARY.groups, share))
    async with talking(monkeypatch) as client:
        await client.say(*(f"I am weary of it, on day {number}" for number in range(4)))
        [event] = await client.events()
    assert (event["type"], event["severity"]) == ("risk.rising", "indicator")
