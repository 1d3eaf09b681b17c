"""How a replica is run, as Serve is told it."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ray import serve
from ray.serve._private.constants import MAX_PER_REPLICA_RETRY_COUNT

from psychechat import tracing
from psychechat.config import Autoscaling, GeneratorSettings, ModelSettings, Replicas, Settings
from psychechat_ray import app, classifier, generator, server
from psychechat_ray.classifier import Classifier
from psychechat_ray.generator import Generator
from psychechat_ray.replicas import deployment
from tests.support import virtual_time


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


def attempts(application: serve.Application) -> int:
    """Failed starts until Serve gives up, as it counts them with one replica."""
    most: int = application._bound_deployment._deployment_config.max_constructor_retry_count
    return min(most, MAX_PER_REPLICA_RETRY_COUNT)


def test_on_a_ray_of_ones_own_some_bad_minutes_are_not_final() -> None:
    assert attempts(app.build({})) >= 10
    assert attempts(app.build({"ingress": {"start_attempts": 40}})) == 40


def test_for_who_is_looking_on_a_start_fails_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    targets: list[Any] = []
    monkeypatch.setattr(serve, "run_many", lambda given, **_: targets.extend(given))
    server._deploy(Settings())
    server._deploy(Settings(ingress=Replicas(start_attempts=7)))
    assert [attempts(target.target) for target in targets] == [2, 7]
    assert {pause for target in targets for pause in pauses(target.target)} == {0.0}


def pauses(application: serve.Application) -> list[float]:
    """Of each engine, before its failed start is told."""
    arguments: Sequence[Any] = application._bound_deployment.init_args
    _, classifier, engines = arguments
    return [bound._bound_deployment.init_args[-1] for bound in (classifier, *engines.values())]


def test_where_nobody_is_looking_on_failed_starts_last_some_minutes() -> None:
    """Serve begins the next one at once."""
    application = app.build({})
    assert min(pauses(application)) * attempts(application) >= 180


@pytest.mark.parametrize("pause", [10.0, 0.0])
@pytest.mark.parametrize("engine", ["generator", "classifier"])
def test_an_engine_that_fails_says_so_after_the_pause(
    engine: str, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("the hub is away")

    module: ModuleType = {"generator": generator, "classifier": classifier}[engine]
    monkeypatch.setattr(module, "_engine", away)
    monkeypatch.setattr(module, "start_telemetry", lambda: tracing.OFF)

    async def start() -> None:
        if engine == "generator":
            replica = Generator.__new__(Generator)
            await replica.__init__(GeneratorSettings(), (), Path("/nowhere"), (), pause)  # type: ignore[misc]
        else:
            other = Classifier.__new__(Classifier)
            await other.__init__(ModelSettings(), Path("/nowhere"), pause)  # type: ignore[misc]

    async def seconds() -> float:
        began = virtual_time.clock()
        with pytest.raises(OSError, match="the hub is away"):
            await start()
        return virtual_time.clock() - began

    assert virtual_time.run(seconds()) == pytest.approx(pause, abs=1.0)  # a thread's moments are real ones
