"""Who sees GPUs: pods that Kubernetes gives some, and no others, whatever their node and its runtime show."""

import json

import kubernetes_validate
import pytest
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

from tests.helm.charts import CHART, Helm, Manifest, Rendered

DOCKERFILE = CHART.parent / "Dockerfile"


def shown(rendered: Rendered) -> dict[str, str | None]:
    """What NVIDIA's runtime is told, where it runs every container."""
    found = {}
    for name, pod in rendered.pods.items():
        environment = {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0]["env"]}
        found[name] = environment.get("NVIDIA_VISIBLE_DEVICES")
    return found


def groups(rendered: Rendered) -> dict[str, Manifest]:
    workers = {group["groupName"]: group for group in rendered.cluster["workerGroupSpecs"]}
    return {"head": rendered.cluster["headGroupSpec"], **workers}


def counted(rendered: Rendered) -> dict[str, int | None]:
    """How many Ray is told of, by its autoscaler. None: it looks for itself."""
    cluster = {"metadata": {"name": "x", "namespace": "y"}, "spec": rendered.cluster}
    kinds = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    return {name: kinds["headgroup" if name == "head" else name]["resources"].get("GPU") for name in groups(rendered)}


def test_only_those_that_are_given_some(rendered: Rendered) -> None:
    for name, pod in rendered.pods.items():
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        given = int(limits.get("nvidia.com/gpu", 0))
        assert shown(rendered)[name] == (None if given else "void")
        assert counted(rendered)[name] == given
    for name, group in groups(rendered).items():
        # What is not in `ray start` KubeRay takes from the limits, and Ray itself from the devices that it finds.
        assert group["rayStartParams"].get("num-gpus") == (None if counted(rendered)[name] else "0")


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ('resources={"limits": {"nvidia.com/mig-1g.10gb": 3}}', 3),
        ('resources={"limits": {"nvidia.com/mig-1g.10gb": "1", "nvidia.com/mig-2g.20gb": 1}}', 2),
        ('resources={"limits": {"nvidia.com/gpu.shared": 1}}', 1),
        ('resources={"limits": {"nvidia.com/gpu.shared": 1}}, "rayStartParams": {"num-gpus": "2"}', 2),
        ('resources={"limits": {"amd.com/gpu": 1}}', 1),
        ('resources={"claims": [{"name": "gpu"}]}', None),  # nobody counts these but whoever writes them
        ('rayStartParams={"num-gpus": "2"}', 2),
    ],
)
def test_other_ways_of_giving_them_are_seen_and_counted(given: str, number: int | None, helm: Helm) -> None:
    name, _, value = given.partition("=")
    rendered = helm.render(f'workerGroups.engines={{"{name}": {value}}}')
    assert shown(rendered) == {"head": "void", "ingress": "void", "engines": None}
    assert counted(rendered) == {"head": 0, "ingress": 0, "engines": number}


def test_claims_are_the_pods_and_ray_counts_what_it_is_told(helm: Helm) -> None:
    claim = [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    rendered = helm.render(
        f"workerGroups.engines.resourceClaims={json.dumps(claim)}",
        'workerGroups.engines.resources={"limits": {"cpu": 4, "memory": "16Gi"}, "claims": [{"name": "gpu"}]}',
        'workerGroups.engines.rayStartParams={"num-gpus": "1"}',
    )
    assert rendered.pods["engines"]["spec"]["resourceClaims"] == claim
    assert counted(rendered) == {"head": 0, "ingress": 0, "engines": 1}
    template = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "x"},
        "template": rendered.pods["engines"],
    }
    kubernetes_validate.validate(template, "1.34", strict=True)


def test_a_group_may_say_otherwise(helm: Helm) -> None:
    """Of two variables of one name the last one holds."""
    rendered = helm.render('workerGroups.ingress.extraEnv=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]')
    assert shown(rendered)["ingress"] == "all"


def test_the_image_asks_for_none() -> None:
    assert "NVIDIA_VISIBLE_DEVICES" not in DOCKERFILE.read_text("utf-8")
