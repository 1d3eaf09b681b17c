"""Common parts of the deployments: options, telemetry, errors and shutdown of a replica."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ray import serve
from ray.serve import Deployment
from ray.serve.config import AutoscalingPolicy

from psychechat import logs, tracing
from psychechat.config import Replicas
from psychechat.engines.base import Call
from psychechat.errors import EngineUnavailable, PsycheChatError
from psychechat.tracing import Tracer
from psychechat_ray import autoscaling
from psychechat_ray.environment import STOP_SECONDS
from psychechat_ray.sent_call import SentCall

logger = logging.getLogger(__name__)

_MAX_ONGOING_REQUESTS = 100_000
"""Serve's limit per replica, above what admission ever lets through, so that turns queue in admission only."""


@dataclass(frozen=True)
class Starts:
    """Patience with starts that fail. By default nobody is looking on, so that a hub or a GPU that is away for some
    minutes must not make a failure final.
    """

    attempts: int = 20
    """Until Serve gives the deployment up."""
    pause_seconds: float = 10.0
    """Between an engine's failure and the next start, which Serve itself begins at once."""


PATIENT = Starts()


def deployment(
    replica: type,
    name: str,
    replicas: Replicas,
    drain_seconds: float = 90.0,
    policy: AutoscalingPolicy | None = None,
    version: str | None = None,
    starts: Starts = PATIENT,
    **more: Any,
) -> Deployment:
    """Serve deployment of the class `replica`, with the operator's counts and resources.

    `drain_seconds`: how long a replica that is removed may take to finish its turns; it has STOP_SECONDS more.
    `policy`: autoscaling policy. `version`: where Serve is given it again with the same one, no replica restarts. None:
    they do. `starts`: the setting `start_attempts` goes before its attempts.
    """
    scaling = replicas.autoscaling
    number = autoscaling.options(scaling, policy) if scaling else {"num_replicas": replicas.num_replicas}
    made = serve.deployment(
        name=name,
        **number,
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        ray_actor_options={
            "num_cpus": replicas.num_cpus,
            "num_gpus": replicas.num_gpus,
            "resources": dict(replicas.resources),
            "runtime_env": {"env_vars": dict(replicas.env)},
        },
        health_check_period_s=replicas.health_check_seconds,
        graceful_shutdown_timeout_s=drain_seconds + STOP_SECONDS,
        # Serve takes three times the number of replicas if that is less, but for what `environment` says.
        max_constructor_retry_count=replicas.start_attempts or starts.attempts,
        **more,
    )(replica)
    made._version = version  # Serve has no option for it any more
    return made


def start_telemetry() -> Tracer:
    """Tracer of this replica, with logging set up too; both under the deployment's name."""
    service = f"psychechat-{serve.get_replica_context().deployment}"
    logs.configure(service)
    return tracing.tracer(service)


@asynccontextmanager
async def failing_late(seconds: float) -> AsyncIterator[None]:
    """Delay of the error that ends a start, until which Serve begins no other."""
    try:
        yield
    except Exception as error:
        if seconds:
            logger.warning("the start has failed (%s): the next one in %g s", type(error).__name__, seconds)
            await asyncio.sleep(seconds)
        raise


@contextmanager
def traced(tracer: Tracer, work: str, sent: SentCall, **attributes: str | int) -> Iterator[Call]:
    """Span of an engine's work, as a child of the calling stage's; yields the call to pass to the engine."""
    call = sent.received()
    logs.request_id.set(call.request_id)
    named = {f"psychechat.{name}": value for name, value in {**attributes, "request_id": call.request_id}.items()}
    with tracing.continued(tracer, work, call.trace, named) as headers:
        yield replace(call, trace=headers)


@contextmanager
def redact_foreign_errors() -> Iterator[None]:
    """Replacement of every error that is not ours by EngineUnavailable.

    Ray logs errors that leave a replica with their text, and a foreign error's may quote the request.
    """
    try:
        yield
    except PsycheChatError:
        raise
    except Exception as error:
        logger.error("unforeseen %s", type(error).__name__)
        raise EngineUnavailable("The engine failed this request.") from None


def freeze_heap() -> None:
    """Exclude all live objects from garbage collection: they live as long as the replica does."""
    gc.collect()
    gc.freeze()


def shut_down(engine: object) -> None:
    """Shutdown of the engine; a no-op without a `shutdown` method."""
    if callable(shutdown := getattr(engine, "shutdown", None)):
        shutdown()
