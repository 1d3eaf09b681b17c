"""The release on its Kubernetes: what `helm install` makes, on three nodes that are all this machine."""

import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chaos.world import DRAFT, REPLY
from benchmarks.cluster.container import make_bridge
from benchmarks.cluster.ending import may_be_evicted
from benchmarks.cluster.kubelet import Machine, Pod
from benchmarks.cluster.kuberay import CLUSTER, GROUP, METRICS_PORT, Manifest
from benchmarks.cluster.operator import Operator
from benchmarks.cluster.service import Service
from tests.helm.charts import Helm, Rendered
from tests.support.servers import wait_until

VALUES = Path(__file__).with_name("values.yaml")
KEY = "psy-seekers"
NODES = ("one", "two", "three")
START_SECONDS = 420.0
_SAFE_TEMPLATES = re.compile(r'^ray_psychechat_safe_templates_total\{.*?cause="(\w+)".*?\} (\S+)$', re.M)
EVICT_SECONDS = 1.0
"""Between two tries of a drain where a budget said no. kubectl waits five."""


def rendered(helm: Helm, *sets: str, pace: float, revision: int = 0) -> Rendered:
    """The chart with our values. `revision`: another one is another argument of the counselor's engine."""
    table = {"reply": [f"<think>The seeker speaks of a worry.</think>{REPLY}"], "draft": [DRAFT]}
    arguments = {"table": table, "seconds_per_word": pace, "keep": False, "context_length": 32_768 + revision}
    return helm.render(f"app.counselor.engine_args={json.dumps(arguments)}", *sets, values=VALUES)


@dataclass
class World:
    helm: Helm
    machine: Machine
    release: Rendered
    pace: float
    pods: list[Pod] = field(default_factory=list)
    cordoned: set[str] = field(default_factory=set)
    refused: int = 0
    """Evictions that a budget did not allow."""
    _sets: tuple[str, ...] = ()
    _revision: int = 0

    def __post_init__(self) -> None:
        self.namespace = "chat"
        port = self.release.serve_config["http_options"]["port"]
        self.service = Service(port, lambda: list(self.pods))
        self.operator = Operator(
            *(self.service, lambda: list(self.pods), self.schedule, self.name, self.machine.secrets, self.namespace)
        )
        self._hosts = {"localhost": "127.0.0.1"}

    def schedule(self, prefix: str, manifest: Manifest) -> Pod:
        """Start a pod, on the node that has the fewest of its kind, and of all."""
        group = manifest["metadata"].get("labels", {}).get(GROUP)

        def fullness(node: str) -> tuple[int, int]:
            there = [pod for pod in self.pods if pod.node == node and not pod.gone]
            return sum(pod.labels.get(GROUP) == group for pod in there), len(there)

        node = min((node for node in NODES if node not in self.cordoned), key=fullness)
        pod = Pod(self.machine, prefix, self.namespace, manifest, node)
        self.name(pod.name, pod.ip)
        self.pods.append(pod)
        return pod

    def name(self, host: str, ip: str) -> None:
        """Have every pod find it under this name."""
        self._hosts[host] = ip
        lines = [f"{ip} {host}" for host, ip in self._hosts.items()]
        new = self.machine.etc / "hosts.new"
        new.write_text("\n".join([*lines, ""]))
        new.replace(self.machine.etc / "hosts")

    def upgrade(self, *sets: str, anew: bool = False) -> None:
        """As `helm upgrade --reuse-values` does. `anew`: with another argument of the counselor's engine."""
        self._sets += sets
        self._revision += anew
        self.release = rendered(self.helm, *self._sets, pace=self.pace, revision=self._revision)
        self.operator.apply(self.release.only("RayService"))

    def evict(self, pod: Pod) -> bool:
        """Whether the budgets let it go, which it then does."""
        budgets = self.release.of_kind("PodDisruptionBudget")
        if not may_be_evicted(pod, budgets, [other for other in self.pods if not other.gone]):
            self.refused += 1
            return False
        pod.delete()
        return True

    def drain(self, node: str) -> None:
        """As `kubectl drain` begins: nothing new comes there, and each pod goes as soon as a budget lets it."""
        self.cordoned.add(node)
        left = self.on(node)
        while left := [pod for pod in left if not self.evict(pod)]:
            time.sleep(EVICT_SECONDS)

    def on(self, node: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.node == node and not pod.gone]

    def of_group(self, group: str) -> list[Pod]:
        """The active cluster's."""
        assert self.operator.active is not None
        name = self.operator.active.cluster.name
        found = [pod for pod in self.pods if pod.labels.get(GROUP) == group and pod.labels[CLUSTER] == name]
        return [pod for pod in found if not pod.gone]

    def application(self) -> dict[str, Any]:
        """Serve's word on ours. Raises httpx.HTTPError."""
        assert self.operator.active is not None
        found: dict[str, Any] = self.operator.applications(self.operator.active).get("psychechat", {})
        return found

    def replicas(self) -> dict[str, str]:
        """States by id."""
        deployments = self.application().get("deployments", {}).values()
        return {replica["replica_id"]: replica["state"] for found in deployments for replica in found["replicas"]}

    def is_whole(self) -> bool:
        """One cluster, which serves what was last asked for; every pod ready, every replica running, none left over."""
        self.check()
        active, operator = self.operator.active, self.operator
        if active is None or operator.pending is not None or operator.old:
            return False
        pods = [pod for pod in self.pods if not pod.gone]
        wanted = 2 + sum(group["replicas"] for group in active.cluster.spec["workerGroupSpecs"])  # the head, and Redis
        if len(pods) != wanted or not all(pod.healthy for pod in pods):
            return False
        try:
            application, replicas = self.application(), self.replicas()
        except (httpx.HTTPError, ValueError, KeyError):
            return False
        settings = self.release.application["args"]
        parts = [settings["ingress"], settings["classifier"]["replicas"], settings["counselor"]["replicas"]]
        return (
            application.get("status") == "RUNNING"
            and active.served == self.release.serve_config
            and len(replicas) == sum(part["num_replicas"] for part in parts)
            and set(replicas.values()) == {"RUNNING"}
            and bool(self.service.ready())
        )

    def check(self) -> None:
        """Raises what a thread failed with."""
        failures = [self.operator.failure, *(pod.failure for pod in self.pods)]
        if failure := next(filter(None, failures), None):
            raise RuntimeError("a pod or the operator failed") from failure

    def safe_templates(self) -> dict[str, float]:
        """By cause, as the ingress pods' metrics have them now: of the replicas that are there, since they started."""
        found: dict[str, float] = {}
        for pod in self.of_group("ingress"):
            metrics = httpx.get(f"http://{pod.ip}:{METRICS_PORT}/metrics", timeout=10, verify=False).text
            for cause, count in _SAFE_TEMPLATES.findall(metrics):
                found[cause] = found.get(cause, 0) + float(count)
        return {cause: count for cause, count in found.items() if count}

    def told(self) -> str:
        """How far its pods are, in a line."""
        pods = [pod for pod in self.pods if not pod.gone]
        ready = sum(pod.healthy for pod in pods)
        return f"{ready} of {len(pods)} pods ready, {sum(pod.terminating for pod in pods)} on their way out"


@contextmanager
def installed(helm: Helm, folder: Path, *, pace: float) -> Iterator[World]:
    """The release, on its way up. `folder`: all that is written lies there.

    It takes a network, mounts and processes of one's own, with which its pods end.
    """
    make_bridge()
    folder.chmod(0o755)
    machine = Machine(folder, _secrets(), _etc(folder))
    world = World(helm, machine, rendered(helm, pace=pace), pace)
    stop = threading.Event()
    loops = [
        threading.Thread(target=loop, args=(stop,), daemon=True) for loop in (world.service.watch, world.operator.watch)
    ]
    try:
        _start_redis(world)
        world.operator.apply(world.release.only("RayService"))
        for loop in loops:
            loop.start()
        yield world
    finally:
        stop.set()


def wait_until_whole(world: World, tell: Callable[[], None]) -> None:
    """`tell` is called now and then. Raises RuntimeError after START_SECONDS."""

    def is_whole() -> bool:
        tell()
        return world.is_whole()

    where = f"the release did not start; the pods' logs are under {world.machine.folder}"
    wait_until(is_whole, START_SECONDS, where, every=0.5)


def _start_redis(world: World) -> None:
    template = world.release.only("Deployment")["spec"]["template"]
    service = next(
        manifest for manifest in world.release.of_kind("Service") if manifest["metadata"]["name"].endswith("-redis")
    )
    pod = world.schedule(service["metadata"]["name"], template)
    name = service["metadata"]["name"]
    for host in (f"{name}.{world.namespace}.svc", name):
        world.name(host, pod.ip)


def _secrets() -> dict[str, dict[str, str]]:
    """Those that the values name, as the documents have them made."""
    memory = {"index": secrets.token_hex(32), "encrypt_with": "any", "keys": {"any": secrets.token_hex(32)}}
    return {
        "psychechat-keys": {"keys.yaml": f"seekers: {hashlib.sha256(KEY.encode()).hexdigest()}\n"},
        "psychechat-memory": {"memory.yaml": json.dumps(memory)},
        "psychechat-redis": {"password": secrets.token_hex(16)},
    }


def _etc(folder: Path) -> Path:
    """What /etc of every container has: the image's users, and names instead of a name server."""
    etc = folder / "etc"
    etc.mkdir()
    users = {"root": (0, "/root"), "redis": (999, "/data"), "psychechat": (1000, "/home/psychechat")}
    files: Mapping[str, str] = {
        "passwd": "".join(f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n" for name, (uid, home) in users.items()),
        "group": "".join(f"{name}:x:{gid}:\n" for name, (gid, _) in users.items()),
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "resolv.conf": "",
        "hosts": "",
    }
    for name, text in files.items():
        (etc / name).write_text(text)
    for name in ("ld.so.cache", "ld.so.conf"):
        (etc / name).write_bytes((Path("/etc") / name).read_bytes())
    return etc
