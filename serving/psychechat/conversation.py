"""The hand-offs of a turn, in the order in which they come into being. All are frozen: a stage makes a new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from math import isfinite
from typing import Literal

from psychechat.emotion import Emotion, Group, Label, Language, decode, valence
from psychechat.risk import CRISIS, Severity, level

Speaker = Literal["seeker", "counselor"]
Phase = Literal["exploration", "insight", "action"]
ReactionType = Literal["normal", "silent", "sentimental", "hostile"]
Mode = Literal["agent", "llm"]
Reason = Literal["crisis", "unknown_risk", "raised_risk", "sharp_shift", "low_risk", "busy", "pinned", "undecided"]
"""Why a turn takes its mode. `undecided`: it ended before the router had spoken."""
Source = Literal["backstop", "classifier"]
"""Who noticed a crisis: the listed phrases, or the risk head."""
Answered = Literal["reply", "safe_template", "unanswered"]
"""`unanswered`: the client left, or the server stopped, before there was a reply."""
Cause = Literal["method", "encouragement", "diagnosis"]
"""What the output guard stops: how to do harm or with what, a push towards it, a diagnosis."""


@dataclass(frozen=True, slots=True)
class Utterance:
    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the client sent: the utterances so far, the seeker's newest one last, and the operator's notes."""

    utterances: tuple[Utterance, ...]
    operator_notes: tuple[str, ...] = ()

    @property
    def newest(self) -> str:
        """What the seeker has said since the counselor's last reply, which may be several messages."""
        unanswered = takewhile(lambda utterance: utterance.speaker == "seeker", reversed(self.utterances))
        return "\n".join(reversed([utterance.text for utterance in unanswered]))


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the classifier says of one utterance: calibrated probabilities, before any threshold.

    `groups` maps each emotion group to its (absent, low, mid, high); `risk` maps each severity to its share.
    """

    groups: Mapping[Group, tuple[float, float, float, float]]
    risk: Mapping[Severity, float]

    @property
    def is_finite(self) -> bool:
        """A NaN would fail every comparison with a threshold, and so read as no risk."""
        shares = [share for columns in self.groups.values() for share in columns] + list(self.risk.values())
        return all(map(isfinite, shares))

    def emotions(self, threshold: float) -> list[Emotion]:
        return decode(self.groups, threshold)

    def severity(self, thresholds: Mapping[Severity, float]) -> Severity:
        return level(self.risk, thresholds)


@dataclass(frozen=True, slots=True)
class EmotionAnalysis:
    """Stage 1: the seeker's emotions, what caused them and how they moved. The last three may be empty early on."""

    labels: tuple[Label, ...]
    analysis: str
    recent_change: str = ""
    overall_trend: str = ""
    shift_analysis: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """Stage 2: a reply that nobody has seen yet."""

    phase: Phase
    strategy: str
    response: str


@dataclass(frozen=True, slots=True)
class Reaction:
    """Stage 3: one way in which the seeker may take the draft."""

    type: ReactionType
    response: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the review says of one reaction."""

    analysis: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Review:
    """Stage 4. Any failed reaction fails the draft; only then are there suggestions."""

    verdicts: tuple[Verdict, ...]
    passed: bool
    emotional_suggestion: str = ""
    safety_suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One draft with the reactions it was tried on and the review it got."""

    draft: Draft
    reactions: tuple[Reaction, ...]
    review: Review


@dataclass(frozen=True, slots=True)
class EmotionMemory:
    """What is kept between the turns of a conversation."""

    session_id: str
    language: Language
    labels: tuple[Label, ...] | None = None
    """What the classifier found last turn; None if it could not tell."""
    analysis: EmotionAnalysis | None = None

    @property
    def valence(self) -> int | None:
        return None if self.labels is None else valence(self.labels)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities from which on something counts as present. The policy's."""

    emotion: float
    risk: Mapping[Severity, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """The seeker's newest message as this turn reads it, so far: by phrases, by the classifier, after the memory."""

    language: Language
    thresholds: Thresholds
    alarm: bool = False
    """Whether one of the backstop's phrases is in it."""
    memory: EmotionMemory | None = None
    """What the turn before left; None at a conversation's first turn, or where it was lost."""
    assessment: Assessment | None = None
    """None: the classifier has not answered, or could not."""

    @property
    def severity(self) -> Severity | None:
        """The classifier's, and never less than a crisis once a phrase was found. None: nobody could tell."""
        if self.assessment is None:
            return CRISIS if self.alarm else None
        severity = self.assessment.severity(self.thresholds.risk)
        return max(severity, CRISIS) if self.alarm else severity

    @property
    def in_crisis(self) -> bool:
        return self.severity is not None and self.severity >= CRISIS

    @property
    def source(self) -> Source:
        """Who noticed the crisis, if it is one."""
        return "backstop" if self.alarm else "classifier"

    @property
    def risk(self) -> Mapping[Severity, float]:
        """The risk head's probabilities, without the phrases; none where it gave no answer."""
        return self.assessment.risk if self.assessment else {}

    @property
    def emotions(self) -> list[Emotion]:
        return self.assessment.emotions(self.thresholds.emotion) if self.assessment else []

    @property
    def labels(self) -> tuple[Label, ...] | None:
        """Of the emotions, the surest first. None: the classifier could not tell."""
        return tuple(emotion.label for emotion in self.emotions) if self.assessment else None

    @property
    def valence(self) -> int:
        return valence(self.labels or ())

    @property
    def shift(self) -> int | None:
        """Change of the valence since the previous turn; None where either is unknown."""
        before = self.memory.valence if self.memory else None
        return None if before is None or self.labels is None else self.valence - before


@dataclass(frozen=True, slots=True)
class Decision:
    """The router's: which mode answers, and why."""

    mode: Mode
    reason: Reason
    crisis: bool
    """A crisis turn always gets an answer, with resources, whatever fails. No pinned mode switches that off."""


@dataclass(frozen=True, slots=True)
class StageInputs:
    """All that a stage may be told. Which of it a stage is told is the pack's choice."""

    conversation: Conversation
    reading: Reading | None = None
    """None: nothing was read, as in a prompt of the conversation alone."""
    analysis: EmotionAnalysis | None = None
    rounds: tuple[Round, ...] = ()
    """The rounds of this turn that the review refused, oldest first."""
    draft: Draft | None = None
    reactions: tuple[Reaction, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """What Agent Mode came to: the analysis, and every draft with what the review said of it."""

    analysis: EmotionAnalysis
    rounds: tuple[Round, ...]

    @property
    def passed(self) -> bool:
        return self.rounds[-1].review.passed

    @property
    def response(self) -> str:
        """The last draft's. It may leave only if it passed."""
        return self.rounds[-1].draft.response


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer and how likely it was. A character may be spread over several: `bytes` add up to it."""

    text: str
    bytes: bytes
    """None at all for a special token, such as the end's: it is not in the answer's text."""
    logprob: float
    top: tuple["TokenLogprob", ...] = ()
    """The likeliest tokens at this place, the likeliest first. They have no `top` of their own."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One reply to a turn. `content_filter` means that fixed words spoke in the model's place, or ended its reply."""

    text: str
    finish_reason: Literal["stop", "length", "content_filter"]
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Of each of its tokens, if they were asked for and the text is a model's as it wrote it."""
    cause: Cause | None = None
    """What the output guard found in what the model wrote."""
    fallback: bool = False
    """Whether this is the safe template."""


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """Some of a reply, on its way out. `index` is the choice it belongs to."""

    index: int = 0
    content: str = ""
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the content's tokens, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a turn: what the seeker reads, and what it was made from."""

    choices: tuple[Choice, ...]
    reading: Reading
    decision: Decision
    session: str | None = None
    """What this turn is remembered as, and can be forgotten by; None where it is not."""
    agent: AgentOutcome | None = None
    """None in LLM Mode, and where Agent Mode came to nothing."""

    @property
    def rounds(self) -> int:
        """Drafts that were reviewed."""
        return len(self.agent.rounds) if self.agent else 0

    @property
    def passed(self) -> bool | None:
        """Whether the last draft passed its review; None without a review."""
        return self.agent.passed if self.agent else None

    @property
    def fallback(self) -> bool:
        """Whether the safe template answered, in every choice."""
        return all(choice.fallback for choice in self.choices)


@dataclass(frozen=True, slots=True)
class ReplyModeration:
    """What the risk head says of one reply; never less than a crisis where the backstop has hit."""

    severity: Severity
    risk: Mapping[Severity, float]

    @property
    def flagged(self) -> bool:
        return self.severity >= CRISIS


@dataclass(frozen=True, slots=True)
class CrisisTurn:
    """A crisis turn that has ended, however it did. `conversation` and who speaks tell turns apart."""

    conversation: Conversation
    reading: Reading
    mode: Mode
    answered: Answered
    request_id: str
    tenant: str
    session_id: str | None
    """None: the turn ended before it had one."""
    named_session: str | None
    end_user: str | None
    """Who the client says is speaking."""
    locale: str
    """The entry of the policy's resources that is the seeker's."""

    @property
    def severity(self) -> Severity:
        """The reading's, which is that of a crisis."""
        return max(self.reading.severity or CRISIS, CRISIS)
