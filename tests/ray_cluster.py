"""A Ray of its own for a test, as an operator starts one: `ray start`, and `serve deploy` to its dashboard."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Cluster:
    dashboard: str
    folder: Path
    port: int
    """For Serve to listen on; nobody does yet."""
    gcs: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def deploy(self, config: Mapping[str, Any]) -> None:
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump(dict(config)))
        subprocess.run([BIN / "serve", "deploy", file, "--address", self.dashboard], check=True, timeout=120)

    def application(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.dashboard}/api/serve/applications/", timeout=30).json()
        application: dict[str, Any] = answer["applications"].get("psychechat", {})
        return application

    def replicas(self) -> dict[str, list[str]]:
        """The ids of the running replicas, by deployment."""
        return {
            name: sorted(replica["replica_id"] for replica in found["replicas"])
            for name, found in self.application()["deployments"].items()
        }

    def wait_until_ready(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not _answers(f"{self.url}/ready"):
            assert self.application().get("status") != "DEPLOY_FAILED", self.application()["message"]
            assert time.monotonic() < deadline, f"not ready: {self.application().get('deployments')}"
            time.sleep(0.5)


@contextmanager
def ray_head(
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    cpus: int = 2,
    resources: str = "{}",
    prefix: Sequence[str] = (),
) -> Iterator[Cluster]:
    """`folder` should be a short path: Ray puts sockets below it.

    Ports are free ones. `prefix` stands before the command.
    """
    gcs, dashboard, port, *others = free_ports(8)
    start = ["--head", f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={folder / 'ray'}"]
    cluster = Cluster(f"http://127.0.0.1:{dashboard}", folder, port, f"127.0.0.1:{gcs}")
    with _node(folder / "head.log", start, others, env or {}, cpus, resources, prefix) as head:
        deadline = time.monotonic() + 120
        while not _answers(f"{cluster.dashboard}/api/version"):
            assert head.poll() is None, (folder / "head.log").read_text()
            assert time.monotonic() < deadline, "Ray's dashboard did not answer"
            time.sleep(0.5)
        yield cluster


@contextmanager
def ray_worker(cluster: Cluster, name: str, *, cpus: int = 2, resources: str = "{}") -> Iterator[str]:
    """One more node. What is yielded is the URL of the HAProxy that Serve gives it."""
    port, *others = free_ports(6)
    env = {"RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(port)}
    start = [f"--address={cluster.gcs}"]
    with _node(cluster.folder / f"{name}.log", start, others, env, cpus, resources):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _node(
    log: Path,
    start: list[str],
    ports: list[int],
    env: Mapping[str, str],
    cpus: int,
    resources: str,
    prefix: Sequence[str] = (),
) -> Iterator["subprocess.Popen[bytes]"]:
    stats, metrics, fallback, fallback_grpc, agent = ports
    environment = os.environ | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        **env,
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
    }
    command: list[str | Path] = [
        *prefix,
        BIN / "ray",
        "start",
        "--block",
        *start,
        f"--num-cpus={cpus}",
        f"--resources={resources}",
    ]
    command += [f"--dashboard-agent-listen-port={agent}", "--object-store-memory=100000000"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        yield process
    finally:
        # Not gracefully: Ray would give each replica its time.
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait(60)
        psutil.wait_procs(started, 30)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        free = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [listening.getsockname()[1] for listening in free]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
