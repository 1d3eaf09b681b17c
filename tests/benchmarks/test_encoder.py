"""What is told of two engines: ratios round by round, and decisions against the labels."""

from dataclasses import replace

from benchmarks.encoder import SIDES, compared, ratios
from models.data import Example
from psychechat.conversation import Assessment
from psychechat.emotion import Group
from psychechat.risk import Severity

CALM = Assessment(
    dict.fromkeys(Group, (0.97, 0.01, 0.01, 0.01)),
    dict(zip(Severity, (0.96, 0.01, 0.01, 0.01, 0.01), strict=True)),
)
GRAVE = replace(CALM, risk=dict(zip(Severity, (0.1, 0.1, 0.6, 0.1, 0.1), strict=True)))
JOYFUL = replace(CALM, groups={**CALM.groups, Group.JOY: (0.1, 0.7, 0.1, 0.1)})


def test_ratios_are_of_one_round_whoever_went_first() -> None:
    times = {SIDES[0]: (10.0, 40.0, 30.0), SIDES[1]: (5.0, 10.0, 60.0)}
    rows = [
        {"round": number, "side": side, "load": "single", "p50_ms": p50, "texts_s": 1000 / p50, "cpu_ms": p50}
        for side in reversed(SIDES)
        for number, p50 in reversed(list(enumerate(times[side])))
    ]
    assert ratios(rows, "single") == {"p50_ms": 0.5, "texts_s": 2.0, "cpu_ms": 0.5}


def test_decisions_are_counted_on_each_side() -> None:
    labels = (Severity.IDEATION, Severity.NONE, Severity.NONE, -1)
    examples = [Example(f"{n}", "own", "dev", risk=int(label)) for n, label in enumerate(labels)]
    found = compared([GRAVE, CALM, CALM, CALM], [GRAVE, CALM, GRAVE, JOYFUL], examples)
    assert found["labelled crises"] == 1
    assert found["labelled crises seen"] == [1, 1]
    assert found["false alarms"] == [0, 1]
    assert found["crises that differ"] == found["severities that differ"] == 1
    assert found["groups found by one side alone"] == 1
    assert found["emotion, largest difference"] == 0.87
    assert found["risk, largest difference"] == 0.86  # P(indicator or worse)
