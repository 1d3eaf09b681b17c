"""What the operator makes of a RayService and of its changes, with pods that are nothing but their labels."""

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from benchmarks.cluster.kuberay import CLUSTER, GROUP, Manifest
from benchmarks.cluster.operator import Operator, Running
from benchmarks.cluster.service import Service


@dataclass
class FakePod:
    labels: dict[str, str]
    ip: str
    ready: bool = True
    terminating: bool = False
    gone: bool = False

    @property
    def healthy(self) -> bool:
        return self.ready and not self.terminating

    def delete(self) -> None:
        self.terminating = True


@dataclass
class World:
    pods: list[Any] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)
    """The clusters whose application runs."""

    def make(self, prefix: str, manifest: Manifest) -> Any:
        self.pods.append(FakePod(manifest["metadata"]["labels"], f"10.0.0.{len(self.pods)}"))
        return self.pods[-1]

    def left(self, cluster: str) -> list[str]:
        return sorted(p.labels[GROUP] for p in self.pods if p.labels[CLUSTER] == cluster and not p.gone)


class Played(Operator):
    """Whose clusters serve when the world says so, and have no dashboard."""

    world: World

    def _serves(self, running: Running) -> bool:
        running.served = yaml.safe_load(self._wanted["spec"]["serveConfigV2"])
        return running.cluster.name in self.world.runs


def container(image: str) -> Manifest:
    security = {"runAsUser": 1000}
    return {"name": "ray", "image": image, "env": [], "volumeMounts": [], "ports": [], "securityContext": security}


def ray_service(image: str = "one", policy: str = "mild") -> Manifest:
    template = {"metadata": {"labels": {}}, "spec": {"containers": [container(image)]}}
    workers = {"groupName": "ingress", "replicas": 2, "template": copy.deepcopy(template)}
    cluster = {"headGroupSpec": {"template": copy.deepcopy(template)}, "workerGroupSpecs": [workers]}
    spec = {"rayClusterConfig": cluster, "serveConfigV2": f"policy: {policy}", "rayClusterDeletionDelaySeconds": 0}
    return {"metadata": {"name": "rel"}, "spec": spec}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def operator(world: World) -> Operator:
    service = Service(8000, lambda: world.pods)
    found = Played(service, lambda: world.pods, world.make, world.names.__setitem__, {}, "chat")
    found.world = world
    found.apply(ray_service())
    found.reconcile()
    assert found.pending is not None
    world.runs.add(found.pending.cluster.name)
    found.reconcile()
    return found


def test_a_cluster_has_its_pods_a_name_a_token_and_then_the_service(operator: Operator, world: World) -> None:
    assert operator.active is not None
    assert operator.pending is None
    name = operator.active.cluster.name
    assert world.left(name) == ["headgroup", "ingress", "ingress"]
    assert world.names == {f"{name}-head-svc.chat.svc.cluster.local": "10.0.0.0"}
    assert operator.token(operator.active)
    assert operator.service.cluster == name


def test_a_pod_that_goes_is_replaced_once_it_is_gone(operator: Operator, world: World) -> None:
    going = world.pods[-1]
    going.delete()
    operator.reconcile()
    assert len(world.pods) == 3
    going.gone = True
    operator.reconcile()
    assert len(world.pods) == 4


def test_another_policy_is_given_to_the_cluster_that_is_there(operator: Operator) -> None:
    before = operator.active
    operator.apply(ray_service(policy="strict"))
    operator.reconcile()
    assert (operator.active, operator.pending) == (before, None)
    assert before is not None
    assert before.served == {"policy": "strict"}


def test_another_image_is_a_second_cluster_that_takes_over_once_it_serves(operator: Operator, world: World) -> None:
    old = operator.active
    assert old is not None
    operator.apply(ray_service(image="two"))
    operator.reconcile()
    new = operator.pending
    assert new is not None
    assert operator.token(new) != operator.token(old)
    operator.reconcile()
    assert operator.service.cluster == old.cluster.name, "it took over before it served"
    world.runs.add(new.cluster.name)
    operator.reconcile()
    assert (operator.active, operator.pending) == (new, None)
    assert operator.service.cluster == new.cluster.name
    operator.reconcile()  # the delay is over: the old one's pods are told to go, all at once
    told = {pod.labels[CLUSTER] for pod in world.pods if pod.terminating}
    assert told == {old.cluster.name}
    assert all(pod.terminating for pod in world.pods if pod.labels[CLUSTER] == old.cluster.name)
    for pod in world.pods:
        pod.gone = pod.terminating
    operator.reconcile()
    assert operator.old == []
    assert world.left(old.cluster.name) == []
    assert world.left(new.cluster.name) == ["headgroup", "ingress", "ingress"]


def test_a_third_image_takes_the_place_of_a_second_that_never_served(operator: Operator, world: World) -> None:
    operator.apply(ray_service(image="two"))
    operator.reconcile()
    second = operator.pending
    operator.apply(ray_service(image="three"))
    operator.reconcile()
    assert second is not None
    assert operator.pending is not second
    operator.reconcile()
    assert all(pod.terminating for pod in world.pods if pod.labels[CLUSTER] == second.cluster.name)
