"""What KubeRay 1.7 makes of a RayService's pods: command, environment, probes and the container that waits before.

Written from its operator's behaviour for Ray 2.53 and later; no part of the operator runs. What the chart does not use
(TLS, the autoscaler's container, several hosts a replica) is refused or left out.
"""

import copy
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Manifest = dict[str, Any]
Kind = Literal["head", "worker"]

GCS_PORT, DASHBOARD_PORT, AGENT_PORT, METRICS_PORT = 6379, 8265, 52365, 8080
SERVES = "ray.io/serve"
CLUSTER, GROUP, NODE_TYPE = "ray.io/cluster", "ray.io/group", "ray.io/node-type"
TOKEN_KEY = "auth_token"
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True)
class RayCluster:
    name: str
    namespace: str
    spec: Manifest
    """`rayClusterConfig` of the RayService."""

    @property
    def head_service(self) -> str:
        return f"{self.name}-head-svc.{self.namespace}.svc.cluster.local"


def quantity(text: str | int | float) -> float:
    """Of Kubernetes: cores or bytes."""
    found = re.fullmatch(r"([\d.]+)(m|[kMGT]i?|)", str(text))
    if not found:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) / 1000 if found[2] == "m" else float(found[1]) * _UNITS[found[2]]


def identity(spec: Manifest) -> str:
    """Digest of what makes a new cluster when it changes: all but how many pods there are and what they tolerate."""
    kept = copy.deepcopy(spec)
    for group in kept["workerGroupSpecs"]:
        for name in ("replicas", "minReplicas", "maxReplicas", "scaleStrategy"):
            group.pop(name, None)
    for group in (kept["headGroupSpec"], *kept["workerGroupSpecs"]):
        group["template"]["spec"].pop("tolerations", None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def head_pod(cluster: RayCluster) -> Manifest:
    """Manifest of the head's pod, without a name."""
    return _pod(cluster, "head", "headgroup", cluster.spec["headGroupSpec"])


def worker_pod(cluster: RayCluster, group: Mapping[str, Any]) -> Manifest:
    """Likewise of a worker in the group."""
    return _pod(cluster, "worker", group["groupName"], group)


def _pod(cluster: RayCluster, kind: Kind, group: str, given: Mapping[str, Any]) -> Manifest:
    if cluster.spec.get("enableInTreeAutoscaling") or cluster.spec.get("tlsOptions"):
        raise ValueError("the autoscaler and TLS are not acted out")
    pod: Manifest = copy.deepcopy(given["template"])
    [container] = pod["spec"]["containers"]
    labels = {**pod["metadata"]["labels"], CLUSTER: cluster.name, GROUP: group, NODE_TYPE: kind}
    # A worker serves by its readiness. A head serves by this label alone, which the operator keeps false for ours.
    pod["metadata"]["labels"] = {**labels, SERVES: str(kind == "worker").lower()}
    own = copy.deepcopy(container)
    container["env"] += _fault_tolerance(cluster, kind) + _token(cluster)
    start = _ray_start(cluster, kind, given.get("rayStartParams", {}), container.get("resources", {}))
    before = "".join(f" {word} " for word in container.get("command", []))
    files = "ulimit -n ${RAY_START_ULIMIT_OPEN_FILES:-65536}"
    container["command"] = ["/bin/bash", "-c", "--"]
    container["args"] = [f"{before} && {files}; {start}" if before else f"{files}; {start}"]
    container["env"] += _variables(cluster, kind, start)
    container.setdefault("livenessProbe", liveness(kind))
    container.setdefault("readinessProbe", readiness(kind, container))
    if kind == "worker":
        pod["spec"].setdefault("initContainers", []).append(_wait_for_gcs(cluster, own))
    return pod


def _ray_start(
    cluster: RayCluster, kind: Kind, given: Mapping[str, str], resources: Mapping[str, Mapping[str, Any]]
) -> str:
    limits = resources.get("limits", {})
    params = {"metrics-export-port": str(METRICS_PORT), "dashboard-agent-listen-port": str(AGENT_PORT)}
    if kind == "head":
        params["dashboard-host"] = "0.0.0.0"
        if "redisPassword" in cluster.spec.get("gcsFaultToleranceOptions", {}):
            params["redis-password"] = "$REDIS_PASSWORD"
    else:
        params["address"] = f"{cluster.head_service}:{GCS_PORT}"
    if cores := limits.get("cpu", resources.get("requests", {}).get("cpu")):
        params["num-cpus"] = str(math.ceil(quantity(cores)))
    if "memory" in limits:
        params["memory"] = str(math.ceil(quantity(limits["memory"])))
    if gpus := next((amount for name, amount in sorted(limits.items()) if name.endswith("gpu")), None):
        params["num-gpus"] = str(gpus)
    params |= {**given, "block": "true"}
    words = [
        f" --{name} " if value == "true" else f" --{name}={value} "
        for name, value in sorted(params.items())
        if value != "false"
    ]
    return f"ray start {'--head ' if kind == 'head' else ''}{''.join(words)}"


def _fault_tolerance(cluster: RayCluster, kind: Kind) -> list[Manifest]:
    options = cluster.spec.get("gcsFaultToleranceOptions")
    if options is None:
        return []
    if kind == "worker":
        return [{"name": "RAY_gcs_rpc_server_reconnect_timeout_s", "value": "600"}]
    found = [
        {"name": "RAY_external_storage_namespace", "value": cluster.name},  # its uid, which no other has either
        {"name": "RAY_REDIS_ADDRESS", "value": options["redisAddress"]},
    ]
    for name, option in (("REDIS_USERNAME", "redisUsername"), ("REDIS_PASSWORD", "redisPassword")):
        if option in options:
            found.append({"name": name, **options[option]})
    return found


def _token(cluster: RayCluster) -> list[Manifest]:
    options = cluster.spec.get("authOptions", {})
    if options.get("mode") != "token":
        return []
    secret = {"name": options.get("secretName") or cluster.name, "key": TOKEN_KEY}
    return [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": secret}},
    ]


def _variables(cluster: RayCluster, kind: Kind, start: str) -> list[Manifest]:
    found = []
    if kind == "worker":
        found = [_value("FQ_RAY_IP", cluster.head_service), _value("RAY_IP", cluster.head_service.partition(".")[0])]
    return [
        *found,
        _field("RAY_CLUSTER_NAME", f"metadata.labels['{CLUSTER}']"),
        _field("RAY_CLUSTER_NAMESPACE", "metadata.namespace"),
        _field("RAY_CLOUD_INSTANCE_ID", "metadata.name"),
        _field("RAY_NODE_TYPE_NAME", f"metadata.labels['{GROUP}']"),
        _value("KUBERAY_GEN_RAY_START_CMD", start),
        _value("RAY_PORT", str(GCS_PORT)),
        _value("RAY_timeout_ms_task_wait_for_death_info", "0"),
        _value("RAY_gcs_server_request_timeout_seconds", "5"),
        _value("RAY_SERVE_KV_TIMEOUT_S", "5"),
        _value("RAY_ADDRESS", f"{'127.0.0.1' if kind == 'head' else cluster.head_service}:{GCS_PORT}"),
        _value("RAY_USAGE_STATS_KUBERAY_IN_USE", "1"),
        _value("RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE", "1"),
    ]


def _value(name: str, value: str) -> Manifest:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def liveness(kind: Kind) -> Manifest:
    """Probe of Ray's agent on the node: ten minutes of silence, and the kubelet starts the container again."""
    timing = {"initialDelaySeconds": 30, "periodSeconds": 5, "failureThreshold": 120}
    return {**_agent(), **timing, "timeoutSeconds": 5 if kind == "head" else 2}


def readiness(kind: Kind, container: Mapping[str, Any]) -> Manifest:
    """Probe of the same on a head; on a worker also of its HAProxy, and then one miss takes it out of the service."""
    timing = {"initialDelaySeconds": 10, "periodSeconds": 5, "timeoutSeconds": 5 if kind == "head" else 2}
    if kind == "head":
        return {**_agent(), **timing, "failureThreshold": 10}
    port = next((p["containerPort"] for p in container["ports"] if p["name"] == "serve"), 8000)
    asks = (_wget(2, AGENT_PORT, "api/local_raylet_healthz"), _wget(10, port, "-/healthz"))
    return {"exec": {"command": ["bash", "-c", " && ".join(asks)]}, **timing, "failureThreshold": 1}


def _agent() -> Manifest:
    return {"httpGet": {"path": "api/healthz", "port": AGENT_PORT}}


def _wget(seconds: int, port: int, path: str) -> str:
    return f"wget --tries 1 -T {seconds} -q -O- http://localhost:{port}/{path} | grep success"


def _wait_for_gcs(cluster: RayCluster, container: Manifest) -> Manifest:
    asks = f"ray health-check --address {cluster.head_service}:{GCS_PORT}"
    return {
        "name": "wait-gcs-ready",
        "command": ["/bin/bash", "-c", "--"],
        "args": [f"until {asks} > /dev/null 2>&1; do sleep 5; done"],
        "securityContext": container["securityContext"],
        "env": [
            *container["env"],
            *_token(cluster),
            _value("FQ_RAY_IP", cluster.head_service),
            _value("RAY_IP", cluster.head_service.partition(".")[0]),
        ],
        "volumeMounts": container["volumeMounts"],
    }
