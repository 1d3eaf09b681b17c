"""One turn, from the seeker's newest message to the reply. Read `run_turn` first.

recall → a permit → classify → route → a permit → Agent Mode or LLM Mode → remember
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from psychechat import language
from psychechat.config import Policy
from psychechat.conversation import Assessment, Cause, Choice, Conversation, EmotionMemory, Mode, Reply
from psychechat.emotion import Emotion, Language, valence
from psychechat.engines.base import Call, Classifier, Generator, StageName, Usage
from psychechat.errors import DeadlineExceeded, Overloaded
from psychechat.memory.base import Keys, Memory, Unreadable
from psychechat.pipeline import agent_mode, crisis, guard, llm_mode, router
from psychechat.pipeline.admission import Admission, Permit, Rank, tokens
from psychechat.pipeline.concurrency import together
from psychechat.pipeline.escalation import CrisisTurn, Escalations, Source
from psychechat.pipeline.judging import Judged, Judging, judge
from psychechat.pipeline.llm_mode import Outlet, Piece
from psychechat.pipeline.packs import Brief, Pack
from psychechat.pipeline.quotas import Quotas
from psychechat.pipeline.router import Decision, Requested
from psychechat.pipeline.stages import Desk, Tally
from psychechat.risk import CRISIS, Severity
from psychechat.telemetry import Metrics
from psychechat.versions import short_hash

logger = logging.getLogger(__name__)


@dataclass
class Pipeline:
    """What turns are made with. Only `policy` is ever replaced, whole, between turns."""

    classifier: Classifier
    counselor: Generator
    seeker: Generator
    packs: Mapping[Language, Pack]
    memory: Memory
    metrics: Metrics
    policy: Policy
    default_language: Language = "en"
    keys: Keys = field(default_factory=lambda: Keys(secrets.token_bytes(32)))
    escalations: Escalations | None = None
    generations: int = 64
    """Sequences that the engines may run at once for this pipeline."""
    weights: str = "none"
    """The version of the engines' weights."""
    admission: Admission = field(init=False)
    quotas: Quotas = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.generations, lambda: self.policy, self.metrics)
        self.quotas = Quotas(lambda: self.policy, self.metrics)

    @property
    def fingerprint(self) -> str:
        """What replies are made with: weights, packs and policy. A part that changes changes its third of this."""
        packs = short_hash(*(pack.version for _, pack in sorted(self.packs.items())))
        return f"fp_{self.weights}_{packs}_{self.policy.version}"

    @property
    def least_tokens(self) -> int:
        """The fewest in which any pack's reply may come."""
        return max(pack.least_tokens for pack in self.packs.values())


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a client asked for, validated. The sampling is for the reply that a seeker reads."""

    conversation: Conversation
    requested: Requested
    request_id: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Sampling` that the client set."""
    choices: int = 1
    think: bool = True
    """False: LLM Mode replies without thinking first. True: as the pack says."""
    tenant: str = ""
    session: str | None = None
    """A session that the client named."""
    end_user: str | None = None
    """Who is speaking, in the client's words."""
    locale: str | None = None
    seconds: float = inf
    """How long the client waits; the policy's limit holds as well."""
    moderation: Judging | None = None
    """Whether the reply is judged, and stays here if it is flagged."""


@dataclass(frozen=True, slots=True)
class Outcome:
    reply: Reply
    usage: Usage
    seconds: Mapping[str, float]
    judged: tuple[Judged, ...] | None = None
    """The replies that were judged, also where the safe template took their place; None if there were none."""


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
    policy, metrics = pipeline.policy, pipeline.metrics
    tally = Tally()
    seconds = min(request.seconds, policy.limits.turn_seconds)
    alarm = crisis.alarm(request.conversation.newest, policy.crisis.backstop)
    turn = _Turn(pipeline, policy, request, tally, admitted, deadline=time.time() + seconds, alarm=alarm)
    first_words = True
    reply: Reply | None = None

    def speak(piece: Piece) -> None:
        nonlocal first_words
        if piece.content and first_words:
            first_words = False
            metrics.first_token_seconds.labels(turn.mode).observe(tally.elapsed)
        if piece.content or piece.reasoning:
            say(piece)

    try:
        try:
            reply = await _in_time(turn.moderated(speak), seconds)
        except Exception as error:
            if not (turn.must_answer and first_words):
                outcome = "refused" if isinstance(error, Overloaded) else "error"
                metrics.turns.labels(turn.mode, turn.reason, outcome).inc()
                raise
            _log_kind(request, error, "the safe template answers")
            reply = turn.safe_reply(cause=type(error).__name__)
            for index, choice in enumerate(reply.choices):
                speak(Piece(index, choice.text))
        await turn.remember(reply)
        metrics.turns.labels(reply.mode, reply.reason, "safe_template" if reply.fallback else "reply").inc()
    finally:
        turn.escalate(reply)
        _count(metrics, turn.mode, tally)
        pipeline.quotas.charge(request.tenant, tally.usage.prompt_tokens + tally.usage.completion_tokens)
    return Outcome(reply, tally.usage, dict(tally.seconds), turn.judged)


class _Turn:
    """The state of one turn: what has been found so far, from which it can be answered at any moment."""

    def __init__(
        self,
        pipeline: Pipeline,
        policy: Policy,
        request: TurnRequest,
        tally: Tally,
        admitted: Callable[[], None],
        *,
        deadline: float,
        alarm: bool,
    ) -> None:
        self._pipeline, self._policy, self._request, self._tally = pipeline, policy, request, tally
        self._admitted, self._deadline, self._alarm = admitted, deadline, alarm
        self._let_in = False
        self._language = language.choose(request.conversation, pipeline.default_language)
        self._memory: EmotionMemory | None = None
        self._session = request.session
        self._assessment: Assessment | None = None
        self._decision: Decision | None = None
        self._agent: agent_mode.AgentOutcome | None = None
        self.judged: tuple[Judged, ...] | None = None

    @property
    def must_answer(self) -> bool:
        """A crisis is answered whatever fails; so is a turn that was let in and whose risk nobody could tell so far.

        One that is refused at the door is unread, and no phrase in it gave cause for alarm.
        """
        if self._alarm or not self._let_in:
            return self._alarm
        return self._decision is None or self._decision.crisis or self._severity is None

    @property
    def mode(self) -> Mode:
        return self._decision.mode if self._decision else "agent"

    @property
    def reason(self) -> str:
        return self._decision.reason if self._decision else "crisis" if self._in_crisis else "undecided"

    async def answer(self, speak: Callable[[Piece], None]) -> Reply:
        await self._recall()
        call = self._call()
        pack = self._pipeline.packs[self._language]
        brief = Brief(self._request.conversation, self._memory)
        with await self._enter():
            self._assessment, obstacle = await together(self._classify(call), self._fit(pack, brief))
        self._decision = self._route()
        if obstacle is not None:
            raise obstacle
        with self._quota(), await self._place():
            self._admitted()
            return await self._reply_in_mode(call, pack, brief, speak)

    async def _enter(self) -> Permit:
        """To be classified. An alarming message waits for nobody."""
        rank = Rank.CRISIS if self._alarm else Rank.ORDINARY
        with self._tally.timed("queue"):
            permit = await self._pipeline.admission.classification.acquire(
                rank, tokens(self._request.conversation.newest)
            )
        self._let_in = True
        return permit

    def _quota(self) -> Permit:
        """A crisis is answered beyond its key's quota."""
        assert self._decision is not None
        return nullcontext() if self._decision.crisis else self._pipeline.quotas.enter(self._request.tenant)

    async def _place(self) -> Permit:
        """With the engines. A turn of unknown risk does not wait for one."""
        assert self._decision is not None
        if self._decision.crisis:
            rank = Rank.CRISIS
        else:
            raised = self._severity is not None and self._severity >= self._policy.routing.raised
            rank = Rank.RAISED if raised else Rank.ORDINARY
        with self._tally.timed("queue"):
            return await self._pipeline.admission.generation.acquire(
                rank, self._request.choices, seconds=0.0 if self._severity is None and not self._alarm else None
            )

    async def _reply_in_mode(self, call: Call, pack: Pack, brief: Brief, speak: Callable[[Piece], None]) -> Reply:
        assert self._decision is not None
        desk = Desk(
            counselor=self._pipeline.counselor,
            seeker=self._pipeline.seeker,
            pack=pack,
            limits=self._policy.limits,
            call=replace(call, priority=_URGENT if self._decision.crisis else _NORMAL),
            metrics=self._pipeline.metrics,
            tally=self._tally,
        )
        brief = replace(brief, severity=self._severity)
        if self._decision.mode == "agent":
            return await self._answer_as_agent(desk, brief, speak)
        return await self._answer_as_llm(desk, brief, speak)

    async def moderated(self, speak: Callable[[Piece], None]) -> Reply:
        """The answer, judged if the client asked for it. With `block` none leaves that is flagged or was not judged.

        A crisis keeps its reply: what it says of the danger, it says with good reason.
        """
        mode = self._request.moderation
        if mode is None:
            return await self.answer(speak)
        held: list[Piece] = []
        reply = await self.answer(held.append if mode == "block" else speak)
        with self._tally.timed("moderation"):
            texts = [choice.text for choice in reply.choices]
            self.judged = await judge(self._pipeline.classifier, texts, self._policy, self._call())
        passed = self.judged is not None and not any(judged.flagged for judged in self.judged)
        if mode == "block" and not passed and not reply.fallback and self.reason != "crisis":
            reply = self.safe_reply(cause="moderation")
            held = [Piece(index, choice.text) for index, choice in enumerate(reply.choices)]
        for piece in held:
            speak(piece)
        return reply

    def _call(self) -> Call:
        return Call(
            request_id=self._request.request_id,
            session_id=f"{self._request.tenant}:{self._session}",
            tenant_salt=self._request.tenant,
            priority=_URGENT if self._alarm else _NORMAL,
            deadline=self._deadline,
        )

    async def _recall(self) -> None:
        keys, request = self._pipeline.keys, self._request
        key = keys.before(request.tenant, request.conversation)
        if key is not None:  # else this is a conversation's first turn, whatever its session is called
            if request.session is not None:
                key = keys.of_session(request.tenant, request.session)
            with self._tally.timed("memory"):
                self._memory = await self._remembered(key)
        self._session = request.session or (self._memory.session_id if self._memory else secrets.token_hex(12))

    async def _remembered(self, key: bytes) -> EmotionMemory | None:
        """Whatever goes wrong with memory is a turn without it."""
        recalls = self._pipeline.metrics.recalls
        try:
            async with asyncio.timeout(_MEMORY_SECONDS):
                memory = await self._pipeline.memory.recall(key)
        except Exception as error:
            _log_kind(self._request, error, "nothing recalled")
            recalls.labels("unreadable" if isinstance(error, Unreadable) else "error").inc()
            return None
        recalls.labels("hit" if memory else "miss").inc()
        return memory

    async def _classify(self, call: Call) -> Assessment | None:
        """None if the risk cannot be told, for whatever reason: the turn then goes on as one of unknown risk."""
        with self._tally.timed("classify"):
            try:
                async with asyncio.timeout(_ALARMED_SECONDS if self._alarm else self._policy.limits.classify_seconds):
                    [assessment] = await self._pipeline.classifier.classify([self._request.conversation.newest], call)
            except Exception as error:
                _log_kind(self._request, error, "risk unknown")
                return None
        # Kept at once: if the turn ends before the router has spoken, a crisis is known all the same.
        self._assessment = assessment if assessment.is_finite else None
        return self._assessment

    async def _fit(self, pack: Pack, brief: Brief) -> Exception | None:
        """What keeps the turn's stages from running at all. Returned, so that the router speaks first."""
        try:
            prompt = pack.longest(brief)
            await self._pipeline.counselor.check_fits(prompt, pack.reserve(self._policy.limits.rounds))
        except Exception as obstacle:
            return obstacle
        return None

    def _route(self) -> Decision:
        decision = router.choose(
            self._request.requested,
            severity=self._severity,
            backstop=self._alarm,
            shift=self._shift,
            busy=self._pipeline.admission.generation.busy,
            routing=self._policy.routing,
        )
        if self._severity is None:
            self._pipeline.metrics.unknown_risk.inc()
        return decision

    async def _answer_as_agent(self, desk: Desk, brief: Brief, speak: Callable[[Piece], None]) -> Reply:
        # A bound would cut the JSON, so the pack's holds: docs/api.md says so.
        asked = {
            name: value for name, value in self._request.sampling.items() if name not in ("max_tokens", "logprobs")
        }
        self._agent = await agent_mode.answer(desk, brief, {} if self.must_answer else asked)
        if not self._agent.passed:
            reply = self.safe_reply(cause="review")
        elif found := guard.check(self._agent.response, self._policy.guard):
            desk.metrics.guard_findings.labels(found, "blocked").inc()
            reply = self.safe_reply(cause="guard", found=found)
        else:
            reply = self._reply((Choice(self._with_resources(self._agent.response), "stop"),))
        speak(Piece(content=reply.choices[0].text))
        return reply

    async def _answer_as_llm(self, desk: Desk, brief: Brief, speak: Callable[[Piece], None]) -> Reply:
        most = desk.pack.sampling(StageName.REPLY)
        if not self.must_answer:
            outlet = Outlet(speak, self._policy.guard, self._policy.show_reasoning, self._ending)
            sampling = replace(most, **self._request.sampling)
            sampling = replace(sampling, max_tokens=min(sampling.max_tokens, most.max_tokens))
            asked = self._request
            choices = await llm_mode.answer(desk, brief, sampling, asked.choices, outlet, think=asked.think)
            fallback = any(choice.text == self._safe_template for choice in choices)
            if fallback:
                self._pipeline.metrics.safe_templates.labels("guard").inc()
            return self._reply(choices, fallback=fallback)

        # Nothing leaves before it is whole: if the generation breaks, the safe template must not follow half a reply.
        # What a client set for ordinary turns (a bound, a stop, a temperature) shapes no reply in a crisis.
        outlet = Outlet(lambda _: None, guard.for_whole(self._policy.guard), False, self._ending)
        choices = await llm_mode.answer(desk, brief, most, self._request.choices, outlet)
        if found := next((choice.found for choice in choices if choice.found), None):
            reply = self.safe_reply(cause="guard", found=found)
        elif any(choice.finish_reason != "stop" for choice in choices):
            reply = self.safe_reply(cause="truncated")
        else:
            reply = self._reply(tuple(replace(c, text=self._with_resources(c.text)) for c in choices))
        for index, choice in enumerate(reply.choices):
            speak(Piece(index, choice.text))
        return reply

    def _ending(self, said: str) -> str:
        return f"\n\n{self._policy.guard.ending[self._language]}" if said else self._safe_template

    @property
    def _safe_template(self) -> str:
        return crisis.safe_template(self._policy.crisis, self._language, self._request.locale)

    def safe_reply(self, *, cause: str, found: Cause | None = None) -> Reply:
        self._pipeline.metrics.safe_templates.labels(cause).inc()
        choice = Choice(self._safe_template, "content_filter", found=found)
        return self._reply((choice,) * self._request.choices, fallback=True)

    def escalate(self, reply: Reply | None) -> None:
        """Count a crisis turn and tell those who must know of it, also where the turn has no reply."""
        if not self._in_crisis or self._severity is None:
            return
        source: Source = "backstop" if self._alarm else "classifier"
        self._pipeline.metrics.crises.labels(source).inc()
        if self._pipeline.escalations is None:
            return
        request = self._request
        turn = CrisisTurn(
            conversation=request.conversation,
            request_id=request.request_id,
            tenant=request.tenant,
            session_id=self._session,
            named_session=request.session,
            end_user=request.end_user,
            source=source,
            severity=self._severity,
            mode=self.mode,
            answered="unanswered" if reply is None else "safe_template" if reply.fallback else "reply",
            language=self._language,
            locale=crisis.place(self._policy.crisis, self._language, request.locale),
        )
        try:
            self._pipeline.escalations.escalate(turn)
        except Exception as error:
            _log_kind(request, error, "nobody told of a crisis")

    async def remember(self, reply: Reply) -> None:
        """Under the key of every text that the conversation may go on from. Unknown emotions keep the last known."""
        if self._session is None:
            return
        labels = tuple(emotion.label for emotion in reply.emotions)
        last_known = self._memory.labels if self._memory else None
        known = labels if self._assessment else last_known
        memory = EmotionMemory(self._session, self._language, known, self._agent.analysis if self._agent else None)
        keys, request = self._pipeline.keys, self._request
        session, age = keys.of_session(request.tenant, self._session), self._tally.elapsed
        places = [keys.after(request.tenant, request.conversation, choice.text) for choice in reply.choices]
        if request.session is not None:
            places.append(session)
        stores = self._pipeline.metrics.stores
        try:
            async with asyncio.timeout(_MEMORY_SECONDS):
                kept = await self._pipeline.memory.remember(places, memory, session=session, age=age)
        except Exception as error:
            _log_kind(request, error, "nothing remembered")
            stores.labels("error").inc()
        else:
            stores.labels("kept" if kept else "forgotten").inc()

    @property
    def _severity(self) -> Severity | None:
        """The classifier's, and never less than a crisis once the backstop has hit."""
        if self._assessment is None:
            return CRISIS if self._alarm else None
        found = self._assessment.severity(self._policy.risk.by_severity)
        return max(found, CRISIS) if self._alarm else found

    @property
    def _in_crisis(self) -> bool:
        return self._severity is not None and self._severity >= CRISIS

    @property
    def _emotions(self) -> list[Emotion]:
        return self._assessment.emotions(self._policy.emotion_threshold) if self._assessment else []

    @property
    def _shift(self) -> int | None:
        before = self._memory.valence if self._memory else None
        if before is None or self._assessment is None:
            return None
        return valence(emotion.label for emotion in self._emotions) - before

    def _with_resources(self, text: str) -> str:
        if self._decision is None or not self._decision.crisis:
            return text
        return crisis.with_resources(text, self._policy.crisis, self._language, self._request.locale)

    def _reply(self, choices: tuple[Choice, ...], *, fallback: bool = False) -> Reply:
        emotions = self._emotions
        return Reply(
            choices=choices,
            mode=self.mode,
            reason=self.reason,
            session=self._session,
            emotions=emotions,
            valence=valence(emotion.label for emotion in emotions),
            shift=self._shift,
            severity=self._severity,
            risk=self._assessment.risk if self._assessment else {},
            rounds=len(self._agent.rounds) if self._agent else 0,
            passed=self._agent.passed if self._agent else None,
            fallback=fallback,
        )


_NORMAL, _URGENT = 0, -1
"""vLLM serves lower priorities first."""

_ALARMED_SECONDS = 2.0
"""What an alarmed turn gives the classifier: it is a crisis whatever the answer."""

_MEMORY_SECONDS = 1.0
"""Memory is worth waiting for this long."""


async def _in_time(answering: Coroutine[Any, Any, Reply], seconds: float) -> Reply:
    try:
        async with asyncio.timeout(seconds):
            return await answering
    except TimeoutError:
        raise DeadlineExceeded("The turn's time is up.") from None


def _log_kind(request: TurnRequest, error: Exception, consequence: str) -> None:
    """An error may quote the conversation, so only its kind is logged."""
    logger.error("request %s: %s; %s", request.request_id, type(error).__name__, consequence)


def _count(metrics: Metrics, mode: Mode, tally: Tally) -> None:
    metrics.turn_seconds.labels(mode).observe(tally.elapsed)
    for stage, seconds in tally.seconds.items():
        metrics.stage_seconds.labels(stage).observe(seconds)
    metrics.tokens.labels("prompt").inc(tally.usage.prompt_tokens)
    metrics.tokens.labels("cached").inc(tally.usage.cached_tokens)
    metrics.tokens.labels("completion").inc(tally.usage.completion_tokens)
    metrics.tokens.labels("reasoning").inc(tally.usage.reasoning_tokens)
    tally.seconds["total"] = tally.elapsed
