"""The hand-offs of a turn, in the order in which they come into being. All are frozen: a stage makes a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import isfinite
from typing import Literal

from psychechat.emotion import Emotion, Group, Label, Language, decode, valence
from psychechat.risk import Severity, level

Speaker = Literal["seeker", "counselor"]
Phase = Literal["exploration", "insight", "action"]
ReactionType = Literal["normal", "silent", "sentimental", "hostile"]
Mode = Literal["agent", "llm"]
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
    found: Cause | None = None
    """What the output guard found in what the model wrote."""
    fallback: bool = False
    """Whether this is the safe template."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a turn: what the seeker reads and what was found on the way."""

    choices: tuple[Choice, ...]
    mode: Mode
    reason: str
    """Why the router took this mode, one of `pipeline.router.Reason`."""
    session: str | None = None
    """What this turn is remembered as, and can be forgotten by; None where it is not."""
    emotions: Sequence[Emotion] = ()
    valence: int = 0
    shift: int | None = None
    """Change of the valence since the previous turn; None where there is no previous turn in memory."""
    severity: Severity | None = None
    """None: unknown, because the classifier gave no answer."""
    risk: Mapping[Severity, float] = field(default_factory=dict)
    rounds: int = 0
    """Drafts that were reviewed; 0 in LLM Mode."""
    passed: bool | None = None
    """Whether the last draft passed its review; None without a review."""

    @property
    def fallback(self) -> bool:
        """Whether the safe template answered, in every choice."""
        return all(choice.fallback for choice in self.choices)
