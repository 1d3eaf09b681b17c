"""State of one turn: reading, decision, Agent Mode's outcome.

A safe reply can be built from it at any point, because any phase may fail.
"""

from collections.abc import Mapping
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
from psychechat.risk import HoldRules, RiskState, next_state
from psychechat.safety import crisis, risk_questions
from psychechat.safety.conversation_risk import SeekerLine, line_reading
from psychechat.safety.escalation import answered
from psychechat.safety.help import fixed_words

_CONTACT_LINES = 6
"""Of the counselor's: the last ones, in which contacts need no repetition."""


class TurnState:
    """Filled in phase by phase. Fields of a phase that has not run are None or at their default."""

    def __init__(self, request: TurnRequest, policy: Policy, default_language: Language) -> None:
        self.request, self.policy = request, policy
        blank = Reading(language.choose(request.conversation, default_language), policy.thresholds)
        self.reading = crisis.read(blank, request.conversation.newest, policy.crisis.backstop)
        self.session = request.session
        self.past_door = False
        """Whether the turn got its permit for classification. One that is refused there is unread."""
        self.decision: Decision | None = None
        self.agent: AgentOutcome | None = None

    def recalled(self, memory: EmotionMemory | None, session_id: str) -> None:
        """`session_id`: the client's, else the memory's, else new."""
        self.reading, self.session = replace(self.reading, memory=memory), session_id

    def read(self, line: SeekerLine, name: str, before: RiskState, assessments: Mapping[str, Assessment]) -> None:
        """The newest line in its conversation. `before`: the conversation's state without it; `assessments`: the
        classifier's by passage, none where it could not tell. `name`: the line's keyed hash.
        """
        asked = line.answered
        reading = replace(
            self.reading,
            assessment=assessments.get(line.text),
            with_question=assessments.get(asked.together) if asked else None,
            answer=risk_questions.severity(asked, held=before.held) if asked else None,
        )
        if self.policy.risk.conversation != "off":
            after = next_state(before, [line_reading(name, line, reading)], HoldRules())
            reading = replace(reading, conversation=after)
        self.reading = reading

    @property
    def held(self) -> bool:
        """Whether the turn is answered with the care of a conversation that a crisis holds."""
        return self.policy.risk.conversation == "on" and self.reading.conversation.held

    @property
    def never_error(self) -> bool:
        """Guarantee of a reply: for a crisis or an alarm, and for a turn past the door whose risk is unknown.

        Then the safe template replaces an error, nothing is streamed, and the client's sampling is ignored.
        """
        if self.reading.alarm or not self.past_door:
            return self.reading.alarm
        return self.decision is None or self.decision.crisis or self.held or self.reading.severity is None

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

    def with_help(self, text: str) -> str:
        """Reply with whom to turn to: the resources in a crisis, a line about help while the conversation is held."""
        if self.decision_so_far.crisis:
            return f"{text}\n\n{self._resources}"
        if not self.held:
            return text
        line = fixed_words.words(self.reading.language).held_line(self.reading.conversation.since_turns or 0)
        return f"{text}\n\n{line}" if self._has_contact else f"{text}\n\n{line}\n\n{self._resources}"

    @property
    def _resources(self) -> str:
        return crisis.resources(self.policy.crisis, self.reading.language, self.request.locale)

    @property
    def _has_contact(self) -> bool:
        """Whether one of the counselor's last lines holds a contact that the seeker would be given again."""
        table = self.policy.crisis
        rows = table.resources[crisis.place(table, self.reading.language, self.request.locale)]
        said = [u.text for u in self.request.conversation.utterances if u.speaker == "counselor"][-_CONTACT_LINES:]
        return any(row.contact in text for row in rows for text in said)

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
