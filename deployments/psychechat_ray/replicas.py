"""What the deployments have in common: how a replica is run."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from opentelemetry.trace import Tracer
from ray import serve
from ray.serve import Deployment
from ray.serve.config import AutoscalingPolicy

from psychechat import logs, tracing
from psychechat.config import Replicas
from psychechat.engines.base import Call
from psychechat.errors import EngineUnavailable, PsycheChatError
from psychechat_ray import autoscaling

logger = logging.getLogger(__name__)

_NO_QUEUE = 100_000
"""Requests that a replica takes at once: more than admission ever lets through, so that no turn waits anywhere else."""


def deployment(
    replica: type,
    name: str,
    replicas: Replicas,
    turn_seconds: float = 90.0,
    policy: AutoscalingPolicy | None = None,
    **more: Any,
) -> Deployment:
    """`replica` as a deployment. How many and with what is the operator's choice; the rest is ours.

    `turn_seconds`: where replicas come and go with the load, one that goes may finish a turn of so long. `policy`: by
    what they do.
    """
    scaling = replicas.autoscaling
    number = autoscaling.options(scaling, turn_seconds, policy) if scaling else {"num_replicas": replicas.num_replicas}
    return serve.deployment(
        name=name,
        **number,
        max_ongoing_requests=_NO_QUEUE,
        ray_actor_options={
            "num_cpus": replicas.num_cpus,
            "num_gpus": replicas.num_gpus,
            "resources": dict(replicas.resources),
            "runtime_env": {"env_vars": dict(replicas.env)},
        },
        health_check_period_s=replicas.health_check_seconds,
        # An engine that cannot start says so soon, instead of being tried twenty times.
        max_constructor_retry_count=2,
        **more,
    )(replica)


def seen() -> Tracer:
    """This replica's tracer, its logs set up as well; both under the deployment's name."""
    service = f"psychechat-{serve.get_replica_context().deployment}"
    logs.configure(service)
    return tracing.tracer(service)


@contextmanager
def traced(tracer: Tracer, work: str, call: Call, **attributes: str | int) -> Iterator[Call]:
    """A span for an engine's work, below the stage that asks for it, and the call to hand to the engine."""
    logs.request_id.set(call.request_id)
    named = {f"psychechat.{name}": value for name, value in {**attributes, "request_id": call.request_id}.items()}
    with tracing.continued(tracer, work, call.trace, named) as headers:
        yield replace(call, trace=headers)


@contextmanager
def only_our_errors() -> Iterator[None]:
    """Around what a replica does: Ray logs what leaves it, text and all, and a foreign error may quote the request.

    Raises EngineUnavailable in the place of any error that is not ours.
    """
    try:
        yield
    except PsycheChatError:
        raise
    except Exception as error:
        logger.error("unforeseen %s", type(error).__name__)
        raise EngineUnavailable("The engine failed this request.") from None


def settled() -> None:
    """What was loaded for the replica stays as long as it does: the garbage collector need not walk through it."""
    gc.collect()
    gc.freeze()


def shut_down(engine: object) -> None:
    """End the engine's processes. None, or an engine that has none, is no error."""
    if callable(shutdown := getattr(engine, "shutdown", None)):
        shutdown()
