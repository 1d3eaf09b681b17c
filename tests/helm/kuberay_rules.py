"""What KubeRay 1.7's operator refuses that its schemas let pass, for a RayService and in our words.

The rules are those of its `ray-operator/controllers/ray/utils/validation.go`; each function names the ones there that
it holds. Rules of what the chart cannot render (RayJob, the history server, RocksDB) are left out. An operator refuses
once the chart is installed, by an event of the RayService.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

Spec = dict[str, Any]

GATES = frozenset({"RayJobDeletionPolicy"})
"""The feature gates that an operator has without being told, of those that the rules look at."""
MOST_LETTERS = 47
"""Of a RayService's name: `MaxRayServiceNameLength`, in constant.go."""
TLS_NAMES = ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
TLS_VOLUME, TLS_FOLDER = "ray-tls", "/etc/ray/tls"
STRATEGIES = ("NewClusterWithIncrementalUpgrade", "NewCluster", "None")
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def refusals(service: Spec, gates: Iterable[str] = GATES) -> list[str]:
    """Why the operator does not take this RayService. Empty: it does."""
    return [*metadata(service["metadata"]), *service_spec(service, frozenset(gates))]


def metadata(given: Spec) -> Iterator[str]:
    """`ValidateRayServiceMetadata`, `validateInitializingTimeout`."""
    if len(given["name"]) > MOST_LETTERS:
        yield f"the name has more than {MOST_LETTERS} characters"
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", given["name"]):
        yield "the name is no label of DNS (RFC 1035)"
    timeout = given.get("annotations", {}).get("ray.io/initializing-timeout", "")
    if timeout and not _is_positive_time(timeout):
        yield f"ray.io/initializing-timeout is no time: {timeout}"


def service_spec(service: Spec, gates: frozenset[str]) -> Iterator[str]:
    """`ValidateRayServiceSpec`."""
    spec = service["spec"]
    cluster = spec["rayClusterConfig"]
    if cluster.get("authOptions", {}).get("enableK8sTokenAuth"):
        yield "tokens of Kubernetes are not for a RayService"
    yield from cluster_spec(cluster, service["metadata"].get("annotations", {}), gates)
    if cluster["headGroupSpec"].get("headService", {}).get("metadata", {}).get("name"):
        yield "the head's service is named"
    strategy = spec.get("upgradeStrategy", {}).get("type", "NewCluster")
    if strategy not in STRATEGIES:
        yield f"no upgrade strategy: {strategy}"
    if spec.get("rayClusterDeletionDelaySeconds", 0) < 0:
        yield "rayClusterDeletionDelaySeconds is below 0"
    if strategy == "NewClusterWithIncrementalUpgrade" and "RayServiceIncrementalUpgrade" in gates:
        yield from upgrade_options(spec)


def upgrade_options(spec: Spec) -> Iterator[str]:
    """`ValidateClusterUpgradeOptions`."""
    if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
        yield "an incremental upgrade needs Ray's autoscaler"
    options = spec["upgradeStrategy"].get("clusterUpgradeOptions")
    if not options:
        yield "an incremental upgrade needs clusterUpgradeOptions"
        return
    surge = options.get("maxSurgePercent", 100)  # the schema's default
    step = options.get("stepSizePercent", -1)
    if not 0 <= surge <= 100:
        yield "maxSurgePercent is no percentage"
    if not 0 <= step <= 100:
        yield "stepSizePercent is no percentage"
    if step > surge:
        yield "stepSizePercent is above maxSurgePercent"
    if options.get("intervalSeconds", 0) <= 0:
        yield "intervalSeconds is not above 0"
    if not options.get("gatewayClassName"):
        yield "gatewayClassName is not given"


def cluster_spec(cluster: Spec, annotations: Spec, gates: frozenset[str]) -> Iterator[str]:
    """`ValidateRayClusterSpec`, and of a group: `validateRayGroupResources`, `validateRayGroupLabels`."""
    head, workers = cluster["headGroupSpec"], cluster.get("workerGroupSpecs", [])
    scales = bool(cluster.get("enableInTreeAutoscaling"))
    for name, group in [("head", head), *((group["groupName"], group) for group in workers)]:
        if not group["template"]["spec"].get("containers"):
            yield f"{name} has no container"
            return
        params = group.get("rayStartParams", {})
        if group.get("resources") and any(params.get(key) for key in ("num-cpus", "num-gpus", "memory", "resources")):
            yield f"{name} has resources in two places"
        if "labels" in params:
            yield f"{name} has labels among rayStartParams"
    for group in workers:
        yield from worker_group(group, cluster, gates)
    yield from fault_tolerance(cluster, annotations)
    names = _names(head)
    if not scales and names.get("RAY_enable_autoscaler_v2") in ("1", "true"):
        yield "RAY_enable_autoscaler_v2 is set, and there is no autoscaler"
    options = cluster.get("autoscalerOptions", {})
    if scales and "version" in options and "RAY_enable_autoscaler_v2" in names:
        yield "the autoscaler's version is given twice"
    if _is_v2(cluster):
        for group in [head, *workers]:
            if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield "with autoscaler v2 a pod's restartPolicy is Never"
    if options.get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions.idleTimeoutSeconds is below 0"
    if any(variable["name"] == "KUBERAY_GEN_AUTOSCALER_START_CMD" for variable in options.get("env", [])):
        yield "KUBERAY_GEN_AUTOSCALER_START_CMD is the operator's"
    auth = cluster.get("authOptions", {})
    if auth.get("mode") == "token" and _version(cluster.get("rayVersion", "0")) < (2, 52, 0):
        yield "tokens need Ray 2.52"
    if "networkPolicy" in cluster and "RayClusterNetworkPolicy" not in gates:
        yield "networkPolicy needs the gate RayClusterNetworkPolicy"
    yield from network_policy(cluster)
    if "tlsOptions" in cluster and "RayClusterMTLS" not in gates:
        yield "tlsOptions needs the gate RayClusterMTLS"
    yield from tls(cluster)


def worker_group(group: Spec, cluster: Spec, gates: frozenset[str]) -> Iterator[str]:
    """Its part of `ValidateRayClusterSpec`, `validateWorkerGroupIdleTimeout` and `validateWorkerGroupPriority`."""
    name, least, most = group["groupName"], group.get("minReplicas"), group.get("maxReplicas")
    scales = bool(cluster.get("enableInTreeAutoscaling"))
    if not scales and (least is None or most is None):
        yield f"{name} has no bounds, and there is no autoscaler"
    if (least or 0) < 0 or (most or 0) < 0:
        yield f"{name} has a bound below 0"
    if least is not None and most is not None and least > most:
        yield f"{name} has minReplicas above maxReplicas"
    by_name = _names(cluster["headGroupSpec"]).get("RAY_enable_autoscaler_v2") in ("1", "true")
    v2 = _is_v2(cluster) or by_name
    idle = group.get("idleTimeoutSeconds")
    if idle is not None and (idle < 0 or not v2):
        yield f"{name} has an idleTimeoutSeconds below 0, or no autoscaler v2"
    if group.get("priority") and (not v2 or _version(cluster.get("rayVersion", "0")) < (2, 56, 0)):
        yield f"{name} has a priority, and no autoscaler v2 of Ray 2.56"
    if group.get("suspend") and (scales or "RayJobDeletionPolicy" not in gates):
        yield f"{name} cannot be suspended"


def fault_tolerance(cluster: Spec, annotations: Spec) -> Iterator[str]:
    """Its part of `ValidateRayClusterSpec`, and `validateGcsFaultToleranceBackend` for Redis."""
    head, options = cluster["headGroupSpec"], cluster.get("gcsFaultToleranceOptions")
    names, params = _names(head), head.get("rayStartParams", {})
    if options is None:
        if "RAY_REDIS_ADDRESS" in names and annotations.get("ray.io/ft-enabled") != "true":
            yield "RAY_REDIS_ADDRESS without gcsFaultToleranceOptions"
    else:
        for annotation in ("ray.io/ft-enabled", "ray.io/external-storage-namespace"):
            if annotations.get(annotation):
                yield f"{annotation} beside gcsFaultToleranceOptions"
        if params.get("redis-password") or {"REDIS_PASSWORD", "RAY_REDIS_ADDRESS"} & set(names):
            yield "Redis is given beside gcsFaultToleranceOptions"
        if options.get("backend", "redis") == "redis" and "storage" in options:
            yield "storage is for RocksDB"
    if params.get("redis-username") or "REDIS_USERNAME" in names:
        yield "Redis's user is given beside gcsFaultToleranceOptions"


def network_policy(cluster: Spec) -> Iterator[str]:
    """`validateNetworkPolicy`."""
    policy = cluster.get("networkPolicy")
    if policy is None:
        return
    groups = [group["groupName"] for group in cluster.get("workerGroupSpecs", [])]
    for group in groups:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", group):
            yield f"the group's name is no label of DNS (RFC 1123): {group}"
    unrestricted = {"DenyAllEgress": "ingressRules", "DenyAllIngress": "egressRules"}
    rules = unrestricted.get(policy.get("mode", "DenyAll"), "")
    for part in (policy.get("head", {}), policy.get("worker", {}), *policy.get("workerGroups", [])):
        if part.get(rules):
            yield f"{rules} for what is not restricted"
        if part.get("groupName", groups[0]) not in groups:
            yield f"rules for a group that is not there: {part['groupName']}"


def tls(cluster: Spec) -> Iterator[str]:
    """`validateTLSOptions`, `validateNoConflictingTLSVolumeMount`."""
    options = cluster.get("tlsOptions")
    if options is None or options.get("enabled") is False:
        return
    scaler = cluster.get("autoscalerOptions", {})
    first = [group["template"]["spec"]["containers"][0] for group in _groups(cluster)]
    for container in [*first, scaler]:
        if set(TLS_NAMES) & {variable["name"] for variable in container.get("env", [])}:
            yield "what is said of TLS in the environment is the operator's"
        for mount in container.get("volumeMounts", []):
            if mount["name"] == TLS_VOLUME or mount["mountPath"] == TLS_FOLDER:
                yield "the folder of certificates is the operator's"


def _groups(cluster: Spec) -> list[Spec]:
    return [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]


def _names(group: Spec) -> dict[str, str]:
    """The environment of its Ray container, which is the first."""
    return {v["name"]: v.get("value", "") for v in group["template"]["spec"]["containers"][0].get("env", [])}


def _is_v2(cluster: Spec) -> bool:
    """`IsAutoscalingV2Enabled`, in util.go."""
    return bool(cluster.get("enableInTreeAutoscaling")) and cluster.get("autoscalerOptions", {}).get("version") == "v2"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _is_positive_time(text: str) -> bool:
    """As Go writes one, or seconds."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text) > 0
    parts = list(_DURATION.finditer(text))
    return "".join(part[0] for part in parts) == text and sum(float(part[1]) for part in parts) > 0 and text[0] != "-"
