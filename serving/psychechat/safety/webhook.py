"""Crises as events of a webhook, signed as Standard Webhooks have it: https://www.standardwebhooks.com

An event is delivered, perhaps more than once, or counted as lost. `webhook-id` names the message, the same at each try.
The event's own id names what has happened: the same words, sent again, have the same id in a message of their own.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

import httpx
import orjson
from cachetools import TTLCache
from standardwebhooks import Webhook
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tenacity.wait import wait_base

from psychechat import tracing
from psychechat.concurrency import Clock, FairPlaces
from psychechat.config import EscalationSettings
from psychechat.conversation import CrisisTurn, Event
from psychechat.telemetry import Metrics

logger = logging.getLogger(__name__)

BACKOFF = wait_exponential_jitter(initial=1, max=60, jitter=1)
LONGEST_PAUSE = 300.0
"""A receiver may ask for as many seconds; after more the event would be old."""
RETRY_WINDOW = 600
"""Seconds in which a request that comes again is told once."""
EPISODE_SECONDS = 86_400
"""For so long an episode's later crises tell of what could not be delivered."""
TYPES: Mapping[Event, str] = {
    "started": "crisis.detected",
    "worse": "crisis.worse",
    "over": "crisis.over",
    "rising": "risk.rising",
}
_AT_ONCE = 8
_REMEMBERED = 50_000
_LATER = frozenset({404, 408, 425, 429})
"""Besides 5xx. A 404 is what a proxy says whose receiver is being replaced."""


@dataclass(frozen=True, slots=True)
class _Message:
    """An event on its way. It holds no turn: what waits may wait for long."""

    name: str
    event_id: str
    event: Event
    episode: str
    tenant: str
    body: bytes
    trace: Mapping[str, str]


class WebhookEscalations:
    """Implements `Escalations`. What waits for delivery is kept in memory, bounded, and gone with the process."""

    def __init__(
        self,
        settings: EscalationSettings,
        metrics: Metrics,
        *,
        drills: Callable[[], Collection[str]] = frozenset,
        backoff: wait_base = BACKOFF,
        clock: Clock = time.time,
    ) -> None:
        """Raises SettingsError, ValueError or OSError if the settings name no usable URL or secret.

        `clock`: Unix time, of events.

        `drills`: tenants whose crises are practice.
        """
        self._settings, self._metrics, self._backoff, self._clock = settings, metrics, backoff, clock
        self._drills = drills
        self._url, secret = settings.target(), settings.secret()
        self._signer = Webhook(secret)
        # Not the signing key itself, though whoever has the one can make the others.
        self._id_key = hmac.digest(secret, b"psychechat event id", "sha256")
        self.episode_key = hmac.digest(secret, b"psychechat episode", "sha256")
        """For the names of episodes: all replicas have it, and it outlives a restart."""
        self._client = httpx.AsyncClient(timeout=settings.timeout_seconds)
        self._places = FairPlaces(_AT_ONCE)
        """Of deliveries, which tenants take in turn: none waits for all of another's."""
        self._closing = asyncio.Event()
        self._known: TTLCache[str, None] = TTLCache(_REMEMBERED, RETRY_WINDOW, timer=clock)
        self._untold: TTLCache[str, Event] = TTLCache(_REMEMBERED, EPISODE_SECONDS, timer=clock)
        """What was lost here, by episode."""
        self._pending: dict[str, dict[str, tuple[_Message, asyncio.Task[None]]]] = {}
        """By tenant, the oldest first."""

    def escalate(self, turn: CrisisTurn) -> None:
        if turn.event == "rising" and not self._settings.rising:
            return
        if turn.event == "continued":
            lost = self._untold.get(self._episode(turn))
            if lost is None:
                return
            turn = replace(turn, event=lost)
        message = self._message(turn)
        if message.name in self._known:
            self._metrics.escalations.labels("repeated").inc()
            return
        self._known[message.name] = None
        if self._waiting >= self._settings.capacity:
            # Of whoever fills the queue, the one that comes counted in, so that no tenant drives out another's. The
            # oldest has had the most tries, and whoever sent the newest can still be reached.
            fullest = max(self._pending, key=lambda tenant: len(self._pending[tenant]) + (tenant == turn.tenant))
            self._give_up(next(iter(self._pending[fullest].values())), "displaced")
        task = asyncio.create_task(self._deliver(message))
        self._pending.setdefault(turn.tenant, {})[message.name] = message, task
        self._metrics.escalations_pending.set(self._waiting)

    async def close(self, seconds: float) -> None:
        """Everything that is pending is tried once more, at once, and after these seconds given up."""
        self._closing.set()
        tasks = [task for pending in self._pending.values() for _, task in pending.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for waiting in [waiting for pending in self._pending.values() for waiting in pending.values()]:
            self._give_up(waiting, "abandoned")
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _deliver(self, message: _Message) -> None:
        tries = AsyncRetrying(
            retry=retry_if_exception_type(_NotNow),
            stop=lambda state: stop_after_attempt(self._settings.attempts)(state) or _failure(state).last,
            wait=self._pause,
            sleep=self._nap,
            reraise=True,
        )
        try:
            async for attempt in tries:
                with attempt:
                    await self._post(message, attempt.retry_state.attempt_number)
        except (_NotNow, _Refused) as failure:
            self._lost(message, failure.result, str(failure))
        except Exception as error:  # its message may quote the event
            self._lost(message, "error", type(error).__name__)
        else:
            if self._untold.get(message.episode) == message.event:
                del self._untold[message.episode]
            self._metrics.escalations.labels("delivered").inc()
        self._settled(message)

    async def _post(self, message: _Message, attempt: int) -> None:
        """One try. It goes behind those of its tenant's messages that have had fewer."""
        async with self._places.place(message.tenant, behind=attempt):
            last = self._closing.is_set()  # at its start: a try that was under way by then is followed by another one
            now = datetime.now(UTC)  # as the receiver has it, not an event's time: each try is signed anew
            headers = {
                **message.trace,
                "content-type": "application/json",
                "webhook-id": message.name,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": self._signer.sign(message.name, now, message.body.decode()),
            }
            try:
                # One bound on the whole try; httpx's own are for each step of it. The answer's body says nothing.
                async with (
                    asyncio.timeout(self._settings.timeout_seconds),
                    self._client.stream("POST", self._url, content=message.body, headers=headers) as response,
                ):
                    status = response.status_code
                    asked = _seconds(response.headers.get("retry-after"), self._clock())
            except Exception as error:
                raise _NotNow(type(error).__name__, last=last) from None
        if status in _LATER or status >= 500:
            raise _NotNow(f"status {status}", asked, last=last)
        if not 200 <= status < 300:
            raise _Refused(f"status {status}")

    def _pause(self, state: RetryCallState) -> float:
        return max(self._backoff(state), _failure(state).retry_after)

    async def _nap(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _give_up(self, waiting: tuple[_Message, asyncio.Task[None]], result: str) -> None:
        message, task = waiting
        task.cancel()
        self._lost(message, result, "no time or room left")
        self._settled(message)

    def _lost(self, message: _Message, result: str, why: str) -> None:
        self._known.pop(message.name, None)  # the turn, sent again, may have more luck
        if message.event in ("started", "worse"):
            self._untold.setdefault(message.episode, message.event)  # the episode's next crisis tells
        self._metrics.escalations.labels(result).inc()
        logger.error("escalation %s %s: %s (%s)", message.event_id, result, why, message.name)

    def _settled(self, message: _Message) -> None:
        del self._pending[message.tenant][message.name]
        if not self._pending[message.tenant]:
            del self._pending[message.tenant]
        self._metrics.escalations_pending.set(self._waiting)

    @property
    def _waiting(self) -> int:
        return sum(map(len, self._pending.values()))

    def _id(self, turn: CrisisTurn) -> str:
        """The same for the same turn sent again, at whatever replica, and after a restart. Each step of what gets worse
        has its own.
        """
        step = (turn.severity.label, turn.reading.kind or "") if turn.event == "worse" else ()
        return f"evt_{self._digest(turn.tenant, turn.episode, turn.event, *step)}"

    def _episode(self, turn: CrisisTurn) -> str:
        """The id of the event that began it."""
        return self._id(replace(turn, event="started"))

    def _message(self, turn: CrisisTurn) -> _Message:
        """Two people may say the same words, and nothing that a client says of them tells them apart for certain, so
        each request is a message. That nobody was answered is another one than that somebody was.
        """
        event_id = self._id(turn)
        answered = "unanswered" if turn.answered == "unanswered" else "answered"
        name = f"msg_{self._digest(event_id, turn.request_id, answered)}"
        body = self._body(event_id, turn)
        return _Message(name, event_id, turn.event, self._episode(turn), turn.tenant, body, tracing.headers())

    def _digest(self, *fields: str) -> str:
        digest = hmac.new(self._id_key, digestmod=hashlib.sha256)
        for field in fields:
            encoded = field.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()[:32]

    def _body(self, event_id: str, turn: CrisisTurn) -> bytes:
        event = {
            "id": event_id,
            "type": "drill" if turn.tenant in self._drills() else TYPES[turn.event],
            "event": turn.event,
            "episode": self._episode(turn),
            "created": int(self._clock()),
            "tenant": turn.tenant,
            "session_id": turn.session_id,
            "request_id": turn.request_id,
            "source": turn.reading.source,
            "severity": turn.severity.label,
            "kind": turn.reading.kind,
            "mode": turn.mode,
            "answered": turn.answered,
            "language": turn.reading.language,
            "locale": turn.resources_locale,
        }
        if self._settings.include_utterance:
            event["utterance"] = turn.conversation.newest
        return orjson.dumps(event)


class _NotNow(Exception):
    result = "exhausted"

    def __init__(self, why: str, retry_after: float = 0.0, *, last: bool) -> None:
        super().__init__(why)
        self.retry_after, self.last = retry_after, last


class _Refused(Exception):
    result = "refused"


def _failure(state: RetryCallState) -> _NotNow:
    failure = state.outcome.exception() if state.outcome else None
    assert isinstance(failure, _NotNow)
    return failure


def _seconds(retry_after: str | None, now: float) -> float:
    """A retry-after header is a number of seconds or a date. What is neither asks for nothing."""
    if retry_after is None:
        return 0.0
    try:
        asked = float(retry_after)
    except ValueError:
        try:
            asked = parsedate_to_datetime(retry_after).timestamp() - now
        except ValueError:
            return 0.0
    return min(max(asked, 0.0), LONGEST_PAUSE) if isfinite(asked) else 0.0
