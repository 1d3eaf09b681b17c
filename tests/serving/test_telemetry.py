"""What dashboards and alerts rely on: the names and labels that docs/operations.md promises, and what is there at 0."""

import re
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from psychechat.engines.base import StageName
from psychechat.telemetry import EMOTIONS, STAGES, Metrics

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_documentation_lists_every_metric_with_its_labels() -> None:
    ours = {
        next(iter(metric.describe())).name + ("_total" if isinstance(metric, Counter) else ""): set(metric._labelnames)
        for metric in vars(Metrics()).values()
        if isinstance(metric, Counter | Gauge | Histogram)
    }
    rows = re.findall(r"^\| `(psychechat_\w+)` \|([^|]*)\|", OPERATIONS.read_text("utf-8"), re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == ours


def test_what_alerts_watch_is_there_before_it_happens() -> None:
    text = Metrics().exposition().decode()
    assert "psychechat_crisis_turns_refused_total 0.0" in text
    assert 'psychechat_config_refused{part="keys"} 0.0' in text
    assert 'psychechat_classifier_failures_total{cause="late"} 0.0' in text
    assert 'psychechat_risk_turns_total{level="unknown"} 0.0' in text
    assert text.count("psychechat_emotions_total{") == len(EMOTIONS) == 24
    assert tuple(StageName) == STAGES
