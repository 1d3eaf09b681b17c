"""Crisis turns as events of a webhook, signed as Standard Webhooks have it: https://www.standardwebhooks.com

An event is delivered, perhaps more than once, or counted as lost. A receiver tells repeated ones by their id.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Mapping
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
from psychechat.concurrency import Clock
from psychechat.config import EscalationSettings
from psychechat.conversation import CrisisTurn
from psychechat.telemetry import Metrics

logger = logging.getLogger(__name__)

BACKOFF = wait_exponential_jitter(initial=1, max=60, jitter=1)
LONGEST_PAUSE = 300.0
"""A receiver may ask for as many seconds; after more the event would be old."""
RETRY_WINDOW = 600
"""Seconds in which a turn with the same words is taken for the same turn, sent again. At most twice as many."""
_AT_ONCE = 8
_REMEMBERED = 50_000
_LATER = frozenset({404, 408, 425, 429})
"""Besides 5xx. A 404 is what a proxy says whose receiver is being replaced."""


class WebhookEscalations:
    """Implements `Escalations`. What waits for delivery is kept in memory, bounded, and gone with the process."""

    def __init__(
        self, settings: EscalationSettings, metrics: Metrics, *, backoff: wait_base = BACKOFF, clock: Clock = time.time
    ) -> None:
        """Raises ValueError or OSError if the settings name no usable secret. `clock`: Unix time, of events."""
        self._settings, self._metrics, self._backoff, self._clock = settings, metrics, backoff, clock
        secret = settings.secret()
        self._signer = Webhook(secret)
        # Not the signing key itself, though whoever has the one can make the other.
        self._id_key = hmac.digest(secret, b"psychechat event id", "sha256")
        self._client = httpx.AsyncClient(timeout=settings.timeout_seconds)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._closing = asyncio.Event()
        self._known: TTLCache[str, None] = TTLCache(_REMEMBERED, RETRY_WINDOW, timer=clock)
        self._pending: dict[str, dict[str, asyncio.Task[None]]] = {}
        """By tenant, the oldest first."""

    def escalate(self, turn: CrisisTurn) -> None:
        window = int(self._clock() / RETRY_WINDOW)
        event_id, before = (self._id(turn, number) for number in (window, window - 1))
        if event_id in self._known or before in self._known:
            self._metrics.escalations.labels("repeated").inc()
            return
        self._known[event_id] = None
        if self._waiting >= self._settings.capacity:
            # Of whoever fills the queue, the one that comes counted in, so that no tenant drives out another's. The
            # oldest has had the most tries, and whoever sent the newest can still be reached.
            fullest = max(self._pending, key=lambda tenant: len(self._pending[tenant]) + (tenant == turn.tenant))
            self._give_up(fullest, next(iter(self._pending[fullest])), "displaced")
        delivery = self._deliver(turn.tenant, event_id, self._body(event_id, turn), tracing.headers())
        self._pending.setdefault(turn.tenant, {})[event_id] = asyncio.create_task(delivery)
        self._metrics.escalations_pending.set(self._waiting)

    async def close(self, seconds: float) -> None:
        """Everything that is pending is tried once more, at once, and after these seconds given up."""
        self._closing.set()
        tasks = [task for tasks in self._pending.values() for task in tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for tenant, event_id in [(tenant, event_id) for tenant, tasks in self._pending.items() for event_id in tasks]:
            self._give_up(tenant, event_id, "abandoned")
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _deliver(self, tenant: str, event_id: str, body: bytes, trace: Mapping[str, str]) -> None:
        tries = AsyncRetrying(
            retry=retry_if_exception_type(_NotNow),
            stop=lambda state: stop_after_attempt(self._settings.attempts)(state) or _failure(state).last,
            wait=self._pause,
            sleep=self._nap,
            reraise=True,
        )
        try:
            await tries(self._post, event_id, body, trace)
        except (_NotNow, _Refused) as failure:
            self._lost(event_id, failure.result, str(failure))
        except Exception as error:  # its message may quote the event
            self._lost(event_id, "error", type(error).__name__)
        else:
            self._metrics.escalations.labels("delivered").inc()
        self._settled(tenant, event_id)

    async def _post(self, event_id: str, body: bytes, trace: Mapping[str, str]) -> None:
        async with self._slots:
            last = self._closing.is_set()  # at its start: a try that was under way by then is followed by another one
            now = datetime.now(UTC)  # as the receiver has it, not an event's time: each try is signed anew
            headers = {
                **trace,
                "content-type": "application/json",
                "webhook-id": event_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": self._signer.sign(event_id, now, body.decode()),
            }
            try:
                # One bound on the whole try; httpx's own are for each step of it. The answer's body says nothing.
                async with (
                    asyncio.timeout(self._settings.timeout_seconds),
                    self._client.stream("POST", str(self._settings.url), content=body, headers=headers) as response,
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

    def _give_up(self, tenant: str, event_id: str, result: str) -> None:
        self._pending[tenant][event_id].cancel()
        self._lost(event_id, result, "no time or room left")
        self._settled(tenant, event_id)

    def _lost(self, event_id: str, result: str, why: str) -> None:
        self._known.pop(event_id, None)  # the turn, sent again, may have more luck
        self._metrics.escalations.labels(result).inc()
        logger.error("escalation %s %s: %s", event_id, result, why)

    def _settled(self, tenant: str, event_id: str) -> None:
        del self._pending[tenant][event_id]
        if not self._pending[tenant]:
            del self._pending[tenant]
        self._metrics.escalations_pending.set(self._waiting)

    @property
    def _waiting(self) -> int:
        return sum(map(len, self._pending.values()))

    def _id(self, turn: CrisisTurn, window: int) -> str:
        """The same for the same turn sent again, at whatever replica. Two people may say the same words, so who
        speaks counts too, and so does the time. Where the client does not say who, only its request's id tells.
        That nobody was answered is another event than that somebody was.
        """
        digest = hmac.new(self._id_key, digestmod=hashlib.sha256)
        named = turn.named_session or turn.end_user
        speaker = (
            turn.tenant,
            turn.named_session or "",
            turn.end_user or "",
            "" if named else turn.request_id,
            "unanswered" if turn.answered == "unanswered" else "answered",
            str(window),
        )
        spoken = (field for u in turn.conversation.utterances for field in (u.speaker, u.text.strip()))
        for field in (*speaker, *spoken):
            encoded = field.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return f"evt_{digest.hexdigest()[:32]}"

    def _body(self, event_id: str, turn: CrisisTurn) -> bytes:
        event = {
            "id": event_id,
            "type": "crisis.detected",
            "created": int(self._clock()),
            "tenant": turn.tenant,
            "session_id": turn.session_id,
            "request_id": turn.request_id,
            "source": turn.reading.source,
            "severity": turn.severity.label,
            "mode": turn.mode,
            "answered": turn.answered,
            "language": turn.reading.language,
            "locale": turn.locale,
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
