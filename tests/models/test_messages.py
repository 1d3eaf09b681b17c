"""The demo's classifier on fresh messages of which all is told: `messages-LANGUAGE.tsv`, by a hand that saw no training
text. Severity, what their writers feel, the subject, the topics of the reply banks that would be right (`/` between
them, `-` for none; by a second hand, of those without a crisis), and the text.

The bounds are what was measured, failures and all: a change may tighten them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.readings import assessments
from psychechat import ngrams
from psychechat.conversation import Assessment, Reading
from psychechat.emotion import Group, Label
from psychechat.help import subjects
from psychechat.policy import Policy
from psychechat.reply_bank import load, topics
from psychechat.risk import CRISIS, Severity

GLAD = (Group.JOY, Group.TRUST)
HURT = (Group.SADNESS, Group.FEAR, Group.DISGUST, Group.ANGER)


@dataclass(frozen=True, slots=True)
class Message:
    severity: Severity
    group: Group
    """Of the strongest feeling."""
    subject: str
    topics: Sequence[str]
    text: str
    reading: Reading

    @property
    def assessment(self) -> Assessment:
        assert self.reading.assessment
        return self.reading.assessment

    @property
    def is_called_a_crisis(self) -> bool:
        return self.assessment.severity(Policy().risk.by_severity) >= CRISIS


@pytest.fixture(scope="module", params=["en", "zh"])
def messages(request: pytest.FixtureRequest, demo_classifier: Path) -> Sequence[Message]:
    file = Path(__file__).with_name(f"messages-{request.param}.tsv")
    rows = [line.split("\t") for line in file.read_text("utf-8").splitlines()]
    read = assessments(demo_classifier, [row[-1] for row in rows])
    return [
        Message(
            Severity[severity.upper()],
            Label.parse(labels.split("+")[0]).group,
            subject,
            topics.split("/"),
            text,
            Reading(request.param, Policy().thresholds, assessment=found, words=ngrams.told(text)),
        )
        for (severity, labels, subject, topics, text), found in zip(rows, read, strict=True)
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
    glad = [message.reading.felt.tone for message in ordinary if message.group in GLAD]
    hurt = [message.reading.felt.tone for message in ordinary if message.group in HURT]
    assert sum(tone == "glad" for tone in glad) >= 22
    assert sum(tone not in ("glad", None) for tone in glad) <= 5
    assert sum(tone == "glad" for tone in hurt) == 0


@pytest.mark.engine
def test_what_they_are_about_is_told_of_some_and_mostly_right(messages: Sequence[Message]) -> None:
    ordinary = [message for message in messages if message.severity < CRISIS]
    told = [(subjects.likely(message.reading.about), message.subject) for message in ordinary]
    told = [(name, true) for name, true in told if name]
    assert len(told) >= 0.45 * len(ordinary)
    assert sum(name == true for name, true in told) >= 0.78 * len(told)


@pytest.mark.engine
def test_topics_are_told_of_some_and_mostly_right(messages: Sequence[Message]) -> None:
    bank = load(messages[0].reading.language)
    names = {id(topic): name for name, topic in bank.topics.items()}
    ordinary = [message for message in messages if message.severity < CRISIS]
    told = [(topics.likely(bank, message.text, message.reading), message.topics) for message in ordinary]
    named = [(names[id(topic)], true) for topic, true in told if topic]
    assert len(named) >= 0.21 * len(ordinary)
    assert sum(name in true for name, true in named) >= 0.7 * len(named)
