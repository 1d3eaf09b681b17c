"""The demo's classifier on fresh messages of which all is told: `messages-LANGUAGE.tsv`, by a hand that saw no training
text. Severity, what their writers feel, what they are about, and the text.

The bounds are what was measured, failures and all: a change may tighten them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.readings import assessments
from psychechat.conversation import Assessment
from psychechat.emotion import Group, Label, felt
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity

GLAD = (Group.JOY, Group.TRUST)
HURT = (Group.SADNESS, Group.FEAR, Group.DISGUST, Group.ANGER)


@dataclass(frozen=True, slots=True)
class Message:
    severity: Severity
    group: Group
    """Of the strongest feeling."""
    assessment: Assessment

    @property
    def is_called_a_crisis(self) -> bool:
        return self.assessment.severity(Policy().risk.by_severity) >= CRISIS


@pytest.fixture(scope="module", params=["en", "zh"])
def messages(request: pytest.FixtureRequest, demo_classifier: Path) -> Sequence[Message]:
    file = Path(__file__).with_name(f"messages-{request.param}.tsv")
    rows = [line.split("\t") for line in file.read_text("utf-8").splitlines()]
    read = assessments(demo_classifier, [row[3] for row in rows])
    return [
        Message(Severity[severity.upper()], Label.parse(labels.split("+")[0]).group, found)
        for (severity, labels, *_), found in zip(rows, read, strict=True)
    ]


@pytest.mark.engine
def test_crises_are_heard_and_little_else_is_called_one(messages: Sequence[Message]) -> None:
    """By the classifier alone: the server has phrases too."""
    crises = [message for message in messages if message.severity >= CRISIS]
    others = [message for message in messages if message.severity < CRISIS]
    assert len(crises) >= 60
    assert sum(not message.is_called_a_crisis for message in crises) <= 6
    assert sum(message.is_called_a_crisis for message in others) <= 21


@pytest.mark.engine
def test_gladness_is_told_from_what_hurts(messages: Sequence[Message]) -> None:
    """Sorrow that is answered as joy hurts; the other way round it is only odd."""
    ordinary = [message for message in messages if message.severity < CRISIS]
    glad = [felt(message.assessment.groups).tone for message in ordinary if message.group in GLAD]
    hurt = [felt(message.assessment.groups).tone for message in ordinary if message.group in HURT]
    assert sum(tone == "glad" for tone in glad) >= 18
    assert sum(tone not in ("glad", None) for tone in glad) <= 4
    assert sum(tone == "glad" for tone in hurt) <= 1
