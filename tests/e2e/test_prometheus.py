"""A real Prometheus scrapes the running server, and answers what every dashboard and every alert asks it."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path

import openai
import pytest
import yaml

from tests.support.prometheus import Prometheus, is_installed

HELM = Path(__file__).parents[2] / "helm"
VARIABLES = {"$__rate_interval": "1m", "$__range": "5m"}

pytestmark = pytest.mark.skipif(
    not is_installed(), reason="prometheus is not there: `make tools` installs it on Debian"
)


def _questions() -> Mapping[str, str]:
    """By where they stand. An alert's bound is left out: what is below it must be seen as well."""
    asked = {}
    for path in sorted((HELM / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel["targets"]:
                asked[f"{path.stem}: {panel['title']} {target['refId']}"] = target["expr"]
    for path in sorted((HELM / "rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                name = rule.get("record") or rule["alert"]
                asked[f"{path.stem}: {name}"] = re.sub(r" [<>] [0-9.]+", "", rule["expr"]) if "alert" in rule else name
    for variable, value in VARIABLES.items():
        asked = {where: expression.replace(variable, value) for where, expression in asked.items()}
    return asked


def test_every_dashboard_and_every_alert_has_data(prometheus: Prometheus, client: openai.OpenAI) -> None:
    def talk() -> None:
        for model, words in (
            ("psychechat-llm", "I went for a walk."),
            ("psychechat-agent", "I am worried about my exam."),
            ("psychechat", "I want to die."),
        ):
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": words}])

    # Nothing has a rate before it was seen twice, an alert looks at whole minutes, and Ray forgets the gauges of an
    # engine that has nothing to do.
    without = _questions()
    deadline = time.monotonic() + 240
    while without:
        assert time.monotonic() < deadline, without
        talk()
        without = {where: asked for where, asked in without.items() if not prometheus.ask(asked)}
    talk()
    assert not prometheus.ask('ALERTS{alertname="PsycheChatCrisisTurnRefused"}')
    assert not prometheus.ask('ALERTS{alertname="PsycheChatUnseen",alertstate="firing"}')
