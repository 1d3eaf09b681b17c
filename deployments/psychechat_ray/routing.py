"""Routing of calls to replicas. Serve ships this module's code to every process that calls a deployment.

So what it records into is named by its module: a name of this one's would be a copy.
"""

from itertools import chain
from typing import Any

from ray.serve.config import RequestRouterConfig
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from psychechat.prompts import inert
from psychechat_ray import replica_counts


class SessionRouter(ConsistentHashRouter):
    """Router with session affinity; it also records how many replicas calls can reach, what each takes, and which
    control tokens it reads.
    """

    def update_replicas(self, replicas: list[Any]) -> None:
        """Called by Serve on every change, with what `record_replica_metadata` of each replica told at its start; it is
        recorded since admission sizes its permits by it, and what people write is made inert by it.
        """
        super().update_replicas(replicas)
        told = [replica.replica_metadata for replica in replicas]
        sequences = [its["sequences"] for its in told if "sequences" in its]
        inert.CONTROL_TOKENS.add(chain.from_iterable(its.get("control_tokens", ()) for its in told))
        replica_counts.record(self._deployment_id.name, len(replicas), sequences)


BY_SESSION = RequestRouterConfig(request_router_class=SessionRouter)  # type: ignore[arg-type]
"""Router config of the deployments that are called by handle; not for the ingress, where HAProxy picks the replica."""
