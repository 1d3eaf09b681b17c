"""A Ray of its own, as an operator starts one: `ray start` on a node or two, and `serve deploy` to its dashboard."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from psychechat_ray.ports import is_free
from tests.support.servers import POLL_SECONDS, answers, free_port, free_ports, wait_until

BIN = Path(sys.executable).parent
DEPLOYMENTS = ("ingress", "classifier", "counselor")


class Node:
    """One `ray start`, with ports of its own, so that several nodes share a machine. It can be started anew."""

    def __init__(
        self,
        log: Path,
        start: Sequence[str],
        port: int,
        *,
        env: Mapping[str, str],
        cpus: int,
        resources: str,
        prefix: Sequence[str] = (),
    ) -> None:
        """`port` is for the node's HAProxy. `prefix` stands before the command."""
        stats, metrics, fallback, fallback_grpc, agent = free_ports(5)
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = os.environ | {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            **env,
            "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(port),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        }
        self._command: list[str | Path] = [*prefix, BIN / "ray", "start", "--block", *start]
        self._command += [f"--num-cpus={cpus}", f"--resources={resources}"]
        self._command += [f"--dashboard-agent-listen-port={agent}", "--object-store-memory=100000000"]

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=out, env=self._environment)

    @property
    def ended(self) -> bool:
        """By itself."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """All of its processes at once. Nothing of Ray's or Serve's is asked to stop first."""
        if self._process is None:
            return
        family: list[psutil.Process] = []
        # Stopped first, so that none sees another go and starts a third.
        while found := [member for member in self._family() if member not in family]:
            for member in found:
                with suppress(psutil.NoSuchProcess):
                    member.suspend()
            family += found
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self._process.wait(60)
        psutil.wait_procs(family, 30)
        self._process = None

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of the deployment's replicas that live here."""
        title = f"ServeReplica:psychechat:{deployment}"
        return [process for process in self._family() if any(title in part for part in _command(process))]

    def _family(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]


@dataclass
class Cluster:
    dashboard: str
    folder: Path
    port: int
    """For Serve to listen on at the head; nobody does yet."""
    gcs: str
    head: Node
    nodes: list[Node] = field(default_factory=list)
    """All that there are now."""
    _served: Mapping[str, Any] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for_dashboard(self) -> None:
        deadline = time.monotonic() + 120
        while not answers(f"{self.dashboard}/api/version"):
            if self.head.ended:
                raise RuntimeError(self.head.log.read_text())
            if time.monotonic() > deadline:
                raise RuntimeError(f"Ray's dashboard did not answer; see {self.head.log}")
            time.sleep(POLL_SECONDS)

    def config(self, application: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Serve's, with this application alone."""
        options = {"host": "127.0.0.1", "port": self.port}
        return {"http_options": options, "applications": [dict(application)], **more}

    def deploy(self, config: Mapping[str, Any]) -> None:
        self._served = None
        self.wait_for_dashboard()
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump(dict(config)))
        command: list[str | Path] = [BIN / "serve", "deploy", file, "--address", self.dashboard]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)

    def put(self, config: Mapping[str, Any]) -> None:
        """What `serve deploy` does, without the seconds in which that starts."""
        self._served = None
        self.wait_for_dashboard()
        httpx.put(f"{self.dashboard}/api/serve/applications/", json=config, timeout=120).raise_for_status()
        self._served = config

    def serve(self, settings: Mapping[str, Any], **of_each: Any) -> None:
        """Our application, whole, and nothing left of the one before. What is there already stays."""
        config = self.config(application(settings, **AT_ONCE, **of_each))
        if config != self._served:
            self.put(config)
        self.wait_until_whole()

    def application(self) -> dict[str, Any]:
        """As Serve's controller tells it by way of Ray's dashboard, which is asked three times.

        It has been silent for half a minute, twice in one run of all tests, and was well afterwards.
        """
        for wait in (20, 20, 60):
            try:
                found = httpx.get(f"{self.dashboard}/api/serve/applications/", timeout=wait, verify=False).json()
            except httpx.ReadTimeout:
                continue
            application: dict[str, Any] = found["applications"].get("psychechat", {})
            return application
        raise RuntimeError(f"Ray's dashboard does not tell of the application; see {self.head.log}")

    def replicas(self) -> dict[str, list[str]]:
        """The ids of the running replicas, by deployment."""
        return {
            name: sorted(replica["replica_id"] for replica in found["replicas"])
            for name, found in self.application()["deployments"].items()
        }

    def processes(self, deployment: str) -> list[psutil.Process]:
        """Of its replicas, wherever they live."""
        return [process for node in self.nodes for process in node.replicas(deployment)]

    def wait_until_whole(self, seconds: float = 120) -> None:
        """As many replicas as should be, and they answer."""
        wait_until(self._is_whole, seconds, lambda: f"not whole: {self.application()}", every=0.3)

    def _is_whole(self) -> bool:
        application = self.application()
        if application.get("status") == "DEPLOY_FAILED":
            raise RuntimeError(f"{application.get('message')} {application.get('deployments')}")
        found = application.get("deployments", {})
        states = {name: [replica["state"] for replica in one["replicas"]] for name, one in found.items()}
        return (
            application.get("status") == "RUNNING"
            and {state for of_one in states.values() for state in of_one} == {"RUNNING"}
            # Serve hears of a death, and a process has its name, a moment later.
            and all(len(self.processes(name)) == len(of_one) for name, of_one in states.items())
            and answers(f"{self.url}/ready")
        )

    def wait_until_ready(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not answers(f"{self.url}/ready"):
            application = self.application()
            if application.get("status") == "DEPLOY_FAILED" or time.monotonic() > deadline:
                raise RuntimeError(f"not ready: {application.get('message')} {application.get('deployments')}")
            time.sleep(POLL_SECONDS)


HASTE = {"RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "1", "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1"}
"""In the environment of nodes: what drains does not stay for half a minute, for load balancers to notice."""
AT_ONCE: Mapping[str, Any] = {"max_surge_percent": 100, "graceful_shutdown_wait_loop_s": 0.1}
"""New replicas start beside the old ones, which go as soon as they have nothing to do."""


def application(
    settings: Mapping[str, Any], *, user_config: Mapping[str, Any] | None = None, **of_each: Any
) -> dict[str, Any]:
    """Ours in a config of Serve's. `of_each`: what each deployment has beside what the settings say."""
    names = (*DEPLOYMENTS[:-1], *settings["engines"]) if "engines" in settings else DEPLOYMENTS
    deployments: list[dict[str, Any]] = [{"name": name, **of_each} for name in names]
    if user_config is not None:
        deployments[0]["user_config"] = dict(user_config)
    return {
        "name": "psychechat",
        "import_path": "psychechat_ray.app:build",
        "args": dict(settings),
        "deployments": deployments,
    }


@contextmanager
def ray_head(
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    cpus: int = 2,
    resources: str = "{}",
    prefix: Sequence[str] = (),
) -> Iterator[Cluster]:
    """Another node may join it; its dashboard comes some seconds later.

    `folder` should be a short path: Ray puts sockets below it. Ports are free ones.
    """
    gcs, dashboard, port = free_ports(3)
    start = ["--head", f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={folder / 'ray'}"]
    head = Node(folder / "head.log", start, port, env=env or {}, cpus=cpus, resources=resources, prefix=prefix)
    cluster = Cluster(f"http://127.0.0.1:{dashboard}", folder, port, f"127.0.0.1:{gcs}", head)
    try:
        head.start()
        cluster.nodes.append(head)
        wait_until(lambda: head.ended or not is_free("127.0.0.1", gcs), 60, f"no GCS listens; see {head.log}")
        yield cluster
    finally:
        head.kill()


@contextmanager
def ray_worker(
    cluster: Cluster, name: str, *, env: Mapping[str, str] | None = None, cpus: int = 2, resources: str = "{}"
) -> Iterator[Node]:
    """One more node."""
    port = free_port()
    start = [f"--address={cluster.gcs}"]
    node = Node(cluster.folder / f"{name}.log", start, port, env=env or {}, cpus=cpus, resources=resources)
    try:
        node.start()
        cluster.nodes.append(node)
        yield node
    finally:
        node.kill()
        cluster.nodes.remove(node)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return []
