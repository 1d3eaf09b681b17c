"""Escalation: the interface by which crisis turns are reported to those who look after crises."""

from typing import Protocol

from psychechat.conversation import Answered, CrisisTurn, Reply


class Escalations(Protocol):
    """Receiver of crisis turns. `escalate` returns at once; delivery happens in the background."""

    def escalate(self, turn: CrisisTurn) -> None: ...


def answered(reply: Reply | None) -> Answered:
    return "unanswered" if reply is None else "safe_template" if reply.fallback else "reply"
