"""Which pods a client of the service reaches."""

from types import SimpleNamespace
from typing import Any

from benchmarks.cluster.kuberay import CLUSTER, SERVES
from benchmarks.cluster.service import SPREAD_SECONDS, Service


def pod(number: int, *, cluster: str = "old", healthy: bool = True, serves: str = "true") -> Any:
    return SimpleNamespace(ip=f"10.0.0.{number}", healthy=healthy, labels={CLUSTER: cluster, SERVES: serves})


def test_it_has_the_ready_pods_of_its_cluster_that_serve() -> None:
    pods = [
        pod(1),
        pod(2, healthy=False),
        pod(3, serves="false"),  # a head
        pod(4, cluster="new"),
        pod(5),
    ]
    service = Service(8000, lambda: pods)
    assert service.endpoints() == []
    service.cluster = "old"
    assert service.endpoints() == ["10.0.0.1", "10.0.0.5"]
    service.cluster = "new"
    assert service.endpoints() == ["10.0.0.4"]


def test_whoever_sends_traffic_knows_of_a_change_a_moment_later() -> None:
    now, pods = [100.0], [pod(1), pod(2)]
    service = Service(8000, lambda: pods, clock=lambda: now[0])
    service.cluster = "old"
    service.look()
    assert [url.host for url in service.ready()] == ["10.0.0.1", "10.0.0.2"]
    pods[0].healthy = False
    service.look()
    now[0] += SPREAD_SECONDS / 2
    service.look()
    assert [url.host for url in service.ready()] == ["10.0.0.1", "10.0.0.2"]
    now[0] += SPREAD_SECONDS / 2
    service.look()
    assert [(url.host, url.port) for url in service.ready()] == [("10.0.0.2", 8000)]
