"""Telling those who look after crises that there is one: what is told, and to what it is given."""

from dataclasses import dataclass
from typing import Literal, Protocol

from psychechat.conversation import Conversation, Mode, Reply
from psychechat.emotion import Language
from psychechat.risk import Severity

Source = Literal["backstop", "classifier"]
Answered = Literal["reply", "safe_template", "unanswered"]
"""`unanswered`: the client left, or the server stopped, before there was a reply."""


def answered(reply: Reply | None) -> Answered:
    return "unanswered" if reply is None else "safe_template" if reply.fallback else "reply"


@dataclass(frozen=True, slots=True)
class CrisisTurn:
    """A crisis turn that has ended, however it did. `conversation` and who speaks tell turns apart."""

    conversation: Conversation
    request_id: str
    tenant: str
    session_id: str | None
    """None: the turn ended before it had one."""
    named_session: str | None
    end_user: str | None
    """Who the client says is speaking."""
    source: Source
    severity: Severity
    mode: Mode
    answered: Answered
    language: Language
    locale: str
    """The entry of the policy's resources that is the seeker's."""


class Escalations(Protocol):
    """Returns at once: whoever must know is told beside the turns."""

    def escalate(self, turn: CrisisTurn) -> None: ...
