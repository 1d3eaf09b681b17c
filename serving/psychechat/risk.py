"""Risk severity in the order of the Columbia scale, and what the classifier's probabilities say of it.

The server detects and routes. A severity is a reason to take more care, never a diagnosis.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Literal, get_args

SeverityName = Literal["none", "indicator", "ideation", "behavior", "attempt"]
_NAMES: Sequence[SeverityName] = get_args(SeverityName)


class Severity(IntEnum):
    """Ordered: a higher value is never less urgent."""

    NONE = 0
    INDICATOR = 1
    IDEATION = 2
    BEHAVIOR = 3
    ATTEMPT = 4

    @property
    def label(self) -> SeverityName:
        return _NAMES[self]


CRISIS = Severity.IDEATION
"""From this severity on a turn is a crisis turn."""


def at_least(probabilities: Mapping[Severity, float], severity: Severity) -> float:
    """The probability that the severity is this one or worse."""
    return sum(p for s, p in probabilities.items() if s >= severity)


def level(probabilities: Mapping[Severity, float], thresholds: Mapping[Severity, float]) -> Severity:
    """The worst severity whose cumulative probability (it or worse) reaches its threshold.

    Cumulative, because missing a crisis costs more than naming it one step too high.
    """
    for severity in sorted(Severity, reverse=True):
        if severity is Severity.NONE:
            break
        if at_least(probabilities, severity) >= thresholds[severity]:
            return severity
    return Severity.NONE
