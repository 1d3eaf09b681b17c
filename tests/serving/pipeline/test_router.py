import pytest

from psychechat.conversation import Decision
from psychechat.pipeline.router import Requested, choose
from psychechat.policy import Routing
from psychechat.risk import Severity


@pytest.mark.parametrize(
    ("requested", "severity", "alarm", "shift", "expected"),
    [
        ("auto", Severity.NONE, False, None, Decision("llm", "low_risk", False)),
        ("auto", Severity.NONE, False, -2, Decision("llm", "low_risk", False)),
        ("auto", Severity.NONE, False, -3, Decision("agent", "sharp_shift", False)),
        ("auto", Severity.NONE, False, 6, Decision("llm", "low_risk", False)),  # a rise is no alarm
        ("auto", Severity.INDICATOR, False, None, Decision("agent", "raised_risk", False)),
        ("auto", Severity.IDEATION, False, None, Decision("agent", "crisis", True)),
        ("auto", Severity.NONE, True, None, Decision("agent", "crisis", True)),  # the backstop overrules
        ("auto", None, False, None, Decision("agent", "unknown_risk", False)),
        ("auto", None, True, None, Decision("agent", "crisis", True)),
        ("llm", Severity.INDICATOR, False, -9, Decision("llm", "pinned", False)),
        ("agent", Severity.NONE, False, None, Decision("agent", "pinned", False)),
        ("llm", Severity.ATTEMPT, False, None, Decision("llm", "crisis", True)),  # pins the mode, not the safety
        ("llm", None, False, None, Decision("llm", "pinned", False)),
    ],
)
def test_choose(
    requested: Requested, severity: Severity | None, alarm: bool, shift: int | None, expected: Decision
) -> None:
    found = choose(requested, severity=severity, alarm=alarm, shift=shift, busy=False, routing=Routing())
    assert found == expected


def test_a_turn_of_low_risk_gives_up_depth_where_others_wait_and_no_other_does() -> None:
    def busy(severity: Severity | None, requested: Requested = "auto") -> Decision:
        return choose(requested, severity=severity, alarm=False, shift=-5, busy=True, routing=Routing())

    assert busy(Severity.NONE) == Decision("llm", "busy", False)
    assert busy(Severity.NONE, "agent") == Decision("agent", "pinned", False)
    assert busy(Severity.INDICATOR).mode == busy(Severity.IDEATION).mode == busy(None).mode == "agent"
