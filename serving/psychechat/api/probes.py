"""`/health`, `/ready` and `/metrics`: for whoever runs the server."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from psychechat.api.http.openapi import answers, text
from psychechat.api.http.responses import JSONBytes
from psychechat.api.http.schemas import Health, Readiness
from psychechat.concurrency import Clock, Kept
from psychechat.telemetry import ConfigPart, Metrics

Ready = Callable[[], Awaitable[Mapping[str, bool | tuple[str, ...]]]]
"""Which engines are up, by deployment. One that is up with less than it should have tells its limits instead."""


KEPT_SECONDS = 1.0
"""For so long an answer about the engines, and one with metrics, is given again: both are dear, and need no key."""


def router(
    ready: Ready,
    metrics: Metrics,
    config_refused: Callable[[], Collection[ConfigPart]] = tuple,
    clock: Clock = time.monotonic,
) -> APIRouter:
    """`config_refused`: parts of the newest change of the configuration that were refused. It is ready all the same."""
    routes = APIRouter()

    async def expose() -> bytes:
        return metrics.exposition()

    kept_ready, kept_metrics = Kept(ready, KEPT_SECONDS, clock), Kept(expose, KEPT_SECONDS, clock)

    @routes.get("/health", summary="Is this process alive?", responses=answers(Health, when="It is."))
    async def health() -> Response:
        return JSONBytes({"status": "ok"})

    @routes.get(
        "/ready",
        summary="Are the engines up?",
        responses=answers(Readiness, when="All of them.") | {503: {"model": Readiness, "description": "Not all."}},
    )
    async def readiness() -> Response:
        told = await kept_ready()
        engines = {name: bool(state) for name, state in told.items()}
        limits = {name: list(state) for name, state in told.items() if not isinstance(state, bool)}
        up = all(engines.values())
        told_if_any = {"limits": limits, "config_refused": list(config_refused())}
        body = {
            "status": "ready" if up else "starting",
            "engines": engines,
            **{name: value for name, value in told_if_any.items() if value},
        }
        return JSONBytes(body, 200 if up else 503)

    @routes.get(
        "/metrics",
        summary="Prometheus metrics of this replica",
        response_class=Response,
        responses=text(401, 403, when="Prometheus's text format."),
    )
    async def exposition() -> Response:
        return Response(await kept_metrics(), media_type=CONTENT_TYPE_LATEST)

    return routes
