"""How a replica is run, as Serve is told it."""

import pytest

from psychechat.config import Autoscaling, Replicas
from psychechat_ray.replicas import deployment


class Nothing:
    """Stands where a replica stands."""


@pytest.mark.parametrize(("replicas", "seconds"), [(Replicas(), 5.0), (Replicas(health_check_seconds=1.5), 1.5)])
def test_serve_asks_for_a_replicas_health_as_often_as_the_settings_say(replicas: Replicas, seconds: float) -> None:
    assert deployment(Nothing, "nothing", replicas)._deployment_config.health_check_period_s == seconds


@pytest.mark.parametrize(
    "replicas", [Replicas(), Replicas(autoscaling=Autoscaling(max_replicas=2))], ids=["fixed", "scaling"]
)
def test_a_replica_that_goes_has_time_for_its_last_turn(replicas: Replicas) -> None:
    """Also where their number is fixed: an update or the server's end takes those too."""
    config = deployment(Nothing, "nothing", replicas, 90.0)._deployment_config
    assert config.graceful_shutdown_timeout_s >= 90 + 30
