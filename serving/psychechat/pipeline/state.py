"""How far a turn has come: read, then decided, then answered. From it the turn can be answered at any moment."""

from dataclasses import replace

from psychechat import language
from psychechat.conversation import (
    AgentOutcome,
    Assessment,
    Cause,
    Choice,
    CrisisTurn,
    Decision,
    EmotionMemory,
    Reading,
    Reply,
)
from psychechat.emotion import Language
from psychechat.pipeline.request import TurnRequest
from psychechat.policy import Policy
from psychechat.safety import crisis
from psychechat.safety.escalation import answered


class TurnState:
    """Filled in by the turn, phase by phase. A phase that has not come yet is None or as it begins."""

    def __init__(self, request: TurnRequest, policy: Policy, default_language: Language) -> None:
        self.request, self.policy = request, policy
        self.reading = Reading(
            language.choose(request.conversation, default_language),
            policy.thresholds,
            alarm=crisis.alarm(request.conversation.newest, policy.crisis.backstop),
        )
        self.session = request.session
        self.past_door = False
        """Past the door. A turn that is refused there is unread."""
        self.decision: Decision | None = None
        self.agent: AgentOutcome | None = None

    def recalled(self, memory: EmotionMemory | None, session: str) -> None:
        self.reading, self.session = replace(self.reading, memory=memory), session

    def classified(self, assessment: Assessment) -> None:
        self.reading = replace(self.reading, assessment=assessment)

    @property
    def never_error(self) -> bool:
        """A crisis is answered whatever fails; so is a turn that was let in and whose risk nobody could tell so far.

        One that is refused at the door is unread, and no phrase in it gave cause for alarm.
        """
        if self.reading.alarm or not self.past_door:
            return self.reading.alarm
        return self.decision is None or self.decision.crisis or self.reading.severity is None

    @property
    def decision_so_far(self) -> Decision:
        """The router's; where the turn has not come to it, the one that is sure already."""
        if self.decision is not None:
            return self.decision
        if self.reading.in_crisis:
            return Decision("agent", "crisis", crisis=True)
        return Decision("agent", "unknown_risk" if self.past_door else "undecided", crisis=False)

    def reply(self, choices: tuple[Choice, ...]) -> Reply:
        return Reply(choices, self.reading, self.decision_so_far, self.session, self.agent)

    def safe_template_reply(self, finding: Cause | None = None) -> Reply:
        """The safe template, where no model's reply may leave. `finding`: what the guard found in one."""
        choice = Choice(self.safe_template, "content_filter", cause=finding, fallback=True)
        return self.reply((choice,) * self.request.choices)

    @property
    def safe_template(self) -> str:
        return crisis.safe_template(self.policy.crisis, self.reading.language, self.request.locale)

    def guard_ending(self, emitted: str) -> str:
        """The fixed words after what has left of a reply that the guard stopped."""
        return f"\n\n{self.policy.guard.ending[self.reading.language]}" if emitted else self.safe_template

    def with_resources(self, text: str) -> str:
        return crisis.with_resources(text, self.policy.crisis, self.reading.language, self.request.locale)

    def crisis_turn(self, reply: Reply | None) -> CrisisTurn | None:
        """The event for those who look after crises; None if the turn is no crisis. `reply` None: it got none."""
        if not self.reading.in_crisis:
            return None
        request = self.request
        return CrisisTurn(
            conversation=request.conversation,
            reading=self.reading,
            mode=self.decision_so_far.mode,
            answered=answered(reply),
            request_id=request.request_id,
            tenant=request.tenant,
            session_id=self.session,
            named_session=request.session,
            end_user=request.end_user,
            locale=crisis.place(self.policy.crisis, self.reading.language, request.locale),
        )
