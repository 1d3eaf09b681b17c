"""Which mode answers a turn, and why. A pure function: no clock, no state, no model."""

from typing import Literal

from psychechat.conversation import Decision
from psychechat.policy import Routing
from psychechat.risk import CRISIS, Severity

Requested = Literal["auto", "agent", "llm"]


def choose(
    requested: Requested,
    *,
    severity: Severity | None,
    alarm: bool,
    shift: int | None,
    held: bool = False,
    rising: bool = False,
    busy: bool,
    routing: Routing,
) -> Decision:
    """`severity` None: unknown risk. `alarm`: a phrase of the backstop was found.

    `held`: the conversation has shown a crisis, and not enough calm since. `rising`: its lines add up to more risk than
    the newest one shows.

    `busy`: a turn would have to wait for a permit, so one of low risk does not get Agent Mode for its shift alone.
    """
    crisis = alarm or (severity is not None and severity >= CRISIS)
    if crisis:
        return Decision("llm" if requested == "llm" else "agent", "crisis", crisis=True)
    if requested != "auto":
        return Decision(requested, "pinned", crisis=False)
    if severity is None:
        return Decision("agent", "unknown_risk", crisis=False)
    if held:
        return Decision("llm" if busy else "agent", "held", crisis=False)
    if severity >= routing.raised:
        return Decision("agent", "raised_risk", crisis=False)
    if rising:
        return Decision("agent", "rising", crisis=False)
    if shift is not None and shift <= routing.sharp_shift:
        return Decision("llm", "busy", crisis=False) if busy else Decision("agent", "sharp_shift", crisis=False)
    return Decision("llm", "low_risk", crisis=False)
