"""Crisis events against a real receiver that fails, hangs, refuses, asks for patience or is not there."""

import asyncio
import base64
import gc
import hashlib
import hmac
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tenacity import wait_fixed
from tenacity.wait import wait_base

from psychechat.concurrency import Clock
from psychechat.config import EscalationSettings
from psychechat.conversation import Conversation, CrisisTurn, Event, Reading, Utterance
from psychechat.engines.scripted import reading
from psychechat.risk import Kind, Severity
from psychechat.safety import webhook
from psychechat.safety.webhook import BACKOFF, LONGEST_PAUSE, RETRY_WINDOW, WebhookEscalations
from psychechat.telemetry import Metrics
from tests.support.receiver import HANG, SECRET, receiving

pytestmark = pytest.mark.asyncio

CANARY = "zanzibarquux"
NOW = datetime(2026, 11, 28, tzinfo=UTC)
_QUICK = wait_fixed(0.01)


def crisis(*texts: str, **more: Any) -> CrisisTurn:
    spoken = tuple(Utterance("counselor" if i % 2 else "seeker", text) for i, text in enumerate(texts))
    turn = CrisisTurn(
        event="started",
        episode=f"named for {texts}",
        conversation=Conversation(spoken),
        request_id="req-1",
        tenant="ward",
        session_id="s1",
        client_session_id=None,
        end_user=None,
        reading=replace(reading(risk=Severity.IDEATION), alarm=True),
        mode="agent",
        answered="reply",
        resources_locale="en-US",
    )
    return replace(turn, **more)


class Sending:
    def __init__(self, url: str, backoff: wait_base, clock: Clock, settings: dict[str, Any]) -> None:
        self.metrics = Metrics()
        self.drills: set[str] = set()
        chosen = EscalationSettings.model_validate({"url": url, **settings})
        self.webhook = WebhookEscalations(
            chosen, self.metrics, drills=lambda: self.drills, backoff=backoff, clock=clock
        )
        self.escalate = self.webhook.escalate

    def count(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("psychechat_escalations_total", {"result": result}) or 0.0

    @property
    def pending(self) -> float:
        return self.metrics.registry.get_sample_value("psychechat_escalations_pending") or 0.0

    async def settle(self) -> None:
        await until(lambda: not self.pending)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)  # real time: the receiver runs in a thread of its own, and tells nobody


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSYCHECHAT_ESCALATION_SECRET", SECRET)


@asynccontextmanager
async def sending(
    url: str, *, backoff: wait_base = _QUICK, clock: Clock = time.time, **settings: Any
) -> AsyncIterator[Sending]:
    opened = Sending(url, backoff, clock, settings)
    try:
        yield opened
    finally:
        await opened.webhook.close(0)


async def test_where_an_event_goes_may_be_a_secret_in_a_file(tmp_path: Path) -> None:
    """A chat service's URL is one: settings are seen in `serveConfigV2` and `serve config`."""
    with receiving(204) as receiver:
        (tmp_path / "url").write_text(f"{receiver.url}\n")
        settings = EscalationSettings(url_file=tmp_path / "url")
        assert receiver.url not in settings.model_dump_json()
        webhook = WebhookEscalations(settings, Metrics())
        webhook.escalate(crisis("I want to die"))
        await until(lambda: bool(receiver.deliveries))
        await webhook.close(1)


async def test_an_event_says_what_was_detected_and_no_word_of_the_seeker() -> None:
    with receiving(204) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(crisis(f"hello {CANARY}", f"go on {CANARY}", f"I want to die {CANARY}"))
            await sender.settle()
        [delivery] = receiver.deliveries
    event = delivery.event
    assert abs(event.pop("created") - time.time()) < 60
    assert event.pop("episode") == event.pop("id")
    assert event == {
        "type": "crisis.detected",
        "event": "started",
        "kind": None,
        "tenant": "ward",
        "session_id": "s1",
        "request_id": "req-1",
        "source": "backstop",
        "severity": "ideation",
        "mode": "agent",
        "answered": "reply",
        "language": "en",
        "locale": "en-US",
    }
    assert CANARY not in str(delivery)
    assert sender.count("delivered") == 1


async def test_the_newest_message_goes_with_it_where_the_settings_say_so() -> None:
    with receiving(200) as receiver:
        async with sending(receiver.url, include_utterance=True) as sender:
            sender.escalate(crisis("hello", "go on", "想死"))
            await sender.settle()
        assert receiver.deliveries[0].event["utterance"] == "想死"


async def test_the_signature_is_the_one_the_standard_writes() -> None:
    """By hand, for the receiver's verification is of the same package as the signer."""
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(crisis("想死"))
            await sender.settle()
        [delivery] = receiver.deliveries
    headers = delivery.headers
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + delivery.body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


async def test_a_wrong_secret_is_refused_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with receiving(200) as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PSYCHECHAT_ESCALATION_SECRET", "another secret of 24 or more bytes!=".replace(" ", "+")[:32])
        async with sending(receiver.url) as sender:
            sender.escalate(crisis(CANARY))
            await sender.settle()
        assert len(receiver.deliveries) == 1
    assert sender.count("refused") == 1
    assert receiver.deliveries[0].event["id"] in caplog.text  # so that it can be found again
    assert CANARY not in caplog.text


@pytest.mark.parametrize("status", [400, 410, 301])
async def test_a_receiver_that_refuses_is_not_asked_again(status: int) -> None:
    with receiving((status, {"location": "/elsewhere"})) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(crisis("hello"))
            await sender.settle()
        assert len(receiver.deliveries) == 1
    assert (sender.count("refused"), sender.count("delivered")) == (1, 0)


async def test_a_receiver_that_fails_twice_gets_the_same_event_three_times() -> None:
    with receiving(500, 404, 200) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(crisis("hello"))
            await sender.settle()
        assert len({delivery.body for delivery in receiver.deliveries}) == 1
        assert len({delivery.headers["webhook-id"] for delivery in receiver.deliveries}) == 1
        assert len(receiver.deliveries) == 3
    assert sender.count("delivered") == 1


async def test_pauses_grow_and_differ() -> None:
    def pauses() -> list[float]:
        return [BACKOFF(SimpleNamespace(attempt_number=number)) for number in range(1, 10)]  # type: ignore[arg-type]

    first, second = pauses(), pauses()
    assert first != second
    assert first[0] < 3 < 30 < first[5]
    assert max(first) <= 61
    assert 200 < sum(first) < 300  # what `attempts` says of the default


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_asks_for_patience_gets_it(status: int) -> None:
    with receiving((status, {"retry-after": "0.2"}), 200) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(crisis("hello"))
            await sender.settle()
        first, second = receiver.deliveries
    assert 0.2 <= second.at - first.at < 5
    assert sender.count("delivered") == 1


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("120", 120, 120),
        (format_datetime(NOW + timedelta(minutes=2), usegmt=True), 120, 120),
        (format_datetime(NOW + timedelta(hours=1), usegmt=True), LONGEST_PAUSE, LONGEST_PAUSE),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("nan", 0, 0),
        ("inf", 0, 0),
        ("", 0, 0),
        (None, 0, 0),
    ],
)
async def test_retry_after_is_seconds_or_a_date_and_bounded(header: str | None, low: float, high: float) -> None:
    assert low <= webhook._seconds(header, NOW.timestamp()) <= high


async def test_a_receiver_that_hangs_is_given_up_after_all_tries(caplog: pytest.LogCaptureFixture) -> None:
    with receiving(HANG) as receiver:
        async with sending(receiver.url, timeout_seconds=0.2, attempts=3) as sender:
            sender.escalate(crisis(CANARY))
            assert not receiver.deliveries  # it is told beside the turn
            await sender.settle()
            assert len(receiver.deliveries) == 3
            assert sender.count("exhausted") == 1
            assert receiver.deliveries[0].event["id"] in caplog.text
            assert "TimeoutError" in caplog.text
            assert CANARY not in caplog.text
            receiver.released.set()
            sender.escalate(crisis(CANARY))  # the turn, sent again: it was never delivered
            await sender.settle()
    assert sender.count("delivered") == 1
    ids = {delivery.headers["webhook-id"] for delivery in receiver.deliveries}
    assert len(ids) == 1


async def test_an_event_that_ends_in_an_unforeseen_error_is_counted_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            with monkeypatch.context() as broken:
                broken.setattr(sender.webhook._signer, "sign", _quote_it)
                sender.escalate(crisis("hello"))
                await sender.settle()
            assert (sender.count("error"), len(receiver.deliveries)) == (1, 0)
            assert "ZeroDivisionError" in caplog.text
            assert CANARY not in caplog.text
            sender.escalate(crisis("hello"))  # the turn, sent again, has more luck
            await sender.settle()
    assert sender.count("delivered") == 1


def _quote_it(*_: object) -> str:
    raise ZeroDivisionError(CANARY)


async def test_one_that_hangs_holds_up_no_other() -> None:
    with receiving(HANG, 200) as receiver:
        async with sending(receiver.url, timeout_seconds=5) as sender:
            sender.escalate(crisis("first"))
            await until(lambda: len(receiver.deliveries) == 1)
            sender.escalate(crisis("second"))
            await until(lambda: sender.count("delivered") == 1)
            assert sender.pending == 1


async def test_a_request_that_comes_again_is_told_once() -> None:
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            for session in ("s1", "s2", "s3"):  # a first turn's session is random where it has no name
                sender.escalate(crisis("hello", session_id=session))
                await asyncio.sleep(0)
            await sender.settle()
        assert len(receiver.deliveries) == 1
    assert (sender.count("delivered"), sender.count("repeated")) == (1, 2)


@pytest.mark.parametrize("who", [{}, {"client_session_id": "one for all"}, {"end_user": "one for all"}])
async def test_three_people_with_the_same_words_are_three_messages_of_the_same_id(who: dict[str, str]) -> None:
    """Whether it is one person who sends again cannot be known: all are told, and the id says that it may be."""
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            for request_id in ("req-1", "req-2", "req-3"):
                sender.escalate(crisis("hello", request_id=request_id, **who))
            await sender.settle()
        assert len({delivery.headers["webhook-id"] for delivery in receiver.deliveries}) == 3
        assert {delivery.event["request_id"] for delivery in receiver.deliveries} == {"req-1", "req-2", "req-3"}
        assert len({delivery.event["id"] for delivery in receiver.deliveries}) == 1
    assert (sender.count("delivered"), sender.count("repeated")) == (3, 0)


async def test_a_turn_that_is_answered_when_it_is_sent_again_does_not_stay_unanswered() -> None:
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            for answered in ("unanswered", "unanswered", "safe_template", "reply"):
                sender.escalate(crisis("hello", answered=answered))
            await sender.settle()
        assert {delivery.event["answered"] for delivery in receiver.deliveries} == {"unanswered", "safe_template"}
        assert len({delivery.headers["webhook-id"] for delivery in receiver.deliveries}) == 2
        assert len({delivery.event["id"] for delivery in receiver.deliveries}) == 1
    assert (sender.count("delivered"), sender.count("repeated")) == (2, 2)


def kind(name: Kind | None, severity: Severity = Severity.IDEATION) -> Reading:
    return replace(reading(risk=severity), alarm=True, kind=name)


@pytest.mark.parametrize(
    "other",
    [
        crisis("goodbye"),
        crisis("hello", tenant="other"),
        crisis("hello", event="over"),
        crisis("hello", event="worse"),
        # A field's end is no other field's beginning.
        crisis("hello", tenant="wardn", episode="amed for ('hello',)"),
    ],
)
async def test_what_happened_elsewhere_or_later_is_another_event(other: CrisisTurn) -> None:
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(crisis("hello"))
            sender.escalate(other)
            await sender.settle()
        assert len({delivery.headers["webhook-id"] for delivery in receiver.deliveries}) == 2
        assert len({delivery.event["id"] for delivery in receiver.deliveries}) == 2


async def test_the_events_of_an_episode_name_it_and_each_step_has_its_own_id() -> None:
    """However often each is sent, by whichever request."""
    steps = [
        crisis("hello"),
        crisis("hello", event="worse", reading=kind(None, Severity.BEHAVIOR)),
        crisis("hello", event="worse", reading=kind("under_way")),
        crisis("hello", event="over", reading=reading()),
    ]
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            for request_id in ("req-1", "req-2"):
                for step in steps:
                    sender.escalate(replace(step, request_id=request_id))
                    await sender.settle()  # so that they arrive in this order
        events = [delivery.event for delivery in receiver.deliveries]
    assert [event["id"] for event in events[:4]] == [event["id"] for event in events[4:]]
    assert len({event["id"] for event in events}) == 4
    assert {event["episode"] for event in events} == {events[0]["id"]}
    assert [(event["type"], event["event"], event["severity"], event["kind"]) for event in events[:4]] == [
        ("crisis.detected", "started", "ideation", None),
        ("crisis.worse", "worse", "behavior", None),
        ("crisis.worse", "worse", "ideation", "under_way"),
        ("crisis.over", "over", "none", None),
    ]


async def test_the_id_is_the_same_at_every_replica_and_at_any_time() -> None:
    ids, keys = [], []
    for seconds in (0.0, RETRY_WINDOW - 1.0, RETRY_WINDOW * 2.0):
        with receiving(200) as receiver:
            # Each is a process of its own: nothing shared but the secret.
            async with sending(receiver.url, clock=lambda now=seconds: now) as replica:  # type: ignore[misc]
                replica.escalate(crisis("hello"))
                await replica.settle()
                keys.append(replica.webhook.episode_key)
            ids.append((receiver.deliveries[0].event["id"], receiver.deliveries[0].headers["webhook-id"]))
    assert len(set(ids)) == len(set(keys)) == 1


@pytest.mark.parametrize("event", ["started", "worse"])
async def test_what_was_lost_is_told_by_the_episodes_next_crisis(event: Event) -> None:
    """A receiver that was away while a crisis began hears of it as soon as the seeker speaks of it again."""
    with receiving(400, 200) as receiver:
        async with sending(receiver.url) as sender:
            for number, happens in enumerate((event, "continued", "continued")):
                sender.escalate(crisis("hello", event=happens, request_id=f"req-{number}"))
                await sender.settle()
            sender.escalate(crisis("another", event="continued"))
            await sender.settle()
        lost, late = (delivery.event for delivery in receiver.deliveries)
    assert (lost["request_id"], late["request_id"]) == ("req-0", "req-1")
    assert lost["id"] == late["id"]
    assert late["event"] == event
    assert (sender.count("refused"), sender.count("delivered")) == (1, 1)


async def test_rising_risk_is_told_where_the_settings_ask_for_it() -> None:
    rising = crisis("hello", event="rising", reading=reading(risk=Severity.INDICATOR))
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(rising)
            await sender.settle()
        async with sending(receiver.url, rising=True) as sender:
            sender.escalate(rising)
            await sender.settle()
        [event] = (delivery.event for delivery in receiver.deliveries)
    assert (event["type"], event["severity"]) == ("risk.rising", "indicator")


async def test_a_drill_is_typed_so_while_its_key_is_one() -> None:
    """The keys may change while the server runs."""
    with receiving(200) as receiver:
        async with sending(receiver.url) as sender:
            for drills in ({"other"}, {"ward"}, set[str]()):
                sender.drills = drills
                sender.escalate(crisis("hello", request_id=f"req-{drills}"))
                await sender.settle()
        events = [delivery.event for delivery in receiver.deliveries]
    assert [event["type"] for event in events] == ["crisis.detected", "drill", "crisis.detected"]
    assert {event["event"] for event in events} == {"started"}


def _held() -> int:
    """Turns, and so conversations, that something still holds."""
    gc.collect()  # what earlier tests left is nobody's
    return sum(type(thing) is CrisisTurn for thing in gc.get_objects())


async def test_ten_thousand_crises_with_nobody_there_stay_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """By as many times its capacity as would be ten thousand of the default's thousand."""
    caplog.set_level(logging.CRITICAL)  # a line each is right, and not what is looked at
    held = _held()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        async with sending(f"http://127.0.0.1:{nobody.getsockname()[1]}", backoff=BACKOFF, capacity=100) as sender:
            for number in range(1_000):
                sender.escalate(crisis(f"hello {number}"))
                if number % 50 == 0:
                    await asyncio.sleep(0)
                    assert sender.pending <= 100
            await asyncio.sleep(0)
            assert sender.pending == 100
            assert sender.count("displaced") == 900
            assert _held() <= held  # fewer, where an earlier test left some to the collector
            assert len(asyncio.all_tasks()) <= 100 + 1
    assert sender.count("abandoned") == 100
    assert sender.pending == 0


async def test_the_newest_are_those_that_stay() -> None:
    with receiving(HANG) as receiver:
        async with sending(receiver.url, capacity=2) as sender:
            for number in range(5):
                sender.escalate(crisis(str(number), request_id=f"req-{number}"))
            await until(lambda: len(receiver.deliveries) == 2)
        assert {delivery.event["request_id"] for delivery in receiver.deliveries} == {"req-3", "req-4"}


async def test_a_flood_from_one_tenant_drives_out_none_of_anothers() -> None:
    with receiving(HANG) as receiver:
        async with sending(receiver.url, capacity=4) as sender:
            for name in ("first", "second"):
                sender.escalate(crisis(name, tenant="school", request_id=name))
            for number in range(20):
                sender.escalate(crisis(str(number), tenant="flood", request_id=str(number)))
            assert sender.pending == 4
            await until(lambda: len(receiver.deliveries) == 4)
        assert {delivery.event["request_id"] for delivery in receiver.deliveries} == {"first", "second", "18", "19"}


async def test_a_flood_from_one_tenant_delays_anothers_event_by_no_more_than_one_delivery() -> None:
    """All eight places are the flood's; the next that is free is the other's."""
    with receiving(*[HANG] * 8, 204) as receiver:
        async with sending(receiver.url) as sender:
            for number in range(40):
                sender.escalate(crisis(str(number), tenant="flood", request_id=f"flood-{number}"))
            sender.escalate(crisis("hello", tenant="ward", request_id="ward"))
            await until(lambda: len(receiver.deliveries) == 8)
            receiver.released.set()
            await sender.settle()
        order = [delivery.event["request_id"] for delivery in receiver.deliveries]
    assert len(order) == 41
    assert "ward" in order[8:16], "the eight places were free at about the same time"


@pytest.mark.parametrize("statuses", [(500, 200), (HANG, 200)], ids=["between two tries", "during one"])
async def test_a_shutdown_tries_what_waits_once_more_and_waits_for_it(statuses: tuple[int, int]) -> None:
    with receiving(*statuses) as receiver:
        async with sending(receiver.url, backoff=wait_fixed(3600), timeout_seconds=0.5) as sender:
            sender.escalate(crisis("hello"))
            await until(lambda: len(receiver.deliveries) == 1)
            await sender.webhook.close(10)
        assert len(receiver.deliveries) == 2
    assert sender.count("delivered") == 1
    assert sender.pending == 0


async def test_a_shutdown_gives_up_in_time_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with receiving(HANG) as receiver:
        async with sending(receiver.url) as sender:
            sender.escalate(crisis("hello"))
            await until(lambda: len(receiver.deliveries) == 1)
            await sender.webhook.close(0.1)
        assert sender.count("abandoned") == 1
        assert receiver.deliveries[0].headers["webhook-id"] in caplog.text
