"""Escalation: which turns those who look after crises are told of, and the interface by which they are."""

from typing import Protocol

from psychechat.conversation import Answered, CrisisTurn, Event, Reading, Reply
from psychechat.risk import HoldRules, LineReading, RiskState, gravity, next_state
from psychechat.safety.conversation_risk import Before


class Escalations(Protocol):
    """Receiver of turns. `escalate` returns at once; delivery happens in the background."""

    def escalate(self, turn: CrisisTurn) -> None: ...


def answered(reply: Reply | None) -> Answered:
    return "unanswered" if reply is None else "safe_template" if reply.fallback else "reply"


def happened(
    reading: Reading, before: Before | None, line: LineReading | None, *, followed: bool
) -> tuple[Event | None, str | None]:
    """The turn's event, and its episode: None is the one that the turn's own line begins.

    Only where the conversation is `followed` and memory knows what came before is a crisis part of an episode that was
    told of. Elsewhere each is told. So is each of somebody who speaks of another person: it holds nothing.
    """
    if reading.in_crisis and (not followed or before is None or reading.kind == "other_person"):
        return "started", None
    if before is None:
        return None, None
    if before.own is None or line is None:
        first, after = before.state, reading.conversation
    else:
        first, after = before.own, next_state(before.own, [line], HoldRules())
    event = transition(first, after, crisis=reading.in_crisis)
    if not followed:
        return ("rising" if event == "rising" else None), None
    if event == "continued" and before.own is not None:
        event = "started"
    return event, None if event == "rising" else after.episode or first.episode


def transition(before: RiskState, after: RiskState, *, crisis: bool) -> Event | None:
    """What became of the conversation with its newest line. `crisis`: whether that is one."""
    if before.held != after.held:
        return "started" if after.held else "over"
    if crisis:
        is_worse = after.peak > before.peak or gravity(after.kind) > gravity(before.kind)
        return "worse" if is_worse else "continued"
    return "rising" if after.is_rising and not before.is_rising else None
