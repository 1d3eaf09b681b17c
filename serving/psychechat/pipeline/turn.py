"""One turn, from the seeker's newest message to the reply. Read `run_turn` first.

recall → a permit → classify → a crisis: its fixed words leave → route → a permit → Agent Mode or LLM Mode → remember
"""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from psychechat import tracing
from psychechat.concurrency import in_time
from psychechat.conversation import Decision, Reading, Reply, ReplyDelta, ReplyModeration, StageInputs
from psychechat.engines.base import Call
from psychechat.errors import ContextLengthExceeded, DeadlineExceeded, Overloaded, StageFailed
from psychechat.logs import log_kind
from psychechat.pipeline import accounting, router
from psychechat.pipeline.fitting import inputs_that_fit
from psychechat.pipeline.judge import Judge
from psychechat.pipeline.modes.stages import StageContext
from psychechat.pipeline.permits import Permits
from psychechat.pipeline.reply import cut_reply, fixed_reply, reply_in_mode
from psychechat.pipeline.request import Outcome, TurnMeter, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.sinks import Emit, FirstWords, HeldBack, Written
from psychechat.pipeline.state import TurnState
from psychechat.pipeline.turn_memory import earlier_turns, line_reader, recall, remember
from psychechat.pipeline.turn_reader import TurnReader
from psychechat.prompts.inert import inert_conversation
from psychechat.safety.reply_moderation import moderate

logger = logging.getLogger(__name__)


async def run_turn(
    pipeline: Pipeline, request: TurnRequest, emit: Emit, admitted: Callable[[], None] = lambda: None
) -> Outcome:
    """Answer one turn. `emit` gets LLM Mode's reply piece by piece, and a crisis's fixed words as soon as it is known;
    other replies come whole, as one delta per choice.

    `admitted` is called once the turn has all its permits and its prompts fit: it then waits for its engines alone.
    Cancelling the task that runs this cancels everything in flight, down to the engines.

    Raises ContextLengthExceeded, DeadlineExceeded, EngineUnavailable or Overloaded. A crisis turn raises none of them:
    whatever fails, its fixed words answer it.
    """
    state = TurnState(request, pipeline.policy, pipeline.default_language)
    meter = TurnMeter(pipeline.tracer, pipeline.monotonic)
    out = FirstWords(emit, lambda: accounting.first_words(pipeline, state, meter))
    turn = _Turn(pipeline, state, meter, out.emit, admitted)
    reply: Reply | None = None
    status: accounting.TurnStatus | None = None
    try:
        try:
            reply = await turn.moderated()
        except Exception as error:
            status = "refused" if isinstance(error, Overloaded) else "error"
            raise
        await remember(pipeline, state, reply, meter)
        status = "safe_template" if reply.fallback else "reply"
    finally:
        accounting.escalate(pipeline, state, reply)
        accounting.account(pipeline, state, meter, reply, status)
    return Outcome(reply, meter.usage, {**meter.seconds, "total": meter.elapsed}, turn.moderation)


class _Turn:
    """Phases of one turn. Each writes its result into `state`; those after routing are passed the decision."""

    def __init__(
        self,
        pipeline: Pipeline,
        state: TurnState,
        meter: TurnMeter,
        emit: Emit,
        admitted: Callable[[], None],
    ) -> None:
        self._pipeline, self._state, self._meter, self._admitted = pipeline, state, meter, admitted
        self._request, self._limits = state.request, state.policy.limits
        self._seconds = min(self._request.seconds, self._limits.turn_seconds)
        self._deadline = pipeline.monotonic() + self._seconds
        self._emit, self._held = emit, HeldBack(emit)
        self._written = Written(self._held.emit if self._request.moderation == "block" else emit)
        # The conversation's language is settled with the state: no stage of the turn is asked of other weights.
        self._pack, self._cast = pipeline.packs[state.reading.language], pipeline.casts[state.reading.language]
        self._lane = pipeline.admission.generation[self._cast.lane]
        self._permits = Permits(pipeline, state, meter, self._lane)
        self._reader = TurnReader(pipeline, state, meter, self._call, self._open)
        self.moderation: tuple[ReplyModeration, ...] | None = None

    async def moderated(self) -> Reply:
        """Reply, moderated if the client asked for it.

        With `block` it is held back until then, but for the fixed words of a crisis, and fixed words replace it if it
        is flagged or could not be moderated. A timeout of its own keeps moderation from discarding a reply that is
        there.
        """
        reply, mode = await self._settled(), self._request.moderation
        if mode is None:
            return reply
        if reply.fallback:
            self._held.release()
        with self._meter.timed("moderation"):
            self.moderation = await moderate(
                self._pipeline.classifier,
                self._pipeline.admission.classification,
                [choice.own or choice.text for choice in reply.choices],
                self._state.policy,
                self._call(),
                min(self._state.checking_seconds, self._deadline - self._pipeline.monotonic() - _TO_SPARE),
            )
        passed = self.moderation is not None and not any(
            told.flagged and not choice.fallback for told, choice in zip(self.moderation, reply.choices, strict=True)
        )
        if mode == "block" and not passed and not reply.fallback:
            self._held.discard()
            reply = fixed_reply(self._state, self._pipeline.metrics, "moderation", filtered=True)
            Written(self._emit, dict.fromkeys(range(self._request.choices), self._has_opened_with)).complete(reply)
        self._held.release()
        return reply

    async def _settled(self) -> Reply:
        """Reply within the turn's time limit. What a model wrote, or failed to write, is no error of the turn's."""
        state, metrics, written = self._state, self._pipeline.metrics, self._written
        try:
            reply = await _in_time(self._answer(), self._seconds)
        except Exception as error:
            self._reader.read_by_phrases()
            cause = accounting.fallback_cause(error)
            if cause == "overloaded" and self._permits.is_beyond_crises:
                cause = "quota"
            texts = [written.texts[i] for i in range(self._request.choices)]
            has_left = any(texts) and self._request.streamed and self._request.moderation != "block"
            if state.never_error or (isinstance(error, StageFailed) and not has_left):
                self._held.discard()
                written.texts.update(dict.fromkeys(written.texts, self._has_opened_with))
                reply = fixed_reply(state, metrics, cause)
            elif has_left and isinstance(error, StageFailed | DeadlineExceeded):
                reply = cut_reply(state, metrics, cause, texts)
            else:
                raise
            log_kind(logger, self._request.request_id, error, "fixed words answer, or end the reply")
        written.complete(reply)
        return reply

    def _open(self, reading: Reading) -> None:
        """Let the fixed words of the crisis in this reading leave, once; moderation does not hold them back."""
        if self._state.opened is not None:
            return
        opening = self._state.crisis_words(reading)
        for index in range(self._request.choices):
            delta = ReplyDelta(index, opening.text)
            self._emit(delta)
            self._written.note(delta)
        self._state.opened = opening

    @property
    def _has_opened_with(self) -> str:
        return self._state.opened.text if self._state.opened else ""

    async def _answer(self) -> Reply:
        pipeline, state = self._pipeline, self._state
        if state.opens_at_once:
            self._open(state.reading)
            if not state.is_for_no_model:
                self._permits.count_crisis()
        state.recalled(*await recall(pipeline, self._request, self._meter))
        reader = line_reader(pipeline, state)
        with await self._permits.classification(reader.passages) as permit:
            await self._reader.read(permit, reader)
        decision = state.decision = self._route()
        if state.is_for_no_model:
            return fixed_reply(state, pipeline.metrics, "fixed")
        if decision.crisis and not self._permits.count_crisis():
            return fixed_reply(state, pipeline.metrics, "quota")
        with self._permits.quota(decision), await self._permits.generation(decision):
            if not decision.crisis:
                pipeline.quotas.count(self._request.tenant)
            context = self._stage_context(decision)
            inputs = StageInputs(
                await inert_conversation(self._request.conversation),
                state.reading,
                earlier=earlier_turns(pipeline, self._request, state.reading.memory),
            )
            try:
                inputs = await inputs_that_fit(decision.mode, context, inputs, self._state.checking_seconds)
            except ContextLengthExceeded as error:
                if not decision.crisis:  # it costs its key what the context holds
                    pipeline.quotas.charge(self._request.tenant, error.limit)
                raise
            self._admitted()
            return await reply_in_mode(state, decision, context, inputs, self._written, self._seconds)

    def _route(self) -> Decision:
        reading = self._state.reading
        return router.choose(
            self._request.requested,
            severity=reading.severity,
            alarm=reading.alarm,
            shift=reading.shift,
            held=self._state.held,
            rising=self._state.policy.risk.conversation == "on" and reading.conversation.is_rising,
            busy=self._lane.busy,
            routing=self._state.policy.routing,
        )

    def _stage_context(self, decision: Decision) -> StageContext:
        call = replace(self._call(), priority=_URGENT if decision.crisis else _NORMAL)
        judge = Judge(
            self._pipeline.classifier,
            self._state.policy,
            call,
            self._pipeline.metrics,
            self._meter,
            seeker=self._request.conversation.newest,
            is_strict=self._state.is_sober,
        )
        return StageContext(
            cast=self._cast,
            pack=self._pack,
            limits=self._limits,
            call=call,
            metrics=self._pipeline.metrics,
            meter=self._meter,
            judge=judge,
            try_acquire=self._lane.try_acquire,
        )

    def _call(self) -> Call:
        request, session = self._request, self._state.session
        return Call(
            request_id=request.request_id,
            session_id=f"{request.tenant}:{session}",
            tenant_salt=request.tenant,
            priority=_URGENT if self._state.reading.in_crisis and not self._permits.is_beyond_crises else _NORMAL,
            deadline=self._deadline,
            trace=tracing.headers(),
        )


_NORMAL, _URGENT = 0, -1
"""vLLM serves lower priorities first."""

_TO_SPARE = 0.1
"""Seconds before the turn's deadline that moderation leaves for sending the reply."""


async def _in_time(answering: Coroutine[Any, Any, Reply], seconds: float) -> Reply:
    try:
        async with in_time(seconds):
            return await answering
    except TimeoutError:
        raise DeadlineExceeded("The turn's time is up.") from None
