"""Alerts and dashboards as files. tests/e2e/test_prometheus.py puts each of their questions to a running server."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.dashboards import build

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "rules" / "psychechat.yaml"
PAGE = ROOT / "docs" / "operations.md"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not there: `make tools` installs Prometheus on Debian"
)


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before() -> None:
    """The cases are in `rules_test.yaml`."""
    cases = Path(__file__).with_name("rules_test.yaml")
    done = subprocess.run(["promtool", "test", "rules", str(cases)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_unit_tested() -> None:
    cases = Path(__file__).with_name("rules_test.yaml").read_text("utf-8")
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", cases))
    assert fired == {alert["alert"] for alert in _alerts()}


def _runbooks() -> dict[str, str]:
    """What `runbook_url` points to, and what stands there."""
    _, *headed = re.split(r"^### (PsycheChat\w+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    names, texts = headed[::2], headed[1::2]
    return {f"docs/operations.md#{name.lower()}": name + text for name, text in zip(names, texts, strict=True)}


def test_every_alert_has_a_runbook() -> None:
    assert {alert["annotations"]["runbook_url"] for alert in _alerts()} == set(_runbooks())


def test_every_alert_is_named_in_its_runbook_and_in_the_table_above_them() -> None:
    """Who is woken by a name looks for that name."""
    runbooks = _runbooks()
    for alert in _alerts():
        assert re.search(rf"\b{alert['alert']}\b", runbooks[alert["annotations"]["runbook_url"]])
    rows = re.findall(r"^\| `(PsycheChat\w+)` \| \[\w+\]\((#\w+)\) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [(name, f"docs/operations.md{anchor}") for name, anchor in rows] == [
        (alert["alert"], alert["annotations"]["runbook_url"]) for alert in _alerts()
    ]


def test_the_dashboards_are_as_their_script_writes_them() -> None:
    written = {path.name: path.read_text("utf-8") for path in build.FOLDER.glob("*.json")}
    assert written == {path.name: text for path, text in build.files()}, "run `python -m helm.dashboards.build`"
