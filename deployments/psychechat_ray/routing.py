"""Which replica a call goes to. Serve carries this module's code to every process that calls a deployment."""

from typing import Any

from ray.serve.config import RequestRouterConfig
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from psychechat_ray import replica_counts


class Sticky(ConsistentHashRouter):
    """Calls of one session meet the same replica. Counts the replicas, of which Serve tells it."""

    def update_replicas(self, replicas: list[Any]) -> None:
        super().update_replicas(replicas)
        replica_counts.hear(self._deployment_id.name, len(replicas))


STICKY = RequestRouterConfig(request_router_class=Sticky)  # type: ignore[arg-type]
"""An ingress behind HAProxy cannot have a router of its own."""
