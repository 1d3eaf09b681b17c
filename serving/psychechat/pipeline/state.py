"""State of one turn: reading, decision, Agent Mode's outcome.

A safe reply can be built from it at any point, because any phase may fail.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from psychechat import language, ngrams
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
    sober,
)
from psychechat.emotion import Language
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.sinks import closing
from psychechat.policy import Policy
from psychechat.risk import HoldRules, LineReading, RiskState, Severity, next_state
from psychechat.safety import crisis
from psychechat.safety.conversation_risk import Before, Names, SeekerLine, line_reading, read_line
from psychechat.safety.escalation import answered, happened
from psychechat.safety.fixed_replies import FixedReplies, FixedText
from psychechat.safety.output_guard import ReplyContext
from psychechat.safety.replies import crisis_reply
from psychechat.telemetry import Words

_ALARMED_SECONDS = 2.0
"""Timeout of the classifier in a turn with an alarm, which is a crisis whatever it answers, and of a crisis's context
check."""


class TurnState:
    """Filled in phase by phase. Fields of a phase that has not run are None or at their default."""

    def __init__(self, request: TurnRequest, policy: Policy, default_language: Language) -> None:
        self.request, self.policy = request, policy
        newest = request.conversation.newest
        spoken = language.choose(request.conversation, default_language)
        blank = Reading(spoken, policy.thresholds, found=request.found, words=ngrams.told(newest))
        self.reading = crisis.read(blank, newest, policy.crisis.backstop)
        self.fixed = FixedReplies(
            policy.crisis, request.conversation, request.locale, truthful=policy.says_it_is_a_program
        )
        self.session = request.session
        self.past_door = False
        """Whether the turn got its permit for classification. One that is refused there is unread."""
        self.line: LineReading | None = None
        self.before: Before | None = None
        """None before the newest line is read, and where the policy asks for no state of the conversation."""
        self.opened: FixedText | None = None
        """Fixed words of a crisis that have left, at the head of every choice."""
        self.decision: Decision | None = None
        self.agent: AgentOutcome | None = None

    def recalled(self, memory: EmotionMemory | None, session_id: str) -> None:
        """`session_id`: the client's, else the memory's, else new."""
        self.reading, self.session = replace(self.reading, memory=memory), session_id
        if self.remembered is not None:
            self.reading = replace(self.reading, conversation=self.remembered)

    @property
    def remembered(self) -> RiskState | None:
        """The conversation's state in memory, where the policy asks for one."""
        memory = self.reading.memory
        return memory.risk if memory and self.policy.risk.conversation != "off" else None

    def read(self, line: SeekerLine, names: Names, before: Before, assessments: Mapping[str, Assessment]) -> None:
        """The newest line in its conversation. `before`: the conversation's state without it; `assessments`: the
        classifier's by passage, none where it could not tell.
        """
        known = before.state if self.policy.risk.conversation == "on" else RiskState()
        reading = read_line(line, self.reading, assessments, self._veto_below, known)
        self.line = line_reading(names, line, reading)
        if self.policy.risk.conversation != "off":
            self.before = before
            reading = replace(reading, conversation=next_state(before.state, [self.line], HoldRules()))
        self.reading = reading

    def read_alone(self, line: SeekerLine, assessments: Mapping[str, Assessment]) -> Reading:
        """The newest line by these assessments: a crisis only where it is one whatever the conversation was before."""
        calmest = RiskState(calm=len(HoldRules().doubts))
        return read_line(line, self.reading, assessments, self._veto_below, calmest)

    @property
    def held(self) -> bool:
        """Whether the turn is answered with the care of a conversation that a crisis holds."""
        return self.policy.risk.conversation == "on" and self.reading.conversation.held

    @property
    def never_error(self) -> bool:
        """Guarantee of a reply: for a crisis or an alarm, in a held conversation, and at unknown risk past the door.

        Then fixed words replace an error, no model's words are streamed, and the client's sampling is ignored.
        """
        return self.reading.in_crisis or self.held or (self.past_door and self.reading.severity is None)

    @property
    def checking_seconds(self) -> float:
        """For what comes before any writing: the classifier's reading, and whether the prompts fit."""
        seconds = self.policy.limits.classify_seconds
        return min(_ALARMED_SECONDS, seconds) if self.reading.in_crisis else seconds

    @cached_property
    def reply_context(self) -> ReplyContext:
        conversation, reading = self.request.conversation, self.reading
        is_glad = reading.valence > 0 or reading.felt.tone == "glad"
        is_glad = is_glad and reading.severity is Severity.NONE and not self.held
        return ReplyContext(
            conversation,
            reading.language,
            lambda: self.fixed.contacts(reading),
            is_out_of_place=(lambda _: False) if is_glad else crisis_reply.celebrates,
        )

    @property
    def is_sober(self) -> bool:
        """Whether no stage is told of a positive emotion: in a crisis and while one holds the conversation."""
        return self.decision_so_far.crisis or self.held

    @property
    def reading_for_stages(self) -> Reading:
        return self._followed(sober(self.reading) if self.is_sober else self.reading)

    def _followed(self, reading: Reading) -> Reading:
        """Without the state of the conversation, unless the policy has it change what is said."""
        return reading if self.policy.risk.conversation == "on" else replace(reading, conversation=RiskState())

    @property
    def decision_so_far(self) -> Decision:
        """Router's decision; before routing a provisional one, for a safe reply, metrics and escalation."""
        if self.decision is not None:
            return self.decision
        if self.reading.in_crisis:
            return Decision("agent", "crisis", crisis=True)
        return Decision("agent", "unknown_risk" if self.past_door else "undecided", crisis=False)

    def reply(self, choices: tuple[Choice, ...]) -> Reply:
        shown = self.with_help("").resources or (self.fixed_words[1].resources if choices[0].fallback else ())
        return Reply(choices, self.reading, self.decision_so_far, self.session, self.agent, shown)

    # ------------------------------------------------------------------------------------------ fixed words

    @property
    def opening(self) -> FixedText | None:
        """First piece of a crisis reply: it may leave as soon as a crisis is known. None if there is none.

        The one that has left, if one has: whatever is read after that, no other one follows it.
        """
        if self.opened is not None:
            return self.opened
        return self.crisis_words(self.reading) if self.decision_so_far.crisis else None

    def crisis_words(self, reading: Reading) -> FixedText:
        """First piece of a reply to the crisis in this reading. In a conversation that is held already it is sure."""
        before = replace(reading, conversation=self.before.state) if self.before else reading
        is_sure = reading.is_sure or self._followed(before).conversation.held
        return self.fixed.crisis(self._followed(reading), is_sure=is_sure)

    @property
    def opens_at_once(self) -> bool:
        """Whether this is a crisis that nothing which is still to be read can take back."""
        return self.reading.in_crisis and not (self.reading.doubted and self._veto_below)

    @property
    def _veto_below(self) -> float:
        return self.policy.risk.veto_below or 0.0

    @property
    def is_for_no_model(self) -> bool:
        """Whether the fixed words are all: an act is under way, no model speaks the language of a crisis, or the seeker
        asks who answers."""
        if not self.decision_so_far.crisis:
            return self.fixed.asked(self.reading) is not None
        return self.reading.kind == "under_way" or self.fixed.other_language is not None

    @property
    def fixed_words(self) -> tuple[Words, FixedText]:
        """Whole reply without a model, and which kind of one it is."""
        if opening := self.opening:
            return "crisis", opening
        if self.fixed.asked(self.reading):
            told = self.fixed.who_answers(self.reading)
            return "who_answers", told if told.resources else self.with_help(told.text)
        if self.reading.severity is None and not self.held:
            return "unknown_risk", self.fixed.unknown_risk(self.reading)
        if self.held:
            return "held", self.with_help(self.fixed.listening(self.reading).text)
        return "listening", self.fixed.listening(self.reading)

    def fixed_choice(self, finding: Cause | None = None, *, filtered: bool = False) -> Choice:
        """`finding`: what the guard found in the model's reply. `filtered`: that one was withheld by a rule."""
        return Choice(
            self.fixed_words[1].text,
            "content_filter" if filtered and not self.decision_so_far.crisis else "stop",
            cause=finding,
            blocked=finding is not None,
            fallback=True,
        )

    def stopped_ending(self, emitted: str, finding: Cause | None) -> str:
        """Closing text of a reply that was stopped for what was found in its rest; all of it if nothing was emitted.

        The third head is no reason to speak of danger to someone who is in none: what it refuses is mostly clumsy.
        """
        if not emitted:
            return self.fixed_words[1].text
        if finding == "hurting" and self.reading.severity is Severity.NONE and not self.held:
            return closing(emitted, self.fixed.cut(self.reading))
        return f"\n\n{self.policy.guard.ending[self.reading.language]}"

    def with_help(self, text: str) -> FixedText:
        """Reply behind the opening of a crisis, or before a line about help in a held conversation."""
        if opening := self.opening:
            return FixedText(f"{opening.text}\n\n{text}", opening.resources)
        if not self.held:
            return FixedText(text)
        line = self.fixed.help_line(self.reading)
        return FixedText(f"{text}\n\n{line.text}", line.resources)

    def crisis_turn(self, reply: Reply | None, places: Callable[[], Sequence[str]]) -> CrisisTurn | None:
        """Escalation event, if the turn is one. `reply` None: it ended without one.

        `places`: keyed hashes of the conversation up to each of its utterances.
        """
        followed = self.policy.risk.conversation == "on"
        event, episode = happened(self.reading, self.before, self.line, followed=followed)
        if event is None:
            return None
        request = self.request
        return CrisisTurn(
            event=event,
            episode=episode or places()[-1],
            conversation=request.conversation,
            reading=self.reading,
            mode=self.decision_so_far.mode,
            answered=answered(reply),
            request_id=request.request_id,
            tenant=request.tenant,
            session_id=self.session,
            client_session_id=request.session,
            end_user=request.end_user,
            resources_locale=self.fixed.place(self.reading),
        )
