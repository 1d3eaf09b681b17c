"""App factory: plain FastAPI around a pipeline, independent of Ray."""

import time
from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from psychechat.api import models, probes, sessions
from psychechat.api.chat import route as chat
from psychechat.api.http.auth import OPEN, Gate, Keyring
from psychechat.api.http.errors import respond
from psychechat.api.http.middleware import Envelope
from psychechat.api.http.openapi import Document
from psychechat.api.probes import Ready
from psychechat.api.texts import classify, moderations
from psychechat.errors import PsycheChatError
from psychechat.pipeline.services import Pipeline


def create_app(
    pipeline: Pipeline,
    *,
    ready: Ready,
    keyring: Callable[[], Keyring] = lambda: Keyring({}),
    open_metrics: bool = True,
) -> FastAPI:
    """`keyring` is called per request, so that keys may change. `open_metrics`: `/metrics` needs no key."""
    app = FastAPI(
        title="PsychēChat",
        description="Emotion-aware counselling replies over OpenAI's chat API. It detects and routes; it is no "
        "medical device and never diagnoses.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(chat.router(pipeline))
    app.include_router(classify.router(pipeline))
    app.include_router(moderations.router(pipeline))
    app.include_router(sessions.router(pipeline))
    app.include_router(models.router(int(time.time()), lambda: pipeline.policy.tasks.model))
    app.include_router(probes.router(ready, pipeline.metrics))
    for kind in (PsycheChatError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, respond)
    open_paths = OPEN | {"/metrics"} if open_metrics else OPEN
    app.add_middleware(Gate, keyring=keyring, open_paths=open_paths)
    app.add_middleware(
        Envelope, metrics=pipeline.metrics, limits=lambda: pipeline.policy.limits, tracer=pipeline.tracer
    )
    app.openapi = Document(app, lambda: bool(keyring()), open_paths)  # type: ignore[method-assign]  # as FastAPI's documentation has it
    return app
