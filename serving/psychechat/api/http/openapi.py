"""OpenAPI document: every response of every route, errors and streams included."""

from collections.abc import Callable, Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from psychechat.api.http.auth import OPEN
from psychechat.api.http.body.unread import HEADER
from psychechat.api.http.schemas import ErrorObject, schemas

Responses = dict[int | str, dict[str, Any]]

_WHEN = {
    400: "Something is missing, wrong or not supported; `param` names it.",
    401: "The server has API keys, and none came that it knows.",
    403: "The key is not for this, or the server has no keys and is not asked from this machine.",
    404: "There is no such model.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The body was not sent as JSON, or in a content coding that is not read here.",
    429: "The server is at capacity, or the key's quota is used up.",
    500: "A fault of the server's own.",
    503: "An engine is starting, restarting or gone.",
    504: "The turn's time is up.",
}
_HEADERS = {"x-request-id": {"description": "The request's id.", "required": True, "schema": {"type": "string"}}}
_IGNORED = {
    HEADER: {
        "description": "Fields that were sent and change nothing: up to 20 names, and how many more there are.",
        "required": False,
        "schema": {"type": "string"},
        "example": "ignore_eos, num_ctx, +3",
    }
}
_AGAIN = {
    "retry-after": {"description": "Seconds.", "required": True, "schema": {"type": "string"}},
    "retry-after-ms": {"description": "Milliseconds.", "required": True, "schema": {"type": "string"}},
}


READ = (400, 401, 403, 408, 413, 415, 429, 503)
"""Error statuses of every route that reads a body and calls an engine."""


def answers(kind: type, *statuses: int, when: str) -> Responses:
    """`responses` of a route: 200 with this object, and errors with these statuses."""
    responses: Responses = {200: {"model": kind, "description": when}}
    return responses | {status: {"model": ErrorObject, "description": _WHEN[status]} for status in statuses}


def text(*statuses: int, when: str) -> Responses:
    """`responses` with plain text at 200, errors as above. The route's `response_class` must be plain `Response`."""
    responses = answers(str, *statuses, when=when)
    return {**responses, 200: {"description": when, "content": {"text/plain": {"schema": {"type": "string"}}}}}


def streamed(responses: Responses, *events: type, done: bool = True) -> Responses:
    """`responses` with `stream: true` added: server-sent events of these kinds, then `[DONE]` or an error.

    Without `done` the last event says how it ended.
    """
    kinds = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in (*events, *((ErrorObject,) if done else ()))]
    objects = {"contentMediaType": "application/json", "contentSchema": {"anyOf": kinds}}
    names = " or ".join(kind.__name__ for kind in events)
    end = ", then `[DONE]`; or an ErrorObject, which is the end" if done else ""
    data = {
        "description": f"`stream: true`: a {names} each{end}.",
        "type": "string",
        "anyOf": [{"const": "[DONE]"}, objects] if done else [objects],
    }
    # OpenAPI 3.2's word for the items of a stream, which tools for 3.1 know or skip.
    item = {"itemSchema": {"type": "object", "required": ["data"], "properties": {"data": data}}}
    return {**responses, 200: {**responses[200], "content": {"text/event-stream": item}}}


class Document:
    """FastAPI's document with our errors, headers and streams. Kept for whichever paths are open."""

    def __init__(self, app: FastAPI, open_paths: Callable[[], frozenset[str] | None], events: Collection[type]) -> None:
        """`open_paths`: paths without a key. None: no path needs one. `events`: kinds of them in all streams."""
        self._app, self._open, self._events = app, open_paths, events
        self._written: dict[frozenset[str] | None, dict[str, Any]] = {}

    def __call__(self) -> dict[str, Any]:
        open_paths = self._open()
        if open_paths not in self._written:
            self._written[open_paths] = _written(self._app, open_paths, self._events)
        return self._written[open_paths]


def _written(app: FastAPI, open_paths: frozenset[str] | None, events: Collection[type]) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    parts = document["components"]
    for foreign in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(foreign, None)
    parts["schemas"] |= schemas(ErrorObject, *events)
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation["security"] = [] if open_paths is None or path in open_paths else [{"key": []}]
            operation["responses"].pop("422", None)
            for status, response in operation["responses"].items():
                response["headers"] = (
                    _HEADERS
                    | (_IGNORED if method == "post" else {})
                    | (_AGAIN if status in ("429", "503") and path not in OPEN else {})
                )
    return document
