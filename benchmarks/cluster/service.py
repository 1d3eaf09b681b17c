"""The Kubernetes service that clients reach: which pods it has, as whoever sends it traffic knows them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import httpx2

from benchmarks.cluster.kubelet import Pod
from benchmarks.cluster.kuberay import CLUSTER, SERVES

SPREAD_SECONDS = 1.0
"""Until every node knows that a pod has come or gone."""
LOOK_SECONDS = 0.1


class Service:
    """Endpoints are the pods of one cluster that serve, are ready, and were not told to go."""

    def __init__(
        self, port: int, pods: Callable[[], Sequence[Pod]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cluster: str | None = None
        """To which it points; None: to nobody yet."""
        self.empty_seconds = 0.0
        """For how long it had no endpoint, since it first had one."""
        self._port, self._pods, self._clock = port, pods, clock
        self._known: deque[tuple[float, list[httpx2.URL]]] = deque()
        self._had_one = False

    def endpoints(self) -> list[str]:
        """Addresses of the pods, as they are now."""
        return [
            pod.ip
            for pod in self._pods()
            if pod.healthy and pod.labels.get(CLUSTER) == self.cluster and pod.labels.get(SERVES) == "true"
        ]

    def look(self) -> None:
        """Note what there is now; those who send traffic know it SPREAD_SECONDS later."""
        now = self._clock()
        urls = [httpx2.URL(f"http://{ip}:{self._port}") for ip in self.endpoints()]
        if not self._known or self._known[-1][1] != urls:
            self._known.append((now, urls))
        while len(self._known) > 1 and self._known[1][0] <= now - SPREAD_SECONDS:
            self._known.popleft()

    def ready(self) -> list[httpx2.URL]:
        """Where a new request may go, as whoever sends it knows."""
        return self._known[0][1] if self._known else []

    def watch(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK_SECONDS):
            self.look()
            if self.ready():
                self._had_one = True
            elif self._had_one:
                self.empty_seconds += LOOK_SECONDS
