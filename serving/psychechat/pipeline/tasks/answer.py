"""Answer to a background task: its quoted lines are read, then the model answers in one generation of its own words.

There is no persona, no help, no review and no memory in it, and nothing of it is a turn.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

from psychechat import tracing
from psychechat.admission.lanes import Rank
from psychechat.concurrency import in_time
from psychechat.conversation import Choice, Conversation, Decision, Reply, ReplyDelta, Utterance
from psychechat.engines.base import Call, Delta, Sampling, Stage, StageName
from psychechat.engines.cast import Cast
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded, ReplicaDied
from psychechat.logs import log_kind
from psychechat.pipeline.bulk_classify import BULK
from psychechat.pipeline.request import Outcome, TurnMeter
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.sinks import Emit
from psychechat.pipeline.tasks.check import finding
from psychechat.pipeline.tasks.reading import QuotedLines
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.prompts.inert import inert
from psychechat.safety.output_guard import ReplyContext
from psychechat.tasks.template import Returns

logger = logging.getLogger(__name__)

_STAGE = "task"
"""As metrics, spans and timings name it. The engine knows it as a reply: free text."""


async def run_task(
    pipeline: Pipeline, request: TaskRequest, emit: Emit, admitted: Callable[[], None] = lambda: None
) -> Outcome:
    """Answer one task. `emit` gets the answer whole; `admitted` is called once it is not refused for load any more.

    Raises ContextLengthExceeded, DeadlineExceeded, EngineUnavailable or Overloaded, also where it quotes a crisis: the
    seeker has that answered in a turn. A crisis that was in no turn raises its event whatever becomes of the task.
    """
    meter = TurnMeter(pipeline.tracer, pipeline.monotonic)
    lines = QuotedLines(pipeline, request)
    status: Literal["answered", "refused", "error"] | None = None
    try:
        await lines.search()
        choice = await _Task(pipeline, request, lines, meter, admitted).answer()
        emit(ReplyDelta(content=choice.text))
        status = "answered"
    except Exception as error:
        status = "refused" if isinstance(error, Overloaded) else "error"
        raise
    finally:
        _escalate(pipeline, request, lines)
        pipeline.quotas.charge(request.tenant, meter.usage.prompt_tokens + meter.usage.completion_tokens)
        if status is not None:
            pipeline.metrics.tasks.labels(request.task.kind, status).inc()
    reply = Reply((choice,), lines.gravest, Decision("llm", "task", crisis=False))
    return Outcome(reply, meter.usage, {**meter.seconds, "total": meter.elapsed}, task=request.task.kind)


async def read_task(pipeline: Pipeline, request: TaskRequest) -> None:
    """Read what a task quotes that will be refused for what is in the request: a crisis that was in no turn raises its
    event. Load and quota leave it unread, but for its phrases.
    """
    lines = QuotedLines(pipeline, request)
    try:
        await lines.search()
        await _Task(pipeline, request, lines, TurnMeter(pipeline.tracer, pipeline.monotonic)).read()
    finally:
        _escalate(pipeline, request, lines)


class _Task:
    """Phases of one task."""

    def __init__(
        self,
        pipeline: Pipeline,
        request: TaskRequest,
        lines: QuotedLines,
        meter: TurnMeter,
        admitted: Callable[[], None] = lambda: None,
    ) -> None:
        self._pipeline, self._request, self._lines, self._meter = pipeline, request, lines, meter
        self._admitted = admitted
        self._seconds = min(request.seconds, pipeline.policy.limits.turn_seconds)
        self._deadline = pipeline.monotonic() + self._seconds

    @property
    def _cast(self) -> Cast:
        return self._pipeline.casts[self._lines.gravest.language]

    async def answer(self) -> Choice:
        try:
            async with in_time(self._seconds):
                with self._pipeline.quotas.enter(self._request.tenant):
                    await self._classify()
                    with self._meter.timed("queue"):
                        permit = await self._pipeline.admission.generation[self._cast.lane].acquire(Rank.BULK)
                    with permit, self._meter.timed(_STAGE):
                        self._pipeline.quotas.count(self._request.tenant)
                        self._admitted()
                        return self._checked(*await self._generate())
        except TimeoutError:
            raise DeadlineExceeded("The task's time is up.") from None

    async def read(self) -> None:
        try:
            with self._pipeline.quotas.enter(self._request.tenant):
                self._pipeline.quotas.count(self._request.tenant)
                await self._classify()
        except Overloaded:
            return

    async def _classify(self) -> None:
        """A classifier that gives no answer leaves the lines unread, but for their phrases."""
        try:
            async with in_time(self._pipeline.policy.limits.classify_seconds):
                with self._meter.timed("classify"):
                    await self._lines.classify(self._call())
        except Overloaded:
            raise
        except Exception as error:
            log_kind(logger, self._request.request_id, error, "a task's history is not classified")

    async def _generate(self) -> tuple[str, Delta]:
        """Text and last delta of the model's answer. Nothing of it has left, so a dead replica's is generated anew."""
        try:
            return await self._once()
        except ReplicaDied:
            return await self._once()

    async def _once(self) -> tuple[str, Delta]:
        messages = [replace(message, content=str(inert(message.content))) for message in self._request.messages]
        stage = Stage(StageName.REPLY, thinks=False, schema=_schema(self._request.task.returns), tells_thinking=False)
        text, last = "", Delta()
        stream = self._cast.generators["counselor"].generate(messages, stage, self._sampling(), self._call())
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                text += delta.content
                last = delta
                if delta.usage is not None:
                    self._meter.usage += delta.usage
        return text.strip(), last

    def _sampling(self) -> Sampling:
        """The reply's, with the client's on top; its bound is the most in any case."""
        most = self._pipeline.packs[self._lines.gravest.language].sampling(StageName.REPLY)
        asked = replace(most, **self._request.sampling)
        return replace(asked, max_tokens=min(asked.max_tokens, most.max_tokens), logprobs=None)

    def _checked(self, text: str, last: Delta) -> Choice:
        """The answer, or nothing where it may not be shown."""
        if last.finish_reason not in ("stop", "length"):
            raise EngineUnavailable("The engine ended the task's answer before it was whole.")
        metrics, usage = self._pipeline.metrics, self._meter.usage
        metrics.tokens.labels(_STAGE, "computed").inc(usage.prompt_tokens - usage.cached_tokens)
        metrics.tokens.labels(_STAGE, "cached").inc(usage.cached_tokens)
        metrics.tokens.labels(_STAGE, "generated").inc(usage.completion_tokens)
        problem = finding(text, self._pipeline.policy.guard, self._context(), in_crisis=self._lines.gravest.in_crisis)
        if problem is None:
            return Choice(text, last.finish_reason)
        if counted := problem.cause or problem.fault:
            metrics.guard_findings.labels(counted, "blocked").inc()
        is_contact = problem.fault == "contact"
        return Choice("", "content_filter", cause=problem.cause, blocked=bool(problem.cause), withheld=int(is_contact))

    def _context(self) -> ReplyContext:
        """All of the request may lend its scripts and contacts: an instruction may ask for English."""
        said = tuple(Utterance("seeker", message.content) for message in self._request.messages)
        reading = self._lines.gravest
        return ReplyContext(Conversation(said), reading.language, lambda: self._lines.fixed.contacts(reading))

    def _call(self) -> Call:
        request = self._request
        return Call(
            request_id=request.request_id,
            session_id=f"{request.tenant}:{request.request_id}",
            tenant_salt=request.tenant,
            priority=BULK,
            deadline=self._deadline,
            trace=tracing.headers(),
        )


_CHARACTERS, _TEXTS = 160, 5
"""Of one text in a JSON answer, and of texts in a list: what a page shows of them is short."""


def _schema(returns: Returns | None) -> Mapping[str, Any] | None:
    if returns is None:
        return None
    text = {"type": "string", "minLength": 1, "maxLength": _CHARACTERS}
    kinds: Mapping[str, Mapping[str, Any]] = {
        "text": text,
        "texts": {"type": "array", "items": text, "maxItems": _TEXTS},
    }
    return {
        "type": "object",
        "properties": {name: kinds[kind] for name, kind in returns.items()},
        "required": list(returns),
        "additionalProperties": False,
    }


def _escalate(pipeline: Pipeline, request: TaskRequest, lines: QuotedLines) -> None:
    """Event of a crisis in the history that no turn was about."""
    try:
        event = lines.unseen_crisis()
        if event is not None and pipeline.escalations is not None:
            pipeline.escalations.escalate(event)
    except Exception as error:
        log_kind(logger, request.request_id, error, "the escalation failed")
