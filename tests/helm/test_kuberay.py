"""What KubeRay's operator would say to a RayService of ours, by its rules. For its schemas see `test_chart.py`."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from psychechat_ray.configurations import FOLDER
from tests.helm.charts import CHART, Helm, Manifest, Refused, Rendered
from tests.helm.kuberay_rules import GATES, refusals

ALL_GATES = GATES | {"RayServiceIncrementalUpgrade", "RayClusterNetworkPolicy", "RayClusterMTLS"}
TLS = {"tlsOptions": {"enabled": True}}


def gates(rendered: Rendered) -> frozenset[str]:
    """An operator's own, and where the example says that it needs another, that one."""
    return GATES | {"RayClusterMTLS"} if "tlsOptions" in rendered.cluster else GATES


def test_it_takes_every_example(rendered: Rendered) -> None:
    assert refusals(rendered.only("RayService"), gates(rendered)) == []


@pytest.mark.parametrize("configuration", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_it_takes_every_configuration(configuration: Path, helm: Helm) -> None:
    app = yaml.safe_load(configuration.read_text("utf-8"))
    secrets = [f"secrets.{name}.existingSecret=a" for name in ("redisUrl", "memoryKeys")]
    in_redis = app.get("memory", {}).get("backend") == "redis"
    service = helm.render(f"app={json.dumps(app)}", *(secrets if in_redis else ())).only("RayService")
    assert refusals(service) == []


@pytest.mark.parametrize("key", ["tlsOptions", "networkPolicy"])
def test_what_needs_a_gate_says_so_to_the_operator_and_to_whoever_installs(key: str, helm: Helm) -> None:
    given = {"tlsOptions": {"enabled": True}, "networkPolicy": {"mode": "DenyAllIngress"}}[key]
    service = helm.render(f"rayCluster.{key}={json.dumps(given)}").only("RayService")
    [refusal] = refusals(service)
    gate = refusal.rpartition(" ")[2]
    assert refusals(service, ALL_GATES) == []
    assert f"`{gate}`" in (CHART / "values.yaml").read_text("utf-8")
    assert gate in helm.notes(f"rayCluster.{key}={json.dumps(given)}")


GROUP = ("spec", "rayClusterConfig", "workerGroupSpecs", 0)
HEAD = ("spec", "rayClusterConfig", "headGroupSpec")
CLUSTER = ("spec", "rayClusterConfig")
STEPS = {"gatewayClassName": "istio", "stepSizePercent": 20, "intervalSeconds": 60}
INCREMENTAL = {"type": "NewClusterWithIncrementalUpgrade", "clusterUpgradeOptions": STEPS}


def steps(**changes: Any) -> Manifest:
    return INCREMENTAL | {"clusterUpgradeOptions": STEPS | changes}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ([(("metadata", "name"), "a" * 48)], "47 characters"),
        ([(("metadata", "name"), "1chat")], "RFC 1035"),
        ([(("metadata", "annotations"), {"ray.io/initializing-timeout": "soon"})], "no time"),
        ([(("metadata", "annotations"), {"ray.io/initializing-timeout": "-5m"})], "no time"),
        ([((*CLUSTER, "authOptions", "enableK8sTokenAuth"), True)], "tokens of Kubernetes"),
        ([((*HEAD, "headService"), {"metadata": {"name": "x"}})], "head's service"),
        ([(("spec", "upgradeStrategy", "type"), "Sometimes")], "no upgrade strategy"),
        ([(("spec", "rayClusterDeletionDelaySeconds"), -1)], "rayClusterDeletionDelaySeconds"),
        ([(("spec", "upgradeStrategy"), INCREMENTAL)], "needs Ray's autoscaler"),
        ([(("spec", "upgradeStrategy"), {"type": INCREMENTAL["type"]})], "needs clusterUpgradeOptions"),
        ([(("spec", "upgradeStrategy"), steps(maxSurgePercent=10))], "above"),
        ([(("spec", "upgradeStrategy"), steps(stepSizePercent=101))], "step"),
        ([(("spec", "upgradeStrategy"), steps(maxSurgePercent=101))], "maxS"),
        ([(("spec", "upgradeStrategy"), steps(intervalSeconds=0))], "inter"),
        ([(("spec", "upgradeStrategy"), steps(gatewayClassName=""))], "gate"),
        ([((*HEAD, "template", "spec", "containers"), [])], "no container"),
        ([((*GROUP, "resources"), {"CPU": "1"})], "two places"),
        ([((*GROUP, "rayStartParams", "labels"), "a=b")], "labels"),
        ([((*GROUP, "maxReplicas"), None)], "no bounds"),
        ([((*GROUP, "minReplicas"), -1)], "below 0"),
        ([((*GROUP, "minReplicas"), 9)], "above maxReplicas"),
        ([((*GROUP, "idleTimeoutSeconds"), 60)], "idleTimeoutSeconds"),
        ([((*GROUP, "priority"), 1)], "priority"),
        ([((*GROUP, "suspend"), True), ((*CLUSTER, "enableInTreeAutoscaling"), True)], "suspended"),
        ([((*HEAD, "rayStartParams", "redis-username"), "x")], "user"),
        ([((*CLUSTER, "autoscalerOptions"), {"idleTimeoutSeconds": -1})], "below 0"),
        ([((*CLUSTER, "autoscalerOptions"), {"env": [{"name": "KUBERAY_GEN_AUTOSCALER_START_CMD"}]})], "operator's"),
        ([((*CLUSTER, "rayVersion"), "2.51.2")], "2.52"),
        ([((*CLUSTER, "networkPolicy"), {"mode": "DenyAllEgress", "head": {"ingressRules": [{}]}})], "not restricted"),
        ([((*CLUSTER, "networkPolicy"), {"workerGroups": [{"groupName": "x"}]})], "not there"),
        ([((*GROUP, "groupName"), "Engines"), ((*CLUSTER, "networkPolicy"), {})], "RFC 1123"),
        ([((*CLUSTER, "gcsFaultToleranceOptions"), {"storage": {}})], "RocksDB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_rules_refuse_what_is_wrong(
    changes: list[tuple[tuple[str | int, ...], Any]], complaint: str, service: Manifest
) -> None:
    for path, value in changes:
        *to, last = path
        part: Any = service
        for step in to:
            part = part[step]
        part[last] = value
    assert any(complaint in refusal for refusal in refusals(service, ALL_GATES)), refusals(service, ALL_GATES)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"RAY_REDIS_ADDRESS": "x"}, "without gcsFaultToleranceOptions"),
        ({"REDIS_USERNAME": "x"}, "Redis's user"),
        ({"RAY_enable_autoscaler_v2": "1"}, "there is no autoscaler"),
        ({"RAY_USE_TLS": "1"}, "operator's"),
    ],
)
def test_the_rules_look_at_the_environment(changes: dict[str, str], complaint: str, service: Manifest) -> None:
    cluster = service["spec"]["rayClusterConfig"]
    cluster |= TLS
    [container] = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    container["env"] += [{"name": name, "value": value} for name, value in changes.items()]
    assert any(complaint in refusal for refusal in refusals(service, ALL_GATES))


@pytest.fixture(scope="module")
def default(helm: Helm) -> Manifest:
    return helm.render().only("RayService")


@pytest.fixture
def service(default: Manifest) -> Manifest:
    return deepcopy(default)


SCALES = ("autoscaler.enabled=true",)
STEP_BY_STEP = (*SCALES, f"upgradeStrategy={json.dumps(INCREMENTAL)}")
WRONG = [
    (STEP_BY_STEP[1:], "set autoscaler.enabled"),
    ((*STEP_BY_STEP, "upgradeStrategy.clusterUpgradeOptions.gatewayClassName="), "name the class"),
    ((*STEP_BY_STEP, "upgradeStrategy.clusterUpgradeOptions.intervalSeconds=0"), "how long a step"),
    ((*STEP_BY_STEP, "upgradeStrategy.clusterUpgradeOptions.maxSurgePercent=10"), "does not hold"),
    ((*SCALES, "upgradeStrategy.type=NewClusterWithIncrementalUpgrade"), "name the class"),
    (("fullnameOverride=1chat",), "begin with a letter"),
    (("workerGroups.engines.idleTimeoutSeconds=60",), "set autoscaler.enabled"),
    ((*SCALES, "autoscaler.options.version=v1", "workerGroups.engines.idleTimeoutSeconds=60"), "of version v2"),
    (('workerGroups.engines.rayStartParams={"labels": "a=b"}',), "workerGroups.engines.labels"),
    (('head.rayStartParams={"redis-username": "x"}',), "gcsFaultTolerance"),
    (('extraEnv=[{"name": "RAY_REDIS_ADDRESS", "value": "x"}]',), "gcsFaultTolerance"),
    (('head.extraEnv=[{"name": "RAY_enable_autoscaler_v2", "value": "1"}]',), "autoscaler.options.version"),
    ((*SCALES, 'autoscaler.options={"idleTimeoutSeconds": -1}'), "no less than 0"),
    (("rayCluster.authOptions.enableK8sTokenAuth=true",), "leave it out"),
    (("rayVersion=2.51.0",), "Ray 2.52"),
    (('rayCluster.networkPolicy={"mode": "DenyAllIngress", "worker": {"egressRules": [{}]}}',), "does not restrict"),
    (('rayCluster.networkPolicy={"workerGroups": [{"groupName": "x"}]}',), 'worker group "x"'),
    (("rayCluster.tlsOptions.enabled=true", 'extraEnv=[{"name": "RAY_USE_TLS", "value": "1"}]'), "RAY_USE_TLS"),
    (('annotations={"ray.io/initializing-timeout": "soon"}',), "30m"),
]


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as it would be without the checks of these rules."""
    chart = shutil.copytree(CHART, tmp_path_factory.mktemp("unchecked") / "psychechat")
    (chart / "templates/_kuberay.tpl").write_text('{{- define "psychechat.kuberayTakes" -}}{{- end -}}')
    helpers = chart / "templates/_helpers.tpl"
    helpers.write_text(helpers.read_text("utf-8").replace("^[a-z]([-a-z0-9]*[a-z0-9])?$", "."))
    return chart


@pytest.mark.parametrize(("sets", "complaint"), WRONG, ids=[complaint for _, complaint in WRONG])
def test_the_chart_refuses_what_the_operator_would(
    sets: tuple[str, ...], complaint: str, helm: Helm, unchecked: Path
) -> None:
    assert refusals(helm.render(*sets, chart=unchecked).only("RayService"), ALL_GATES)
    with pytest.raises(Refused, match=complaint):
        helm.render(*sets)


def test_an_upgrade_step_by_step_has_no_service_that_others_could_lead_to(helm: Helm) -> None:
    rendered = helm.render(*STEP_BY_STEP)
    assert refusals(rendered.only("RayService"), ALL_GATES) == []
    assert not rendered.of_kind("Pod")  # the chart's test would ask the service
    notes = helm.notes(*STEP_BY_STEP)
    assert "rel-psychechat-gateway" in notes
    assert "port-forward" not in notes
    for sets in (['ingress.hosts=["x.example"]'], ['httpRoute.parentRefs=[{"name": "public"}]']):
        name = sets[0].partition(".")[0]
        with pytest.raises(Refused, match="there is none that ingress or httpRoute could lead to"):
            helm.render(*STEP_BY_STEP, f"{name}.enabled=true", *sets)
