"""How many replicas there are, as this process last heard: an ingress replica's permits are counted with it.

Of the engines those that calls can reach. Serve tells their routers which replicas run, whenever that changes: nobody
has to be asked, and a controller that is away takes no permit from anyone. Of the ingress itself, which nobody calls by
a handle, Serve is asked; only where that number changes, and not often, for there is one controller.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ray import serve

from psychechat_ray.periodic import Periodic

ASK_SECONDS = 10.0

_running: dict[str, int] = {}

RUNNING: Mapping[str, int] = MappingProxyType(_running)
"""Replicas by deployment. Serve makes the routers, so there is nothing else that they and the ingress both know."""


def hear(deployment: str, replicas: int) -> None:
    _running[deployment] = replicas


class Peers(Periodic):
    """Asks how many replicas a deployment has, until it is closed. Without an answer what was last heard stays."""

    def __init__(self, application: str, deployment: str) -> None:
        self._application, self._deployment = application, deployment
        super().__init__(self._ask, ASK_SECONDS, "peers")

    def _ask(self) -> None:
        states = serve.status().applications[self._application].deployments[self._deployment].replica_states
        running = sum(count for state, count in states.items() if state not in ("STARTING", "STOPPING"))
        if running:
            hear(self._deployment, running)
