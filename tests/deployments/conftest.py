"""One Ray for all tests over it. What is served there changes from module to module."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from psychechat_ray import environment
from tests.deployments.fragile import SETTINGS
from tests.support.ray_cluster import HASTE, Cluster, ray_head

environment.set_defaults()  # Ray reads them while it is imported, by the tests beside this file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own, on import
    import ray.serve  # noqa: F401


@pytest.fixture(scope="package")  # no longer: what does nothing takes from the tests that come then
def cluster(short_folder: Callable[[], Path]) -> Iterator[Cluster]:
    with ray_head(short_folder(), env=environment.DEFAULTS | HASTE) as running:
        yield running


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    """The fragile one, whole."""
    cluster.serve(SETTINGS)
    return cluster
