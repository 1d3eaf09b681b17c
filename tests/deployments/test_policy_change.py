"""A policy and the keys change under traffic, by `serve deploy` as an operator does it; no replica restarts."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
KEPT, WITHDRAWN, ADDED = "psy-kept", "psy-withdrawn", "psy-added"
SCRIPTED = {"engine": "scripted", "replicas": {"num_cpus": 0}}


@dataclass
class Cluster:
    """A Ray of its own, with a dashboard, which is where `serve deploy` goes."""

    dashboard: str
    url: str
    folder: Path
    port: int

    def deploy(self, user_config: dict[str, Any], keys: Sequence[str]) -> None:
        """The keys are `keys_file`'s when the policy changes."""
        named = {f"client-{i}": hashlib.sha256(key.encode()).hexdigest() for i, key in enumerate(keys)}
        (self.folder / "keys.yaml").write_text(yaml.safe_dump(named))
        file = self.folder / "serve.yaml"
        file.write_text(
            yaml.safe_dump(
                {
                    "http_options": {"host": "127.0.0.1", "port": self.port},
                    "applications": [
                        {
                            "name": "psychechat",
                            "import_path": "psychechat_ray.app:build",
                            "args": {
                                "classifier": SCRIPTED,
                                "counselor": SCRIPTED,
                                "ingress": {"num_cpus": 0},
                                "auth": {"keys_file": str(self.folder / "keys.yaml")},
                            },
                            "deployments": [{"name": "ingress", "user_config": user_config}],
                        }
                    ],
                }
            )
        )
        subprocess.run([BIN / "serve", "deploy", file, "--address", self.dashboard], check=True, timeout=120)

    def replicas(self) -> dict[str, list[str]]:
        """The ids of the running replicas, by deployment."""
        answer = httpx.get(f"{self.dashboard}/api/serve/applications/", timeout=30).json()
        deployments = answer["applications"]["psychechat"]["deployments"]
        return {name: sorted(r["replica_id"] for r in found["replicas"]) for name, found in deployments.items()}

    def status(self, key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.get(f"{self.url}/v1/models", headers=headers, timeout=30).status_code

    def reason(self, key: str) -> str:
        body = {"model": "psychechat", "messages": [{"role": "user", "content": "All feels hopeless."}]}
        headers = {"authorization": f"Bearer {key}"}
        response = httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=30)
        assert response.status_code == 200, response.text
        return str(response.json()["psychechat"]["reason"])


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("r")  # short: Ray puts sockets below it
    with ExitStack() as stack:
        free = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(5)]
        gcs, dashboard, port, stats, metrics = (listening.getsockname()[1] for listening in free)
    environment = os.environ | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    command: list[str | Path] = [
        BIN / "ray",
        "start",
        "--head",
        "--block",
        f"--port={gcs}",
        f"--dashboard-port={dashboard}",
    ]
    command += ["--num-cpus=2", "--object-store-memory=100000000", f"--temp-dir={folder / 'ray'}"]
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    cluster = Cluster(f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{port}", folder, port)
    try:
        _wait_for(f"{cluster.dashboard}/api/version")
        yield cluster
    finally:
        head.terminate()
        head.wait(60)


def test_a_policy_change_restarts_nothing_and_loses_no_turn(cluster: Cluster) -> None:
    cluster.deploy({"routing": {"raised_from": "indicator"}}, [KEPT, WITHDRAWN])
    _wait_for(f"{cluster.url}/ready")
    assert cluster.reason(KEPT) == "raised_risk"
    assert [cluster.status(key) for key in (WITHDRAWN, ADDED, "psy-nobody")] == [200, 401, 401]
    before = cluster.replicas()
    assert {name: len(ids) for name, ids in before.items()} == {"ingress": 1, "classifier": 1, "counselor": 1}

    reasons: Counter[str] = Counter()
    stop = threading.Event()

    def traffic() -> None:
        while not stop.is_set():
            try:
                reasons[cluster.reason(KEPT)] += 1
            except Exception as error:
                reasons[f"failed: {type(error).__name__}"] += 1

    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        cluster.deploy({"routing": {"raised_from": "ideation"}}, [KEPT, ADDED])
        deadline = time.monotonic() + 60
        while reasons["low_risk"] < 20 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(reasons) == {"raised_risk", "low_risk"}, json.dumps(reasons)
    assert cluster.reason(KEPT) == "low_risk"
    assert [cluster.status(key) for key in (WITHDRAWN, ADDED, "psy-nobody")] == [401, 200, 401]
    assert cluster.replicas() == before


def _wait_for(url: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"{url} did not answer"
        time.sleep(0.5)
