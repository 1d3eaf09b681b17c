"""KubeRay's operator, acted out: it keeps the pods of a RayService's clusters, and has each cluster serve.

A loop, every two seconds as the operator's: pods that are missing are made (one that is told to go counts until it is
gone), a head that is ready gets the Serve config, and another cluster spec makes a second cluster, to which the service
is moved once its application runs.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import yaml

from benchmarks.cluster.kubelet import Pod
from benchmarks.cluster.kuberay import (
    CLUSTER,
    DASHBOARD_PORT,
    GROUP,
    TOKEN_KEY,
    Manifest,
    RayCluster,
    head_pod,
    identity,
    worker_pod,
)
from benchmarks.cluster.service import Service

LOOP_SECONDS = 2.0


@dataclass
class Running:
    """A cluster, and what the operator knows of it."""

    cluster: RayCluster
    identity: str
    served: Any = None
    """The Serve config that it was given last."""
    delete_at: float | None = None
    """A moment of the monotonic clock; None: it is to stay."""
    deleted: bool = False


@dataclass
class Operator:
    """`make_pod(name's beginning, manifest)` has the scheduler and a kubelet take a pod; `name(host, ip)` is DNS."""

    service: Service
    pods: Callable[[], list[Pod]]
    make_pod: Callable[[str, Manifest], Pod]
    name: Callable[[str, str], None]
    secrets: dict[str, dict[str, str]]
    namespace: str
    active: Running | None = None
    pending: Running | None = None
    old: list[Running] = field(default_factory=list)
    failure: Exception | None = None
    _wanted: Manifest = field(default_factory=dict)

    def apply(self, ray_service: Manifest) -> None:
        """Take another version of the RayService, as `helm upgrade` brings it."""
        self._wanted = ray_service

    def watch(self, stop: threading.Event) -> None:
        while not stop.wait(LOOP_SECONDS):
            try:
                self.reconcile()
            except httpx.HTTPError:
                continue  # a head that is away or not up yet is asked again
            except Exception as error:
                self.failure = error
                return

    def reconcile(self) -> None:
        spec = self._wanted["spec"]
        self._delete_what_is_due()
        wanted = identity(spec["rayClusterConfig"])
        newest = self.pending or self.active
        if newest is None or newest.identity != wanted:
            if self.pending is not None:  # never served: it goes at once
                self._retire(self.pending, 0)
            self.pending = self._prepare(spec["rayClusterConfig"], wanted)
        for running in (self.active, self.pending, *self.old):
            if running is not None and not running.deleted:
                self._keep_pods(running)
        # While there is a pending cluster the active one gets no config.
        if (newest := self.pending or self.active) is not None and self._serves(newest) and newest is self.pending:
            self._promote(spec.get("rayClusterDeletionDelaySeconds", 60))

    def token(self, running: Running) -> str:
        return self.secrets[running.cluster.name][TOKEN_KEY]

    def applications(self, running: Running) -> dict[str, Any]:
        """What Serve says of them. Raises httpx.HTTPError."""
        answer = self._ask(running, "GET")
        found: dict[str, Any] = answer.json()["applications"]
        return found

    def head(self, running: Running) -> Pod | None:
        return next((pod for pod in self._own(running) if pod.labels[GROUP] == "headgroup" and not pod.gone), None)

    def _prepare(self, spec: Manifest, wanted: str) -> Running:
        cluster = RayCluster(f"{self._wanted['metadata']['name']}-{secrets.token_hex(3)[:5]}", self.namespace, spec)
        self.secrets[cluster.name] = {TOKEN_KEY: secrets.token_hex(16)}
        return Running(cluster, wanted)

    def _own(self, running: Running) -> list[Pod]:
        return [pod for pod in self.pods() if pod.labels.get(CLUSTER) == running.cluster.name]

    def _keep_pods(self, running: Running) -> None:
        cluster = running.cluster
        head = self.head(running)
        if head is None:
            head = self.make_pod(f"{cluster.name}-head", head_pod(cluster))
            self.name(cluster.head_service, head.ip)
        there = [pod.labels[GROUP] for pod in self._own(running) if not pod.gone]
        for group in cluster.spec["workerGroupSpecs"]:
            for _ in range(group["replicas"] - there.count(group["groupName"])):
                self.make_pod(f"{cluster.name}-{group['groupName']}-worker", worker_pod(cluster, group))

    def _serves(self, running: Running) -> bool:
        """Whether its applications run; and the Serve config goes there if it is another."""
        head = self.head(running)
        if head is None or not head.ready:
            return False
        config = yaml.safe_load(self._wanted["spec"]["serveConfigV2"])
        if running.served != config:
            self._ask(running, "PUT", json=config)
            running.served = config
            return False
        statuses = [application["status"] for application in self.applications(running).values()]
        return bool(statuses) and set(statuses) == {"RUNNING"}

    def _ask(self, running: Running, method: str, **more: Any) -> httpx.Response:
        head = self.head(running)
        if head is None:
            raise httpx.ConnectError("the cluster has no head")
        url = f"http://{head.ip}:{DASHBOARD_PORT}/api/serve/applications/"
        headers = {"authorization": f"Bearer {self.token(running)}"}
        answer = httpx.request(method, url, headers=headers, timeout=10, verify=False, **more)
        return answer.raise_for_status()

    def _promote(self, delay: float) -> None:
        assert self.pending is not None
        self.service.cluster = self.pending.cluster.name
        if self.active is not None:
            self._retire(self.active, delay)
        self.active, self.pending = self.pending, None

    def _retire(self, running: Running, delay: float) -> None:
        running.delete_at = time.monotonic() + delay
        self.old.append(running)

    def _delete_what_is_due(self) -> None:
        for running in self.old:
            if not running.deleted and running.delete_at is not None and time.monotonic() >= running.delete_at:
                for pod in self._own(running):  # head and workers together
                    pod.delete()
                running.deleted = True
        self.old = [running for running in self.old if not (running.deleted and not self._remain(running))]

    def _remain(self, running: Running) -> bool:
        return any(not pod.gone for pod in self._own(running))
