"""A real Prometheus scrapes the running server, and answers what every dashboard and every alert asks it."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.support.servers import free_port

HELM = Path(__file__).parents[2] / "helm"
VARIABLES = {"$__rate_interval": "1m", "$__range": "5m"}

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not there: `make tools` installs it on Debian"
)


@dataclass
class Prometheus:
    url: str

    def up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=30).is_success
        except httpx.TransportError:
            return False

    def ask(self, expression: str) -> list[Any]:
        """The series that it answers with now."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", answer["error"]
        found: list[Any] = answer["data"]["result"]
        return found


@pytest.fixture(scope="module")
def prometheus(plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    config = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(HELM / "rules" / "*.yaml")],
        "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [httpx.URL(plane).netloc.decode()]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    asked = Prometheus(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 30
        while not asked.up():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield asked
    finally:
        process.terminate()
        process.wait(10)


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

    talk()
    # Nothing has a rate before it was seen twice, and Ray passes metrics on every ten seconds.
    without = _questions()
    deadline = time.monotonic() + 60
    while without and time.monotonic() < deadline:
        time.sleep(3)
        without = {where: asked for where, asked in without.items() if not prometheus.ask(asked)}
    assert not without
    talk()
    assert not prometheus.ask('ALERTS{alertname="PsycheChatCrisisTurnRefused"}')
    assert not prometheus.ask('ALERTS{alertname="PsycheChatUnseen",alertstate="firing"}')
