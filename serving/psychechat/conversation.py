"""Value types of a turn, in the order in which they come into being. All are frozen: a stage makes a new one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from math import isfinite
from typing import Literal

from psychechat.emotion import POSITIVE, Emotion, Felt, Group, Label, Language, decode, felt, negative, valence
from psychechat.help import subjects
from psychechat.help.resources import Resource
from psychechat.help.subjects import Subject
from psychechat.help.who_answers import Asked
from psychechat.ngrams import Told
from psychechat.risk import CRISIS, Kind, RiskState, Severity, at_least, level

Speaker = Literal["seeker", "counselor"]
Phase = Literal["exploration", "insight", "action"]
Act = Literal["greeting", "thanks", "goodbye", "small_talk", "advice", "anger"]
"""What a message does where it tells of nothing: `advice` asks for some, `anger` is at the counselor."""
ReactionType = Literal["normal", "silent", "sentimental", "hostile"]
Mode = Literal["agent", "llm"]
Reason = Literal[
    "crisis",
    "unknown_risk",
    "raised_risk",
    "sharp_shift",
    "low_risk",
    "busy",
    "pinned",
    "held",
    "rising",
    "undecided",
    "task",
]
"""Why a turn takes its mode. `undecided`: it ended before the router decided. `task`: it is no turn."""
TaskKind = Literal["title", "tags", "follow_up", "query", "image_prompt", "emoji", "summary", "other"]
"""What a chat page asks for in the background, about a conversation."""
Source = Literal["backstop", "classifier"]
"""Who noticed a crisis: the listed phrases, or the risk head."""
Answered = Literal["reply", "safe_template", "unanswered"]
"""What the seeker got. `unanswered`: the client left, or the server stopped, before there was a reply."""
Event = Literal["started", "continued", "worse", "over", "rising"]
"""What a turn is to those who look after crises. `continued`: a crisis that an earlier event has told of."""
PhraseCause = Literal["method", "encouragement", "diagnosis"]
"""What a phrase of the output guard is about: a method or means of harm, encouragement to it, a diagnosis."""
Cause = Literal[PhraseCause, "hurting"]
"""What is found in a reply. `hurting`: by the classifier's third head."""


@dataclass(frozen=True, slots=True)
class Utterance:
    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages of a request: the utterances so far, the seeker's newest last, and the operator's notes."""

    utterances: tuple[Utterance, ...]
    operator_notes: tuple[str, ...] = ()

    @property
    def answered(self) -> tuple[Utterance, ...]:
        """Up to the counselor's last reply; empty at a conversation's first turn."""
        ends = [place for place, said in enumerate(self.utterances, start=1) if said.speaker == "counselor"]
        return self.utterances[: ends[-1]] if ends else ()

    @property
    def newest(self) -> str:
        """Text of all that the seeker said since the counselor's last reply; of several messages, one per line."""
        unanswered = takewhile(lambda utterance: utterance.speaker == "seeker", reversed(self.utterances))
        return "\n".join(reversed([utterance.text for utterance in unanswered]))


_SURE = 0.75
"""P(ideation or worse) from which on a crisis that only the classifier heard is spoken to as one."""

_LIKELY = 0.5
"""Of what asks, the heads' bias is set so that from here on it is rarely wrong."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """Classifier's answer for one utterance: calibrated probabilities, before any threshold.

    `groups` maps each emotion group to its (absent, low, mid, high), for the utterance as a whole. Its risk is read of
    the whole and of each of its sentences; `risk` maps each severity to its probability in the reading that is the
    worst by P(ideation or worse).
    """

    groups: Mapping[Group, tuple[float, float, float, float]]
    risk: Mapping[Severity, float]
    other_risks: tuple[Mapping[Severity, float], ...] = ()
    """The readings that are the worst by another severity, where that is not the same one."""
    asks: Mapping[Asked, float] = field(default_factory=dict)
    """P(it asks this about who answers), the highest of the whole and its sentences; empty where no head tells."""
    acts: Mapping[Act, float] = field(default_factory=dict)
    """P(this is all that it does), of the whole; empty where no head tells."""
    subjects: Mapping[Subject, float] = field(default_factory=dict)
    """P(it is about this), of the whole; empty where no head tells."""

    @property
    def is_finite(self) -> bool:
        """Whether all probabilities are. A NaN would fail every comparison with a threshold, and so read as no risk."""
        columns = chain(self.groups.values(), (risk.values() for risk in self._risks))
        return all(map(isfinite, chain.from_iterable(columns)))

    def emotions(self, thresholds: Mapping[Group, float]) -> list[Emotion]:
        return decode(self.groups, thresholds)

    def severity(self, thresholds: Mapping[Severity, float]) -> Severity:
        """The worst of the whole and its sentences."""
        return max(level(risk, thresholds) for risk in self._risks)

    def decided_by(self, thresholds: Mapping[Severity, float]) -> Mapping[Severity, float]:
        """Probabilities of the reading that decides the severity."""
        return max(self._risks, key=lambda risk: level(risk, thresholds))

    def at_least(self, severity: Severity) -> float:
        """The highest probability, in the whole or a sentence, that the severity is this one or worse."""
        return max(at_least(risk, severity) for risk in self._risks)

    @property
    def asked(self) -> Asked | None:
        """What it most likely asks about who answers; None: more likely neither."""
        likely = [kind for kind, p in self.asks.items() if p >= _LIKELY]
        return max(likely, key=lambda kind: self.asks[kind], default=None)

    @property
    def act(self) -> Act | None:
        """What it most likely does; None: more likely it tells of something."""
        return next((act for act, p in self.acts.items() if p >= _LIKELY), None)

    @property
    def _risks(self) -> tuple[Mapping[Severity, float], ...]:
        return (self.risk, *self.other_risks)


@dataclass(frozen=True, slots=True)
class EmotionAnalysis:
    """Stage 1: the seeker's emotions, their cause and their course. The last three fields may be empty early on."""

    labels: tuple[Label, ...]
    analysis: str
    recent_change: str = ""
    overall_trend: str = ""
    shift_analysis: str = ""

    @property
    def sober(self) -> "EmotionAnalysis":
        """Without positive labels, as `sober` has it for a reading."""
        return replace(self, labels=negative(self.labels))


@dataclass(frozen=True, slots=True)
class Draft:
    """Stage 2: a reply before its review."""

    phase: Phase
    strategy: str
    response: str
    thinking: str = ""
    """What the model thought before it."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """Stage 3: one simulated reaction of the seeker to the draft."""

    type: ReactionType
    response: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Review's judgement of one reaction."""

    analysis: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Review:
    """Stage 4: verdicts and suggestions. Any failed reaction fails the draft; only then are there suggestions."""

    verdicts: tuple[Verdict, ...]
    passed: bool
    emotional_suggestion: str = ""
    safety_suggestion: str = ""

    def refused(self, suggestion: str) -> "Review":
        """Failed for another reason than its verdicts, with a suggestion before its own."""
        own = [suggestion, self.emotional_suggestion]
        return replace(self, passed=False, emotional_suggestion=" ".join(filter(None, own)))


@dataclass(frozen=True, slots=True)
class Round:
    """One draft, its simulated reactions and its review."""

    draft: Draft
    reactions: tuple[Reaction, ...]
    review: Review


@dataclass(frozen=True, slots=True)
class PastTurn:
    """What an earlier turn's stages made, for packs that show it again. Clients have seen the reply alone."""

    reply: str
    """Keyed hash of the reply, as in `Said`."""
    analysis: EmotionAnalysis | None = None
    """None: LLM Mode answered."""
    rounds: tuple[Round, ...] = ()
    """The last one passed."""
    thinking: str = ""
    """LLM Mode's, before the reply."""

    @property
    def sober(self) -> "PastTurn":
        """Without positive labels."""
        return replace(self, analysis=self.analysis and self.analysis.sober)

    @property
    def texts(self) -> Iterator[str]:
        """Agent Mode's."""
        if stated := self.analysis:
            yield from (stated.analysis, stated.recent_change, stated.overall_trend, stated.shift_analysis)
        for made in self.rounds:
            yield from (made.draft.thinking, made.draft.strategy, made.draft.response)
            yield from (reaction.response for reaction in made.reactions)
            yield from (verdict.analysis for verdict in made.review.verdicts)
            yield from (made.review.emotional_suggestion, made.review.safety_suggestion)


@dataclass(frozen=True, slots=True)
class Said:
    """What was said last in a conversation, as keyed hashes of its utterances, oldest first."""

    utterances: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    """Those of them that are the seeker's and say enough to be nobody else's."""

    def covers(self, other: "Said") -> bool:
        """Whether this ends with all of the other, so that nothing was said there which is unknown here."""
        last = self.utterances[-len(other.utterances) :] if other.utterances else None
        return last == other.utterances

    def shares_a_line(self, other: "Said") -> bool:
        return not set(self.lines).isdisjoint(other.lines)

    def then(self, newer: "Said", most: int) -> "Said":
        """Both, one after the other; of their utterances the last ones."""
        utterances = (*self.utterances, *newer.utterances)[-most:]
        return Said(utterances, tuple(line for line in (*self.lines, *newer.lines) if line in utterances))


@dataclass(frozen=True, slots=True)
class EmotionMemory:
    """Memory that one turn leaves for the next: labels and analysis."""

    session_id: str
    language: Language
    labels: tuple[Label, ...] | None = None
    """Labels of the latest turn with an assessment; None before the first of those."""
    analysis: EmotionAnalysis | None = None
    """Of the latest turn in Agent Mode, for a few turns."""
    analysis_age: int = 1
    """Turns since then, as the next turn counts: 1 for the previous one's."""
    turns: tuple[PastTurn, ...] = ()
    """Oldest first; none unless the pack shows them again."""
    subject: str | None = None
    """Of the latest turn; None in values of before. Perhaps one that a later version knows."""
    risk: RiskState = field(default_factory=RiskState)
    """Of the whole conversation so far: severities, numbers and keyed hashes, no words."""
    said: Said = field(default_factory=Said)
    """The end of the conversation that this is the memory of; empty in values of before."""
    revision: str = ""
    """Names this value among those that concurrent turns write to one place."""
    after: str = ""
    """Revision of the value that the turn had recalled."""

    @property
    def valence(self) -> int | None:
        return None if self.labels is None else valence(self.labels)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities from which on something counts as present, as the policy sets them."""

    emotion: Mapping[Group, float]
    risk: Mapping[Severity, float]

    def doubting(self, times: float) -> "Thresholds":
        """With the odds of a crisis' thresholds so many times as high."""
        if times == 1:
            return self
        return replace(self, risk={s: _raised(p, times) if s >= CRISIS else p for s, p in self.risk.items()})


def _raised(threshold: float, times: float) -> float:
    return times * threshold / (1 + (times - 1) * threshold)


@dataclass(frozen=True, slots=True)
class Reading:
    """Reading of the newest message: phrase alarm, assessment, previous memory, and what follows from them."""

    language: Language
    thresholds: Thresholds
    alarm: bool = False
    """Whether one of the backstop's phrases is in the message."""
    doubted: tuple[str, ...] = ()
    """Passages of the message by which the classifier may overrule the alarm; empty: nothing may."""
    overruled: bool = False
    """Whether it has: there was a phrase, and it made no alarm."""
    phrase_severity: Severity | None = None
    """Of the gravest of the phrases, an indicator's among them; None: there is none in the message."""
    kind: Kind | None = None
    """What the crisis is about, by its phrases; None where they do not tell."""
    found: Severity | None = None
    """What was found before the turn began, if anything was: the risk is no less."""
    memory: EmotionMemory | None = None
    """Memory of the previous turn; None at a conversation's first turn, or where it was lost."""
    assessment: Assessment | None = None
    """None until the classifier has answered, and if it fails."""
    with_question: Assessment | None = None
    """Of a short answer together with the counselor's question."""
    is_about_risk: bool = False
    """Whether it answers a question about risk."""
    answer: Severity | None = None
    """What the answer says of risk by the rules for such questions; None: it answers none, or they cannot tell."""
    words: Told = field(default_factory=Told)
    """What the message's own words tell."""
    doubt: float = 1.0
    """By what the odds of a crisis are divided before the classifier alone makes one, since all was calm before."""
    conversation: RiskState = field(default_factory=RiskState)
    """The state of the conversation with this message in it."""

    @property
    def severity(self) -> Severity | None:
        """Severity by the classifier and the answered question, raised to a crisis by an alarm, and to what was found
        before. None: unknown risk.
        """
        read, told = self._assessments, list[Severity]()
        if self.found is not None:
            told.append(self.found)
        if self.alarm:
            told.append(max(self.phrase_severity or CRISIS, CRISIS))
        if self.overruled:
            told.append(Severity.INDICATOR)
        if self.answer is not None and (read or told or self.answer >= CRISIS):
            told.append(self.answer)
        is_sure = max(told, default=Severity.NONE) >= CRISIS
        heard = (self._level(reading, doubted=not is_sure) for reading in read)
        return max((*told, *heard), default=None)

    def _level(self, reading: Assessment, *, doubted: bool) -> Severity:
        """Doubt decides whether it is a crisis, and not which. What is none because of it is still an indicator."""
        level = reading.severity(self.thresholds.risk)
        is_none = doubted and level >= CRISIS > reading.severity(self._doubting.risk)
        return Severity.INDICATOR if is_none else level

    @property
    def _doubting(self) -> Thresholds:
        return self.thresholds.doubting(self.doubt)

    @property
    def is_doubted(self) -> bool:
        """Whether only the doubt keeps it from being a crisis."""
        return self.doubt > 1 and not self.in_crisis and replace(self, doubt=1.0).in_crisis

    @property
    def gravity(self) -> int:
        """To compare readings by: an unknown risk is below any that is known."""
        severity = self.severity
        return -1 if severity is None else int(severity)

    @property
    def _assessments(self) -> list[Assessment]:
        """Assessments that decide the severity. A denial is read alone: with its question it would be about that."""
        read = [self.assessment] if self.assessment else []
        return [*read, self.with_question] if self.with_question and self.answer is None else read

    @property
    def ideation(self) -> float | None:
        """P(ideation or worse), the highest of what was read; None: unknown."""
        return max((reading.at_least(CRISIS) for reading in self._assessments), default=None)

    @property
    def share_of_crisis(self) -> float | None:
        """P(ideation or worse) in thresholds, as far as they are doubted: from 1 on it is a crisis, whatever the heads'
        threshold is. None: unknown."""
        threshold = self._doubting.risk[CRISIS]
        return None if self.ideation is None else self.ideation / threshold if threshold else 1.0

    @property
    def scores(self) -> Mapping[Severity, float]:
        """Probability of each severity or worse, the highest of what was read; at least the threshold of a severity
        that is reached, whatever reached it."""
        reached = self.severity or Severity.NONE
        highest = {s: max((read.at_least(s) for read in self._assessments), default=0.0) for s in Severity if s}
        return {s: max(p, self.thresholds.risk[s]) if s <= reached else p for s, p in highest.items()}

    @property
    def in_crisis(self) -> bool:
        severity = self.severity
        return severity is not None and severity >= CRISIS

    @property
    def kind_so_far(self) -> Kind | None:
        """What the crisis is about, by the message and, where that is graver or all that is known, by those before."""
        before = self.conversation.kind
        if before is None or self.kind not in (None, "thoughts"):
            return self.kind
        is_grave = (self.severity or Severity.NONE) > CRISIS or before != "thoughts"
        return "plan_or_means" if is_grave else "thoughts"

    @property
    def is_sure(self) -> bool:
        """Whether the crisis is more than the classifier's guess; only meaningful in one."""
        told = self.alarm or max(self.answer or Severity.NONE, self.found or Severity.NONE) >= CRISIS
        return told or self.ideation is None or self.ideation >= _SURE or (self.severity or Severity.NONE) > CRISIS

    @property
    def source(self) -> Source:
        """Who noticed the crisis; only meaningful in one."""
        return "backstop" if self.alarm else "classifier"

    @property
    def risk(self) -> Mapping[Severity, float]:
        """Probabilities of the risk head alone, whatever phrases were found: of the whole message or the sentence that
        decided. Empty mapping without an assessment."""
        return self.assessment.decided_by(self.thresholds.risk) if self.assessment else {}

    @property
    def emotions(self) -> list[Emotion]:
        return self.assessment.emotions(self.thresholds.emotion) if self.assessment else []

    @property
    def labels(self) -> tuple[Label, ...] | None:
        """Labels of the emotions, the most probable first. None without an assessment."""
        return tuple(emotion.label for emotion in self.emotions) if self.assessment else None

    @property
    def act(self) -> Act | None:
        """What the message does where it tells of nothing. None where there is any risk."""
        quiet = self.assessment is not None and self.severity is Severity.NONE
        return self.assessment.act if self.assessment and quiet else None

    @property
    def about(self) -> Mapping[Subject, float]:
        """Probability that the message is about each subject, by the classifier and its words."""
        return subjects.weighed(self.assessment.subjects if self.assessment else {}, self.words.subjects)

    @property
    def subject(self) -> Subject | None:
        """What the message is about, by the classifier and its words; a short answer to a question: what that is about,
        or the message before it was. None where there is any risk, or none is known."""
        if self.assessment is None or self.severity is not Severity.NONE:
            return None
        own = subjects.likely(self.about)
        if own or self.assessment.act or (self.with_question is None and self.answer is None):
            return own
        asked = subjects.likely(self.with_question.subjects) if self.with_question else None
        return asked or (subjects.known(self.memory.subject) if self.memory else None)

    @property
    def valence(self) -> int:
        return valence(self.labels or ())

    @property
    def felt(self) -> Felt:
        """How the message sounds, as far as that is sure. All unknown without an assessment."""
        return felt(self.assessment.groups, self.words.gladness) if self.assessment else Felt()

    @property
    def shift(self) -> int | None:
        """Change of the valence since the previous turn; None where either is unknown."""
        before = self.memory.valence if self.memory else None
        return None if before is None or self.labels is None else self.valence - before


def sober(reading: Reading) -> Reading:
    """The reading without positive emotions and acts: a model that is told of joy in a crisis may congratulate, and one
    that is told of a goodbye bid farewell."""
    assessment, memory = reading.assessment, reading.memory
    if assessment is not None:
        assessment = replace(
            assessment,
            groups={g: _ABSENT if g in POSITIVE else columns for g, columns in assessment.groups.items()},
            acts={},
        )
    if memory is not None:
        memory = replace(
            memory,
            labels=memory.labels and negative(memory.labels),
            analysis=memory.analysis and memory.analysis.sober,
        )
    return replace(reading, assessment=assessment, memory=memory, words=Told())


_ABSENT = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Decision:
    """Router's decision: which mode answers, and why."""

    mode: Mode
    reason: Reason
    crisis: bool
    """Whether the turn is a crisis: then it is answered with resources, whatever fails and whichever mode is pinned."""


@dataclass(frozen=True, slots=True)
class StageInputs:
    """Inputs of a stage's prompt: all that it may show; the pack chooses what it shows."""

    conversation: Conversation
    reading: Reading | None = None
    """None for prompts built from the conversation alone."""
    analysis: EmotionAnalysis | None = None
    rounds: tuple[Round, ...] = ()
    """Rounds of this turn that the review refused, oldest first."""
    draft: Draft | None = None
    reactions: tuple[Reaction, ...] = ()
    earlier: Mapping[int, PastTurn] = field(default_factory=dict)
    """Earlier turns that memory knows, by the place of their reply among the utterances."""


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """Result of Agent Mode: the analysis, and every round."""

    analysis: EmotionAnalysis
    rounds: tuple[Round, ...]

    @property
    def passed(self) -> bool:
        return self.rounds[-1].review.passed

    @property
    def response(self) -> str:
        """Text of the last draft. It may be sent only if `passed`."""
        return self.rounds[-1].draft.response


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Token of an answer and its log probability. The `bytes` of several may add up to one character."""

    text: str
    bytes: bytes
    """UTF-8 bytes; empty for a special token, such as the end of sequence, which is not in the answer's text."""
    logprob: float
    top: tuple["TokenLogprob", ...] = ()
    """Most probable tokens at this position, the likeliest first. They have no `top` of their own."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One reply to a turn. `content_filter`: the guard or the moderation withheld it, or its rest; not in a crisis."""

    text: str
    finish_reason: Literal["stop", "length", "content_filter"]
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Log probabilities of its tokens, if asked for and if the text is the model's own, unchanged."""
    own: str = ""
    """The model's words in it, where fixed ones stand beside them; else empty."""
    cause: Cause | None = None
    """What was found in the model's text, by the output guard or the third head."""
    blocked: bool = False
    """Whether the text was withheld, or its rest, for that."""
    withheld: int = 0
    """Sentences left out, for a contact in them that nobody gave the model."""
    fallback: bool = False
    """Whether all of it is fixed words."""
    cut: bool = False
    """Whether it broke off, and ends with its last whole sentence or a fixed one."""
    thinking: str = ""
    """What the model thought before it, where the pack shows that again in later turns."""


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """Piece of a reply on its way to the client. `index`: the choice it belongs to."""

    index: int = 0
    content: str = ""
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Log probabilities of the content's tokens, if asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Result of a turn: what the seeker reads, and what it was made from."""

    choices: tuple[Choice, ...]
    reading: Reading
    decision: Decision
    session: str | None = None
    """Session id that the memory is kept under; None if it is not kept."""
    agent: AgentOutcome | None = None
    """None in LLM Mode, or if Agent Mode failed."""
    resources: tuple[Resource, ...] = ()
    """Rows of the policy's table that are in the reply."""

    @property
    def rounds(self) -> int:
        """Number of drafts that were reviewed."""
        return len(self.agent.rounds) if self.agent else 0

    @property
    def passed(self) -> bool | None:
        """Whether the last draft passed its review; None without a review."""
        return self.agent.passed if self.agent else None

    @property
    def fallback(self) -> bool:
        """Whether every choice is fixed words alone."""
        return all(choice.fallback for choice in self.choices)


@dataclass(frozen=True, slots=True)
class ReplyModeration:
    """Risk of one reply; at least a crisis if a phrase of the backstop is in it."""

    severity: Severity
    scores: Mapping[Severity, float]
    """As `Reading.scores`."""

    @property
    def flagged(self) -> bool:
        return self.severity >= CRISIS


@dataclass(frozen=True, slots=True)
class CrisisTurn:
    """Escalation event of a turn, however it ended. Tenant, episode and event make its id, so a resend has the same."""

    event: Event
    episode: str
    """Keyed hash of the conversation up to the line that began the episode."""
    conversation: Conversation
    reading: Reading
    mode: Mode
    answered: Answered
    request_id: str
    tenant: str
    session_id: str | None
    """Session id of the turn; None if it ended before one was assigned."""
    client_session_id: str | None
    """Session id that the client sent."""
    end_user: str | None
    """Speaker's id, as the client sent it."""
    resources_locale: str
    """Key of the policy's resources that were chosen for the seeker."""

    @property
    def severity(self) -> Severity:
        """Severity of the reading; at least a crisis, unless the event is of a turn that is none."""
        least = Severity.NONE if self.event in ("over", "rising") else CRISIS
        return max(self.reading.severity or least, least)
