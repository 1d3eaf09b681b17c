"""The classifier on sentences that were written to test it: `tests/models/risk_sentences.yaml`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from models.readings import assessments
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat.safety.crisis import alarm

SENTENCES = Path(__file__).resolve().parents[1] / "tests" / "models" / "risk_sentences.yaml"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text that must reach `low` at least and `high` at most."""

    text: str
    kind: str
    language: str
    low: Severity
    high: Severity

    @property
    def crisis(self) -> bool:
        return self.low >= CRISIS

    def holds(self, severity: Severity) -> bool:
        return self.low <= severity <= self.high


def read(path: Path = SENTENCES) -> list[Sentence]:
    sentences = []
    for kind, languages in yaml.safe_load(path.read_text("utf-8")).items():
        for language, bounds in languages.items():
            for bound, texts in bounds.items():
                which, _, name = bound.rpartition(" ")
                severity = Severity[name.upper()]
                low = severity if which == "at least" else Severity.NONE
                high = severity if which == "at most" else Severity.ATTEMPT
                sentences += [Sentence(text, kind, language, low, high) for text in texts]
    return sentences


def severities(folder: Path, policy: Policy, sentences: Sequence[Sentence]) -> list[Severity]:
    """The classifier's severity for each text and its sentences, without the phrases of the backstop."""
    read = assessments(folder, [sentence.text for sentence in sentences])
    return [assessment.severity(policy.risk.by_severity) for assessment in read]


def counts(folder: Path, policy: Policy) -> dict[str, dict[str, int]]:
    """By kind and language: sentences, those within their bounds, crises missed and false alarms.

    `server` counts a crisis as the server does: by the classifier or by a phrase of the backstop.
    """
    sentences = read()
    table: dict[str, Counter[str]] = {}
    for sentence, severity in zip(sentences, severities(folder, policy, sentences), strict=True):
        called = {"classifier": severity >= CRISIS}
        called["server"] = called["classifier"] or alarm(sentence.text, policy.crisis.backstop)
        for name in ("all", f"{sentence.kind}, {sentence.language}"):
            row = table.setdefault(name, Counter())
            row["sentences"] += 1
            row["within_bounds"] += sentence.holds(severity)
            row["crises"] += sentence.crisis
            row["no_crises"] += sentence.high < CRISIS
            for who, alarmed in called.items():
                row[f"missed_by_{who}"] += sentence.crisis and not alarmed
                row[f"false_alarms_by_{who}"] += sentence.high < CRISIS and alarmed
    return {name: dict(row) for name, row in table.items()}
