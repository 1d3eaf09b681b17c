"""State of one turn: reading, decision, Agent Mode's outcome.

A safe reply can be built from it at any point, because any phase may fail.
"""

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
    """Filled in phase by phase. Fields of a phase that has not run are None or at their default."""

    def __init__(self, request: TurnRequest, policy: Policy, default_language: Language) -> None:
        self.request, self.policy = request, policy
        self.reading = Reading(
            language.choose(request.conversation, default_language),
            policy.thresholds,
            alarm=crisis.alarm(request.conversation.newest, policy.crisis.backstop),
        )
        self.session = request.session
        self.past_door = False
        """Whether the turn got its permit for classification. One that is refused there is unread."""
        self.decision: Decision | None = None
        self.agent: AgentOutcome | None = None

    def recalled(self, memory: EmotionMemory | None, session_id: str) -> None:
        """`session_id`: the client's, else the memory's, else new."""
        self.reading, self.session = replace(self.reading, memory=memory), session_id

    def classified(self, assessment: Assessment) -> None:
        self.reading = replace(self.reading, assessment=assessment)

    @property
    def never_error(self) -> bool:
        """Guarantee of a reply: for a crisis or an alarm, and for a turn past the door whose risk is unknown.

        Then the safe template replaces an error, nothing is streamed, and the client's sampling is ignored.
        """
        if self.reading.alarm or not self.past_door:
            return self.reading.alarm
        return self.decision is None or self.decision.crisis or self.reading.severity is None

    @property
    def decision_so_far(self) -> Decision:
        """Router's decision; before routing a provisional one, for a safe reply, metrics and escalation."""
        if self.decision is not None:
            return self.decision
        if self.reading.in_crisis:
            return Decision("agent", "crisis", crisis=True)
        return Decision("agent", "unknown_risk" if self.past_door else "undecided", crisis=False)

    def reply(self, choices: tuple[Choice, ...]) -> Reply:
        return Reply(choices, self.reading, self.decision_so_far, self.session, self.agent)

    def safe_template_reply(self, finding: Cause | None = None) -> Reply:
        """Safe template in every choice. `finding`: what the guard found in the model's reply."""
        choice = Choice(self.safe_template, "content_filter", cause=finding, fallback=True)
        return self.reply((choice,) * self.request.choices)

    @property
    def safe_template(self) -> str:
        return crisis.safe_template(self.policy.crisis, self.reading.language, self.request.locale)

    def guard_ending(self, emitted: str) -> str:
        """Closing text of a reply that the guard stopped; the whole safe template if nothing was emitted."""
        return f"\n\n{self.policy.guard.ending[self.reading.language]}" if emitted else self.safe_template

    def with_resources(self, text: str) -> str:
        return crisis.with_resources(text, self.policy.crisis, self.reading.language, self.request.locale)

    def crisis_turn(self, reply: Reply | None) -> CrisisTurn | None:
        """Escalation event; None unless the turn is a crisis. `reply` None: the turn ended without one."""
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
