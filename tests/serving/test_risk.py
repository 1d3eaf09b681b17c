import pytest

from psychechat.policy import RiskThresholds
from psychechat.risk import Severity, level

THRESHOLDS = RiskThresholds(indicator=0.5, ideation=0.3, behavior=0.4, attempt=0.6).by_severity


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((1.0, 0.0, 0.0, 0.0, 0.0), Severity.NONE),
        ((0.45, 0.3, 0.25, 0.0, 0.0), Severity.INDICATOR),
        ((0.69, 0.0, 0.1, 0.1, 0.11), Severity.IDEATION),  # none is likeliest, and ideation or worse still counts
        ((0.5, 0.0, 0.1, 0.2, 0.2), Severity.BEHAVIOR),  # behavior and attempt add up
        ((0.1, 0.1, 0.1, 0.05, 0.65), Severity.ATTEMPT),
    ],
)
def test_the_worst_severity_whose_cumulative_share_reaches_its_threshold(
    shares: tuple[float, ...], expected: Severity
) -> None:
    assert level(dict(zip(Severity, shares, strict=True)), THRESHOLDS) is expected
