"""Replica counts of the deployments, and what a replica takes, by which an ingress replica sizes its permits.

Engines: pushed by Serve's routers, which learn of every change, so that a lost controller changes nothing. Ingress:
polled, since it is called by no handle and has no such router; only if it scales, and rarely, since all ask the one
controller.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ray import serve

from psychechat_ray.periodic import Periodic

ASK_SECONDS = 10.0

_running: dict[str, int] = {}
_sequences: dict[str, int] = {}

RUNNING: Mapping[str, int] = MappingProxyType(_running)
"""Replicas per deployment. Module-level, because Serve constructs the routers and they cannot be handed it."""
SEQUENCES: Mapping[str, int] = MappingProxyType(_sequences)
"""What a replica of an engine takes at once, of the one that takes least: sessions fall on all of them alike. While
none runs, what the last ones told."""


def record(deployment: str, replicas: int, sequences: Sequence[int] = ()) -> None:
    """Called by the routers, and by the poll of `Peers`. `sequences`: of each replica that has told."""
    _running[deployment] = replicas
    if sequences:
        _sequences[deployment] = min(sequences)


class Peers(Periodic):
    """Poll of the replica count of a deployment, until closed. Without an answer the last count stays."""

    def __init__(self, application: str, deployment: str) -> None:
        self._application, self._deployment = application, deployment
        super().__init__(self._ask, ASK_SECONDS, "peers")

    def _ask(self) -> None:
        states = serve.status().applications[self._application].deployments[self._deployment].replica_states
        running = sum(count for state, count in states.items() if state not in ("STARTING", "STOPPING"))
        if running:
            record(self._deployment, running)
