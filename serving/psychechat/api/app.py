"""App factory: plain FastAPI around a pipeline, independent of Ray."""

import time
from collections.abc import Callable, Collection

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from psychechat.api import models, probes, sessions
from psychechat.api.chat import route as chat
from psychechat.api.http.auth import METRICS, OPEN, Gate, Keyring
from psychechat.api.http.errors import respond
from psychechat.api.http.hosts import Cors, Origins
from psychechat.api.http.methods import Methods
from psychechat.api.http.middleware import Envelope
from psychechat.api.http.openapi import Document
from psychechat.api.http.schemas import ChatCompletionChunk, Classification
from psychechat.api.probes import Ready
from psychechat.api.responses import route as responses
from psychechat.api.responses.schemas import EVENTS
from psychechat.api.texts import classify, moderations
from psychechat.api.ui import files
from psychechat.api.ui import route as ui_route
from psychechat.concurrency import Clock
from psychechat.errors import PsycheChatError
from psychechat.pipeline.services import Pipeline
from psychechat.telemetry import ConfigPart


def create_app(
    pipeline: Pipeline,
    *,
    ready: Ready,
    keyring: Callable[[], Keyring] = lambda: Keyring({}),
    config_refused: Callable[[], Collection[ConfigPart]] = tuple,
    open_metrics: bool = True,
    origins: Collection[str] = (),
    ui: bool = False,
    clock: Clock = time.monotonic,
) -> FastAPI:
    """`keyring` is called per request, so that keys may change. `config_refused`: what `/ready` tells of the newest
    change of the configuration. `open_metrics`: `/metrics` needs no key, unless there is one for it. `origins`: whose
    pages may read the answers. `ui`: whether there is the playground. `clock`: by which answers to probes get old.
    """
    app = FastAPI(
        title="PsychēChat",
        description="Emotion-aware counselling replies over OpenAI's chat API. It detects and routes; it is no "
        "medical device and never diagnoses.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(chat.router(pipeline))
    app.include_router(responses.router(pipeline))
    app.include_router(classify.router(pipeline))
    app.include_router(moderations.router(pipeline))
    app.include_router(sessions.router(pipeline))
    app.include_router(models.router(int(time.time()), lambda: pipeline.policy.names))
    app.include_router(probes.router(ready, pipeline.metrics, config_refused, clock))
    always_open = OPEN
    if ui:
        shown = files.read()
        app.include_router(ui_route.router(shown))
        always_open |= ui_route.paths(shown)
    for kind in (PsycheChatError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, respond)

    def open_paths() -> frozenset[str]:
        return always_open | {METRICS} if open_metrics and not keyring().metrics else always_open

    app.add_middleware(Methods)
    pages = Origins(origins)
    app.add_middleware(Gate, keyring=keyring, open_paths=open_paths, pages=pages)
    app.add_middleware(
        Envelope, metrics=pipeline.metrics, limits=lambda: pipeline.policy.limits, tracer=pipeline.tracer
    )
    if pages:
        app.add_middleware(Cors, origins=pages)
    events = (ChatCompletionChunk, Classification, *EVENTS)
    app.openapi = Document(app, lambda: open_paths() if keyring() else None, events)  # type: ignore[method-assign]  # as FastAPI's documentation has it
    return app
