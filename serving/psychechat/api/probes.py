"""`/health`, `/ready` and `/metrics`: for whoever runs the server."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from psychechat.api.http.openapi import answers, text
from psychechat.api.http.responses import JSONBytes
from psychechat.api.http.schemas import Health, Readiness
from psychechat.telemetry import Metrics

Ready = Callable[[], Awaitable[Mapping[str, bool | tuple[str, ...]]]]
"""Which engines are up, by deployment. One that is up with less than it should have tells its limits instead."""


def router(ready: Ready, metrics: Metrics) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health", summary="Is this process alive?", responses=answers(Health, when="It is."))
    async def health() -> Response:
        return JSONBytes({"status": "ok"})

    @routes.get(
        "/ready",
        summary="Are the engines up?",
        responses=answers(Readiness, when="All of them.") | {503: {"model": Readiness, "description": "Not all."}},
    )
    async def readiness() -> Response:
        told = await ready()
        engines = {name: bool(state) for name, state in told.items()}
        limits = {name: list(state) for name, state in told.items() if not isinstance(state, bool)}
        up = all(engines.values())
        body = {"status": "ready" if up else "starting", "engines": engines, **({"limits": limits} if limits else {})}
        return JSONBytes(body, 200 if up else 503)

    @routes.get(
        "/metrics",
        summary="Prometheus metrics of this replica",
        response_class=Response,
        responses=text(401, when="Prometheus's text format."),
    )
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return routes
