"""A kubelet's work for one pod: containers, volumes, probes, and an end with grace."""

import os
import random
import signal
import socket
import string
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.cluster.container import ETC, Container, Mount, Sandbox, User
from benchmarks.cluster.ending import LEAST_SECONDS, backoff, seconds_to_stop
from benchmarks.cluster.environment import Secrets, environment
from benchmarks.cluster.kuberay import Manifest, quantity
from benchmarks.cluster.probes import Health, Probe, port_number

POLL_SECONDS = 0.1
_LETTERS = string.ascii_lowercase + string.digits


@dataclass
class Ended:
    """How a pod went."""

    pod: str
    hook_seconds: float
    """Of its preStop hook."""
    seconds: float
    """From the word to go until its last process was gone."""
    killed: bool
    """By SIGKILL, at the end of its grace."""


@dataclass
class Machine:
    """What all pods share: where their files are, what is secret, and what has happened."""

    folder: Path
    secrets: dict[str, dict[str, str]]
    etc: Path
    ended: list[Ended] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    """The pods of which a container was started again."""
    misses: dict[str, int] = field(default_factory=dict)
    """Answers of probes that were no success, once there had been one, by pod and kind."""
    _number: int = 1

    def forget(self) -> None:
        """What has happened so far."""
        self.ended, self.restarts, self.misses = [], [], {}

    def number(self) -> int:
        """One that no pod had."""
        self._number += 1
        return self._number


class Pod:
    """From its creation until the last of its processes is gone. A thread of its own does all this."""

    def __init__(self, machine: Machine, prefix: str, namespace: str, manifest: Manifest, node: str) -> None:
        self.name = f"{prefix}-{''.join(random.choices(_LETTERS, k=5))}"
        self.node = node
        """The Kubernetes node that it is on, by name alone: all are this machine."""
        self.labels: Mapping[str, str] = manifest["metadata"].get("labels", {})
        self.ready = self.terminating = self.gone = False
        self.failure: Exception | None = None
        self._machine, self._spec = machine, manifest["spec"]
        [self._manifest] = self._spec["containers"]
        self._told = threading.Event()
        self._grace = float(self._spec.get("terminationGracePeriodSeconds", 30))
        self._folder = machine.folder / self.name
        self._folder.mkdir()
        self._sandbox = Sandbox(self.name, machine.number())
        self.ip = self._sandbox.ip
        self._metadata = {"name": self.name, "namespace": namespace, "labels": self.labels}
        self._container: Container | None = None
        threading.Thread(target=self._live, name=self.name, daemon=True).start()

    @property
    def healthy(self) -> bool:
        return self.ready and not self.terminating

    @property
    def log(self) -> Path:
        return self._folder / "log"

    def delete(self, grace: float | None = None) -> None:
        """Tell it to go. `grace`: other seconds than its own, as of `kubectl delete --grace-period`; 0: at once."""
        if grace is not None:
            self._grace = grace
        self.terminating = True
        self._told.set()

    def kill_container(self) -> None:
        """All its processes, without a word, as for want of memory."""
        if self._container is not None:
            self._container.signal(signal.SIGKILL)

    def _live(self) -> None:
        try:
            self._volumes()
            for init in self._spec.get("initContainers", []):
                self._initialise(init)
            restarts = 0
            while not self._told.is_set():
                self._run()
                if self._told.is_set():
                    break
                self._machine.restarts.append(self.name)
                self._told.wait(backoff(restarts))
                restarts += 1
        except Exception as error:
            self.failure = error
        finally:
            self.ready = False
            if self._container is not None:
                self._container.signal(signal.SIGKILL)
            self._sandbox.close()
            self.gone = True

    def _initialise(self, manifest: Mapping[str, Any]) -> None:
        """Run it until it succeeds."""
        restarts = 0
        while not self._told.is_set():
            self._container = self._start(manifest, "init")
            while not self._container.wait(POLL_SECONDS):
                if self._told.is_set():
                    self._end(self._container, manifest)
                    return
            if self._container.status() == 0:
                return
            self._told.wait(backoff(restarts))
            restarts += 1

    def _run(self) -> None:
        """One life of the container: until it ends, fails its liveness, or the pod is to go."""
        container = self._container = self._start(self._manifest, "root")
        stop, dead = threading.Event(), threading.Event()
        watches = [
            threading.Thread(target=self._watch, args=(kind, container, stop, dead), daemon=True)
            for kind in ("readinessProbe", "livenessProbe")
        ]
        for watch in watches:
            watch.start()
        while not container.wait(POLL_SECONDS) and not self._told.is_set() and not dead.is_set():
            pass
        if not container.ended:
            self._end(container, self._manifest)
        self.ready = False
        stop.set()
        for watch in watches:
            watch.join()

    def _watch(self, kind: str, container: Container, stop: threading.Event, dead: threading.Event) -> None:
        if kind not in self._manifest:
            self.ready = self.ready or kind == "readinessProbe"
            return
        probe = Probe.read(self._manifest[kind])
        ready = kind == "readinessProbe"
        health = Health(probe, good=not ready)
        stop.wait(probe.delay)
        succeeded_once = False
        # Whoever is told to go need not be alive any more.
        while not stop.is_set() and (ready or not self._told.is_set()):
            succeeded = self._asked(probe, container)
            if succeeded_once and not succeeded and not self.terminating:
                key = f"{self.name} {kind}"
                self._machine.misses[key] = self._machine.misses.get(key, 0) + 1
            succeeded_once |= succeeded
            good = health.tell(succeeded)
            if ready:
                self.ready = good and not container.ended
            elif not good:
                dead.set()
                return
            stop.wait(probe.period)

    def _asked(self, probe: Probe, container: Container) -> bool:
        [(kind, action)] = probe.action.items()
        if kind == "exec":
            status, _ = container.execute(action["command"], probe.timeout)
            return status == 0
        port = port_number(action["port"], self._manifest)
        try:
            if kind == "tcpSocket":
                socket.create_connection((self.ip, port), probe.timeout).close()
                return True
            answer = httpx.get(
                f"http://{self.ip}:{port}/{action['path'].lstrip('/')}", timeout=probe.timeout, verify=False
            )
        except (OSError, httpx.HTTPError):
            return False
        return 200 <= answer.status_code < 400

    def _end(self, container: Container, manifest: Mapping[str, Any]) -> None:
        """The hook, SIGTERM, and SIGKILL once the grace is over."""
        began = time.monotonic()
        hook = manifest.get("lifecycle", {}).get("preStop", {}).get("exec")
        if hook and self._grace > 0:
            container.execute(hook["command"], self._grace)
        took = time.monotonic() - began
        if self._grace > 0:
            container.signal(signal.SIGTERM)
        stopped = container.wait(seconds_to_stop(self._grace, took) if self._grace > 0 else 0)
        container.signal(signal.SIGKILL)
        container.wait(LEAST_SECONDS)
        if manifest is self._manifest:
            self._machine.ended.append(Ended(self.name, took, time.monotonic() - began, killed=not stopped))

    def _start(self, manifest: Mapping[str, Any], root: str) -> Container:
        secure = {**self._spec.get("securityContext", {}), **manifest.get("securityContext", {})}
        user = User(
            uid=secure.get("runAsUser", 0),
            gid=secure.get("runAsGroup", 0),
            groups=secure.get("fsGroup", secure.get("runAsGroup", 0)),
            escalates=secure.get("allowPrivilegeEscalation", True),
            drops_all="ALL" in secure.get("capabilities", {}).get("drop", []),
        )
        secrets: Secrets = self._machine.secrets
        mounts = [
            Mount(self._folder / "volumes" / mount["name"], mount["mountPath"], mount.get("readOnly", False))
            for mount in manifest.get("volumeMounts", [])
        ]
        folder = "/home/psychechat" if any(mount.target == "/home/psychechat" for mount in mounts) else "/"
        with self.log.open("ab") as log:
            return Container(
                self._sandbox,
                self._folder / root,
                [*manifest["command"], *manifest.get("args", [])],
                env=environment(manifest.get("env", []), secrets=secrets, metadata=self._metadata, ip=self.ip),
                mounts=[*mounts, Mount(self._machine.etc, ETC, read_only=True)],
                user=user,
                read_only=secure.get("readOnlyRootFilesystem", False),
                folder=folder,
                log=log,
            )

    def _volumes(self) -> None:
        """Each in a folder: they outlive the containers, not the pod."""
        group = self._spec.get("securityContext", {}).get("fsGroup", 0)
        for volume in self._spec.get("volumes", []):
            place = self._folder / "volumes" / volume["name"]
            place.mkdir(parents=True)
            if "secret" in volume:
                for key, text in self._machine.secrets[volume["secret"]["secretName"]].items():
                    (place / key).write_text(text)
                    (place / key).chmod(0o644)
                continue
            if "emptyDir" not in volume:
                raise ValueError(f"volume {volume['name']}: only emptyDir and secret are acted out")
            given = volume["emptyDir"]
            if given.get("medium") == "Memory":
                size = f"size={round(quantity(given['sizeLimit']))}" if "sizeLimit" in given else "size=50%"
                subprocess.run(["mount", "-t", "tmpfs", "-o", size, "memory", place], check=True)
            os.chown(place, 0, group)
            place.chmod(0o2777)
