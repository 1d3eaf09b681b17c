"""A real Prometheus that scrapes a server and evaluates our rules."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.servers import POLL_SECONDS, answers, free_port

RULES = Path(__file__).parents[2] / "helm" / "rules"


def is_installed() -> bool:
    return shutil.which("prometheus") is not None


@dataclass
class Prometheus:
    url: str

    def ask(self, expression: str) -> list[Any]:
        """The series that it answers with now."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", answer["error"]
        found: list[Any] = answer["data"]["result"]
        return found


@contextmanager
def watching(metrics: str, folder: Path) -> Iterator[Prometheus]:
    """`metrics` is where the server has them. Prometheus's own files lie in `folder`."""
    config = {
        # A scrape may take as long as the time between two, and takes seconds where tests load every core.
        "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "2s"},
        "rule_files": [str(RULES / "*.yaml")],
        "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [httpx.URL(metrics).netloc.decode()]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    asked = Prometheus(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 30
        while not answers(f"{asked.url}/-/ready"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        yield asked
    finally:
        process.terminate()
        process.wait(10)
