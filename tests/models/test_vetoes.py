"""What is counted of the classifier's veto."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from models import vetoes
from models.vetoes import Row, Text, rows
from psychechat.conversation import Assessment
from psychechat.engines.scripted import assessment
from psychechat.risk import Severity

QUEUE = "This queue makes me want to die."


def test_a_lost_crisis_and_a_spared_alarm_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier is sure that all is calm, but for one text."""

    def read(folder: Path, texts: Sequence[str]) -> list[Assessment]:
        grave = replace(assessment(), risk={Severity.NONE: 0.0, Severity.ATTEMPT: 1.0})
        return [grave if "truly" in text else assessment() for text in texts]

    monkeypatch.setattr(vetoes, "assessments", read)
    known = [
        Text("I want to die.", "one", crisis=True),
        Text("I truly want to die.", "one", crisis=True),
        Text("I took an overdose an hour ago.", "one", crisis=True),
        Text("No phrase, and missed.", "one", crisis=True),
        Text(QUEUE, "one", crisis=False),
        Text("A calm day.", "two", crisis=False),
    ]
    one, two = rows(Path(), known, below=0.05)
    assert one == Row("one", crises=4, found=3, lost=1, others=1, called=1, called_still=0)
    assert two == Row("two", crises=0, found=0, lost=0, others=1, called=0, called_still=0)
    assert rows(Path(), known, below=0.0)[0] == replace(one, lost=0, called_still=1)
