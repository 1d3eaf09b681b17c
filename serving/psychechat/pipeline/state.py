"""What a turn has found so far, from which it can be answered at any moment."""

from psychechat import language
from psychechat.conversation import Assessment, Cause, Choice, EmotionMemory, Mode, Reply
from psychechat.emotion import Emotion, Label, Language, valence
from psychechat.pipeline.agent_mode import AgentOutcome
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.router import Decision
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat.safety import crisis
from psychechat.safety.escalation import CrisisTurn, Source, answered


class Findings:
    """Filled in by the turn, step by step. What follows from it is worked out here and nowhere else."""

    def __init__(self, request: TurnRequest, policy: Policy, default_language: Language) -> None:
        self.request, self.policy = request, policy
        self.language = language.choose(request.conversation, default_language)
        self.alarm = crisis.alarm(request.conversation.newest, policy.crisis.backstop)
        self.session = request.session
        self.memory: EmotionMemory | None = None
        self.let_in = False
        """Past the door. What is refused there is unread."""
        self.assessment: Assessment | None = None
        self.decision: Decision | None = None
        self.agent: AgentOutcome | None = None

    @property
    def severity(self) -> Severity | None:
        """The classifier's, and never less than a crisis once the backstop has hit. None: nobody could tell."""
        if self.assessment is None:
            return CRISIS if self.alarm else None
        found = self.assessment.severity(self.policy.risk.by_severity)
        return max(found, CRISIS) if self.alarm else found

    @property
    def in_crisis(self) -> bool:
        return self.severity is not None and self.severity >= CRISIS

    @property
    def source(self) -> Source:
        """Who has noticed a crisis, if it is one."""
        return "backstop" if self.alarm else "classifier"

    @property
    def must_answer(self) -> bool:
        """A crisis is answered whatever fails; so is a turn that was let in and whose risk nobody could tell so far.

        One that is refused at the door is unread, and no phrase in it gave cause for alarm.
        """
        if self.alarm or not self.let_in:
            return self.alarm
        return self.decision is None or self.decision.crisis or self.severity is None

    @property
    def mode(self) -> Mode:
        return self.decision.mode if self.decision else "agent"

    @property
    def reason(self) -> str:
        if self.decision is not None:
            return self.decision.reason
        if self.in_crisis:
            return "crisis"
        return "unknown_risk" if self.let_in else "undecided"

    @property
    def emotions(self) -> list[Emotion]:
        return self.assessment.emotions(self.policy.emotion_threshold) if self.assessment else []

    @property
    def labels(self) -> tuple[Label, ...] | None:
        """Of the emotions, the surest first. None: the classifier could not tell."""
        return tuple(emotion.label for emotion in self.emotions) if self.assessment else None

    @property
    def shift(self) -> int | None:
        before = self.memory.valence if self.memory else None
        if before is None or self.labels is None:
            return None
        return valence(self.labels) - before

    def reply(self, choices: tuple[Choice, ...]) -> Reply:
        emotions = self.emotions
        return Reply(
            choices=choices,
            mode=self.mode,
            reason=self.reason,
            session=self.session,
            emotions=emotions,
            valence=valence(emotion.label for emotion in emotions),
            shift=self.shift,
            severity=self.severity,
            risk=self.assessment.risk if self.assessment else {},
            rounds=len(self.agent.rounds) if self.agent else 0,
            passed=self.agent.passed if self.agent else None,
        )

    @property
    def safe_template(self) -> str:
        return crisis.safe_template(self.policy.crisis, self.language, self.request.locale)

    def safe_reply(self, found: Cause | None = None) -> Reply:
        """Where no model's reply may leave. `found`: what the guard found in one."""
        choice = Choice(self.safe_template, "content_filter", found=found, fallback=True)
        return self.reply((choice,) * self.request.choices)

    def ending(self, said: str) -> str:
        """The fixed words after what was said of a reply that the guard stopped."""
        return f"\n\n{self.policy.guard.ending[self.language]}" if said else self.safe_template

    def with_resources(self, text: str) -> str:
        if self.decision is None or not self.decision.crisis:
            return text
        return crisis.with_resources(text, self.policy.crisis, self.language, self.request.locale)

    def crisis_turn(self, reply: Reply | None) -> CrisisTurn | None:
        """What those who look after crises must know; None if this is none. `reply` None: there was none."""
        if not self.in_crisis or self.severity is None:
            return None
        request = self.request
        return CrisisTurn(
            conversation=request.conversation,
            request_id=request.request_id,
            tenant=request.tenant,
            session_id=self.session,
            named_session=request.session,
            end_user=request.end_user,
            source=self.source,
            severity=self.severity,
            mode=self.mode,
            answered=answered(reply),
            language=self.language,
            locale=crisis.place(self.policy.crisis, self.language, request.locale),
        )
