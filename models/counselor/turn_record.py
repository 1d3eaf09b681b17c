"""One turn to learn from: what its stages read, and what each of them should answer."""

from dataclasses import dataclass

from psychechat.conversation import Act, Conversation, Draft, EmotionAnalysis, EmotionMemory, Reaction, Review, Round
from psychechat.emotion import Label
from psychechat.risk import Severity


@dataclass(frozen=True)
class TurnRecord:
    """All hand-offs of one turn, each as its stage should produce it."""

    conversation: Conversation
    memory: EmotionMemory | None
    severity: Severity
    analysis: EmotionAnalysis
    refused: tuple[Round, ...]
    draft: Draft
    reactions: tuple[Reaction, ...]
    review: Review
    thinking: str
    reply: str
    found: tuple[Label, ...] | None = None
    """What the classifier finds in the newest message; None: nobody has asked it."""
    act: Act | None = None
    """The dialogue act that it is taken for."""
    judged: Draft | None = None
    """The draft that is imagined to be heard and reviewed, where it is another one; it passes."""
