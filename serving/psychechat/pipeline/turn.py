"""One turn, from the seeker's newest message to the reply. Read `run_turn` first.

recall → a permit → classify → route → a permit → Agent Mode or LLM Mode → remember
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from psychechat import tracing
from psychechat.admission.lanes import Permit, Rank, tokens
from psychechat.concurrency import together
from psychechat.conversation import Assessment, Cause, Choice, Mode, Reply
from psychechat.engines.base import Call, StageName
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded
from psychechat.logs import log_kind
from psychechat.pipeline import agent_mode, llm_mode, router
from psychechat.pipeline.llm_mode import Outlet, Piece
from psychechat.pipeline.request import Outcome, TurnRequest
from psychechat.pipeline.router import Decision
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.stages import Desk, Tally
from psychechat.pipeline.state import Findings
from psychechat.pipeline.turn_memory import recall, remember
from psychechat.prompts.pack import Brief, Pack
from psychechat.safety import output_guard
from psychechat.safety.escalation import answered
from psychechat.safety.reply_moderation import Judged, judge
from psychechat.telemetry import Metrics

logger = logging.getLogger(__name__)


async def run_turn(
    pipeline: Pipeline,
    request: TurnRequest,
    say: Callable[[Piece], None],
    admitted: Callable[[], None] = lambda: None,
) -> Outcome:
    """Answer one turn. `say` gets LLM Mode's reply piece by piece; other replies come whole, as one piece a choice.

    `admitted` is called once the turn waits for nothing but its engines: from then on it is not refused for load.
    Cancelling the task that runs this cancels everything in flight, down to the engines.

    Raises ContextLengthExceeded, DeadlineExceeded, EngineUnavailable, Overloaded or StageFailed. A crisis turn raises
    none of them: whatever fails, it is answered with the safe template.
    """
    tally, metrics = Tally(pipeline.tracer), pipeline.metrics
    found = Findings(request, pipeline.policy, pipeline.default_language)
    seconds = min(request.seconds, found.policy.limits.turn_seconds)
    turn = _Turn(pipeline, found, tally, admitted, deadline=time.time() + seconds)
    first_words = True
    reply: Reply | None = None
    outcome: str | None = None

    def speak(piece: Piece) -> None:
        nonlocal first_words
        if piece.content and first_words:
            first_words = False
            metrics.first_token_seconds.labels(found.mode).observe(tally.elapsed)
        if piece.content or piece.reasoning:
            say(piece)

    try:
        try:
            reply = await turn.moderated(speak, seconds)
        except Exception as error:
            if not (found.must_answer and first_words):
                outcome = "refused" if isinstance(error, Overloaded) else "error"
                raise
            log_kind(logger, request.request_id, error, "the safe template answers")
            reply = turn.safe_reply(cause=type(error).__name__)
            for index, choice in enumerate(reply.choices):
                speak(Piece(index, choice.text))
        await remember(pipeline, found, reply, tally)
        outcome = "safe_template" if reply.fallback else "reply"
    finally:
        turn.escalate(reply)
        turn.account(reply, outcome)
    return Outcome(reply, tally.usage, {**tally.seconds, "total": tally.elapsed}, turn.judged)


class _Turn:
    """The steps of one turn. What they find goes into `found`."""

    def __init__(
        self, pipeline: Pipeline, found: Findings, tally: Tally, admitted: Callable[[], None], *, deadline: float
    ) -> None:
        self._pipeline, self._found, self._tally = pipeline, found, tally
        self._admitted, self._deadline = admitted, deadline
        self.judged: tuple[Judged, ...] | None = None

    async def answer(self, speak: Callable[[Piece], None]) -> Reply:
        found = self._found
        await recall(self._pipeline, found, self._tally)
        pack = self._pipeline.packs[found.language]
        brief = Brief(found.request.conversation, found.memory)
        with await self._enter() as permit:
            found.assessment, obstacle = await together(self._classify(permit), self._fit(pack, brief))
        found.decision = self._route()
        if obstacle is not None:
            raise obstacle
        with self._quota(), await self._place():
            self._begin()
            return await self._reply_in_mode(pack, brief, speak)

    async def _enter(self) -> Permit:
        """To be classified. An alarming message waits for nobody; a key beyond its quota waits for all others."""
        found = self._found
        beyond = self._pipeline.quotas.exceeded(found.request.tenant)
        rank = Rank.CRISIS if found.alarm else Rank.BULK if beyond else Rank.ORDINARY
        with self._tally.timed("queue"):
            permit = await self._pipeline.admission.classification.acquire(
                rank, tokens(found.request.conversation.newest)
            )
        found.let_in = True
        return permit

    def _quota(self) -> Permit:
        """A crisis is answered beyond its key's quota."""
        found = self._found
        assert found.decision is not None
        return Permit() if found.decision.crisis else self._pipeline.quotas.enter(found.request.tenant)

    async def _place(self) -> Permit:
        """With the engines. A turn of unknown risk does not wait for one."""
        found = self._found
        assert found.decision is not None
        if found.decision.crisis:
            rank = Rank.CRISIS
        else:
            raised = found.severity is not None and found.severity >= found.policy.routing.raised
            rank = Rank.RAISED if raised else Rank.ORDINARY
        with self._tally.timed("queue"):
            return await self._pipeline.admission.generation.acquire(
                rank, found.request.choices, seconds=0.0 if found.severity is None and not found.alarm else None
            )

    def _begin(self) -> None:
        """Nothing but the engines to wait for: it counts for its key's minute now, and the client may be told."""
        found = self._found
        assert found.decision is not None
        if not found.decision.crisis:
            self._pipeline.quotas.count(found.request.tenant)
        self._admitted()

    async def _reply_in_mode(self, pack: Pack, brief: Brief, speak: Callable[[Piece], None]) -> Reply:
        found = self._found
        assert found.decision is not None
        desk = Desk(
            counselor=self._pipeline.counselor,
            seeker=self._pipeline.seeker,
            pack=pack,
            limits=found.policy.limits,
            call=replace(self._call(), priority=_URGENT if found.decision.crisis else _NORMAL),
            metrics=self._pipeline.metrics,
            tally=self._tally,
            spare=self._pipeline.admission.generation.spare,
        )
        brief = replace(brief, severity=found.severity, found=found.labels)
        if found.decision.mode == "agent":
            return await self._answer_as_agent(desk, brief, speak)
        return await self._answer_as_llm(desk, brief, speak)

    async def moderated(self, speak: Callable[[Piece], None], seconds: float) -> Reply:
        """The answer within so many seconds, judged if the client asked for it.

        With `block` none leaves that is flagged or was not judged. A crisis keeps its reply: what it says of the
        danger, it says with good reason. Judging has an end of its own, so that nothing takes back a reply that is
        there.
        """
        found = self._found
        mode = found.request.moderation
        held: list[Piece] = []
        reply = await _in_time(self.answer(held.append if mode == "block" else speak), seconds)
        if mode is None:
            return reply
        withheld = mode == "block" and not reply.fallback and found.reason != "crisis"
        if not withheld:
            while held:
                speak(held.pop(0))
        with self._tally.timed("moderation"):
            self.judged = await judge(
                self._pipeline.classifier,
                self._pipeline.admission.classification,
                [choice.text for choice in reply.choices],
                found.policy,
                self._call(),
                self._reading_seconds,
            )
        passed = self.judged is not None and not any(
            judged.flagged and not choice.fallback for judged, choice in zip(self.judged, reply.choices, strict=True)
        )
        if withheld and not passed:
            reply = self.safe_reply(cause="moderation")
            held = [Piece(index, choice.text) for index, choice in enumerate(reply.choices)]
        for piece in held:
            speak(piece)
        return reply

    def _call(self) -> Call:
        found = self._found
        return Call(
            request_id=found.request.request_id,
            session_id=f"{found.request.tenant}:{found.session}",
            tenant_salt=found.request.tenant,
            priority=_URGENT if found.alarm else _NORMAL,
            deadline=self._deadline,
            trace=tracing.headers(),
        )

    async def _classify(self, permit: Permit) -> Assessment | None:
        """None if the risk cannot be told, for whatever reason: the turn then goes on as one of unknown risk."""
        found = self._found
        with permit, self._tally.timed("classify"):
            try:
                async with asyncio.timeout(self._reading_seconds):
                    newest = found.request.conversation.newest
                    [assessment] = await self._pipeline.classifier.classify([newest], self._call())
                if not assessment.is_finite:
                    raise EngineUnavailable("The classifier's answer cannot be used.")
            except Exception as error:
                log_kind(logger, found.request.request_id, error, "risk unknown")
                self._pipeline.metrics.classifier_failures.labels(_why(error)).inc()
                return None
        # Kept at once: if the turn ends before the router has spoken, a crisis is known all the same.
        found.assessment = assessment
        return assessment

    @property
    def _reading_seconds(self) -> float:
        limits = self._found.policy.limits
        return min(_ALARMED_SECONDS, limits.classify_seconds) if self._found.alarm else limits.classify_seconds

    async def _fit(self, pack: Pack, brief: Brief) -> Exception | None:
        """What keeps the turn's stages from running at all. Returned, so that the router speaks first."""
        try:
            prompt, reserve = pack.longest(brief), pack.reserve(self._found.policy.limits.rounds)
            async with asyncio.timeout(self._reading_seconds):
                await self._pipeline.counselor.check_fits(prompt, reserve)
        except TimeoutError:
            return EngineUnavailable("The counselor is not available.")
        except Exception as obstacle:
            return obstacle
        return None

    def _route(self) -> Decision:
        found = self._found
        return router.choose(
            found.request.requested,
            severity=found.severity,
            backstop=found.alarm,
            shift=found.shift,
            busy=self._pipeline.admission.generation.busy,
            routing=found.policy.routing,
        )

    async def _answer_as_agent(self, desk: Desk, brief: Brief, speak: Callable[[Piece], None]) -> Reply:
        found = self._found
        # A bound would cut the JSON, so the pack's holds: docs/api.md says so.
        asked = {
            name: value for name, value in found.request.sampling.items() if name not in ("max_tokens", "logprobs")
        }
        found.agent = await agent_mode.answer(desk, brief, {} if found.must_answer else asked)
        if not found.agent.passed:
            reply = self.safe_reply(cause="review")
        elif stopped := output_guard.check(found.agent.response, found.policy.guard):
            desk.metrics.guard_findings.labels(stopped, "blocked").inc()
            reply = self.safe_reply(cause="guard", stopped=stopped)
        else:
            reply = found.reply((Choice(found.with_resources(found.agent.response), "stop"),))
        speak(Piece(content=reply.choices[0].text))
        return reply

    async def _answer_as_llm(self, desk: Desk, brief: Brief, speak: Callable[[Piece], None]) -> Reply:
        found = self._found
        most = desk.pack.sampling(StageName.REPLY)
        if not found.must_answer:
            asked = found.request
            # A model that cannot leave the thinking out keeps it to itself.
            shown = found.policy.show_reasoning and asked.think
            outlet = Outlet(speak, found.policy.guard, shown, found.ending)
            sampling = replace(most, **asked.sampling)
            sampling = replace(sampling, max_tokens=min(sampling.max_tokens, most.max_tokens))
            choices = await llm_mode.answer(desk, brief, sampling, asked.choices, outlet, think=asked.think)
            if any(choice.fallback for choice in choices):
                self._pipeline.metrics.safe_templates.labels("guard").inc()
            return found.reply(choices)

        # Nothing leaves before it is whole: if the generation breaks, the safe template must not follow half a reply.
        # What a client set for ordinary turns (a bound, a stop, a temperature) shapes no reply in a crisis.
        outlet = Outlet(None, output_guard.for_whole(found.policy.guard), False, found.ending)
        choices = await llm_mode.answer(desk, brief, most, found.request.choices, outlet)
        if stopped := next((choice.found for choice in choices if choice.found), None):
            reply = self.safe_reply(cause="guard", stopped=stopped)
        elif any(choice.finish_reason != "stop" for choice in choices):
            reply = self.safe_reply(cause="truncated")
        else:
            reply = found.reply(tuple(replace(c, text=found.with_resources(c.text)) for c in choices))
        for index, choice in enumerate(reply.choices):
            speak(Piece(index, choice.text))
        return reply

    def safe_reply(self, *, cause: str, stopped: Cause | None = None) -> Reply:
        self._pipeline.metrics.safe_templates.labels(cause).inc()
        return self._found.safe_reply(stopped)

    def escalate(self, reply: Reply | None) -> None:
        """Tell those who must know of a crisis turn, also where it has no reply."""
        escalations = self._pipeline.escalations
        try:
            turn = self._found.crisis_turn(reply)
            if turn is not None and escalations is not None:
                escalations.escalate(turn)
        except Exception as error:
            log_kind(logger, self._found.request.request_id, error, "nobody told of a crisis")

    def account(self, reply: Reply | None, outcome: str | None) -> None:
        """Charge the turn's key, count the turn and describe it; `outcome` None: its client left.

        What goes wrong here takes back no reply.
        """
        pipeline, found, usage = self._pipeline, self._found, self._tally.usage
        try:
            pipeline.quotas.charge(found.request.tenant, usage.prompt_tokens + usage.completion_tokens)
            _count_turn(pipeline.metrics, found, outcome)
            if found.decision or reply:  # read, or answered though nobody could read it
                _count_found(pipeline.metrics, found)
            _count_seconds(pipeline.metrics, found.mode, self._tally)
            tracing.describe(mode=found.mode, reason=found.reason, answered=answered(reply))
        except Exception as error:
            log_kind(logger, found.request.request_id, error, "the turn is not all accounted for")


_NORMAL, _URGENT = 0, -1
"""vLLM serves lower priorities first."""

_ALARMED_SECONDS = 2.0
"""What an alarmed turn gives those who read its message: it is a crisis whatever they say."""


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError | DeadlineExceeded):
        return "late"
    return "unavailable" if isinstance(error, EngineUnavailable) else "error"


async def _in_time(answering: Coroutine[Any, Any, Reply], seconds: float) -> Reply:
    try:
        async with asyncio.timeout(seconds):
            return await answering
    except TimeoutError:
        raise DeadlineExceeded("The turn's time is up.") from None


def _count_turn(metrics: Metrics, found: Findings, outcome: str | None) -> None:
    if outcome is not None:
        metrics.turns.labels(found.mode, found.reason, outcome).inc()
    if found.in_crisis:
        metrics.crises.labels(found.source).inc()
        if outcome in ("refused", "error"):
            metrics.crises_refused.inc()


def _count_found(metrics: Metrics, found: Findings) -> None:
    metrics.risk_turns.labels("unknown" if found.severity is None else found.severity.label).inc()
    for emotion in found.emotions:
        metrics.emotions.labels(emotion.label.name()).inc()


def _count_seconds(metrics: Metrics, mode: Mode, tally: Tally) -> None:
    metrics.turn_seconds.labels(mode).observe(tally.elapsed)
    for stage, seconds in tally.seconds.items():
        metrics.stage_seconds.labels(stage).observe(seconds)
