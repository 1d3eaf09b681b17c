"""Route whose body is JSON, leniently read, and where what will be refused is looked at once more."""

import json
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from psychechat.api.http.body import lenient
from psychechat.api.http.body.coding import is_broken
from psychechat.errors import InvalidRequest

Refusal = RequestValidationError | InvalidRequest
"""What refuses a request for what is in it."""


class JSONRequest(Request):
    async def json(self) -> Any:
        """Value of the body, as FastAPI asks for it. Raises json.JSONDecodeError."""
        if not hasattr(self, "_json"):
            body = await self.body()
            if is_broken(self.scope):
                raise json.JSONDecodeError("no gzip", "", 0)
            self._json = lenient.read(body, self._charset)
        return self._json

    async def made_out(self) -> Any:
        """Value of the body, or what it may have been meant to say."""
        try:
            return await self.json()
        except json.JSONDecodeError:
            return lenient.made_out(await self.body(), self._charset)

    @property
    def _charset(self) -> str | None:
        header = Message()
        header["content-type"] = self.headers.get("content-type", "")
        return header.get_content_charset()


class JSONRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def leniently(request: Request) -> Response:
            if not _is_json(request.headers.get("content-type", "")):
                raise HTTPException(415, "The body must be sent with content-type application/json.")
            asked = JSONRequest(request.scope, request.receive)
            try:
                return await handle(asked)
            except (RequestValidationError, InvalidRequest) as refusal:
                return await self.refused(asked, refusal)

        return leniently

    async def refused(self, request: JSONRequest, refusal: Refusal) -> Response:
        """Answer to a request that breaks a rule: the refusal, raised, unless a kind of route knows better."""
        raise refusal


def _is_json(content_type: str) -> bool:
    """A page of another site cannot send this type without asking first, so it is asked for."""
    kind, _, subtype = content_type.partition(";")[0].strip().casefold().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))
