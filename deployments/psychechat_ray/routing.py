"""Routing of calls to replicas. Serve ships this module's code to every process that calls a deployment."""

from typing import Any

from ray.serve.config import RequestRouterConfig
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from psychechat_ray import replica_counts


class SessionRouter(ConsistentHashRouter):
    """Router with session affinity; it also records how many replicas calls can reach, and what each takes."""

    def update_replicas(self, replicas: list[Any]) -> None:
        """Called by Serve on every change, with what `record_replica_metadata` of each replica told at its start; it is
        recorded since admission sizes its permits by it.
        """
        super().update_replicas(replicas)
        told = [replica.replica_metadata for replica in replicas]
        sequences = [its["sequences"] for its in told if "sequences" in its]
        replica_counts.record(self._deployment_id.name, len(replicas), sequences)


BY_SESSION = RequestRouterConfig(request_router_class=SessionRouter)  # type: ignore[arg-type]
"""Router config of the deployments that are called by handle; not for the ingress, where HAProxy picks the replica."""
