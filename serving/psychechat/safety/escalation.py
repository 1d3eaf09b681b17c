"""Telling those who look after crises that there is one."""

from typing import Protocol

from psychechat.conversation import Answered, CrisisTurn, Reply


class Escalations(Protocol):
    """Returns at once: whoever must know is told beside the turns."""

    def escalate(self, turn: CrisisTurn) -> None: ...


def answered(reply: Reply | None) -> Answered:
    return "unanswered" if reply is None else "safe_template" if reply.fallback else "reply"
