"""Methods that every path takes, as HTTP means them: HEAD where there is GET, and OPTIONS.

https://www.rfc-editor.org/rfc/rfc9110.html#name-methods
"""

from collections.abc import Collection

from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SERVER = "*"
"""The target of an OPTIONS that asks about the server as a whole."""
_ORDER = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Methods:
    """Middleware next to the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["type"] == "http" else None
        if method == "OPTIONS" and (methods := allowed(scope)):
            await Response(status_code=204, headers={"allow": methods})(scope, receive, send)
        elif method == "HEAD":
            await self._head(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What GET says, but for the body."""

        async def bodiless(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, bodiless)
        finally:
            if "route" in asked:
                scope["route"] = asked["route"]


def allowed(scope: Scope) -> str:
    """Methods that this path takes, as `Allow` lists them; "" if there is none. Notes the route, if there is one.

    Of the path `*`: all that any path takes.
    """
    taken: set[str] = set()
    if scope["path"] == _SERVER:
        taken = {method for route in scope["app"].routes for method in _of(route)}
    for route in scope["app"].routes:
        match, child_scope = route.matches(scope)
        if match is not Match.NONE:
            taken.update(_of(route))
            scope.setdefault("route", child_scope.get("route", route))
    if not taken:
        return ""
    taken |= {"OPTIONS", *(["HEAD"] if "GET" in taken else [])}
    return ", ".join(method for method in _ORDER if method in taken)


def _of(route: BaseRoute) -> Collection[str]:
    return getattr(route, "methods", None) or {"GET"}
