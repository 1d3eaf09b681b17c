"""Probes by a kubelet's arithmetic: when they are asked, and from which answer on a container is another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Probe:
    """As a container's manifest has it, with Kubernetes' defaults. Times are seconds."""

    action: Mapping[str, Any]
    """One of `exec`, `httpGet` and `tcpSocket`, with what that says."""
    delay: float = 0
    period: float = 10
    timeout: float = 1
    successes: int = 1
    failures: int = 3

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> Self:
        actions = {kind: manifest[kind] for kind in ("exec", "httpGet", "tcpSocket") if kind in manifest}
        if len(actions) != 1:
            raise ValueError(f"a probe has one action of exec, httpGet and tcpSocket, and this one has {list(actions)}")
        return cls(
            actions,
            delay=manifest.get("initialDelaySeconds", cls.delay),
            period=manifest.get("periodSeconds", cls.period),
            timeout=manifest.get("timeoutSeconds", cls.timeout),
            successes=manifest.get("successThreshold", cls.successes),
            failures=manifest.get("failureThreshold", cls.failures),
        )


class Health:
    """What a probe's answers come to: as good as it was, until enough of the other kind follow each other."""

    def __init__(self, probe: Probe, *, good: bool) -> None:
        """`good` at first: a container counts as alive, and as not ready."""
        self.good = good
        self._probe = probe
        self._last, self._run = good, 0

    def tell(self, succeeded: bool) -> bool:
        """Whether it is good now."""
        self._run = self._run + 1 if succeeded == self._last else 1
        self._last = succeeded
        if self._run >= (self._probe.successes if succeeded else self._probe.failures):
            self.good = succeeded
        return self.good


def port_number(port: int | str, container: Mapping[str, Any]) -> int:
    """Of a probe: a number, or the name of one of the container's ports."""
    if isinstance(port, int):
        return port
    return next(int(named["containerPort"]) for named in container["ports"] if named["name"] == port)
