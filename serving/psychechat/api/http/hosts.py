"""Whose pages may ask: this machine's, and those of the origins in the settings.

A page of another site is shown an answer only if that says so: https://fetch.spec.whatwg.org/#http-cors-protocol

Without API keys only who asks for this machine by its own name is answered. A page anywhere can have its name lead to
127.0.0.1 and then ask what listens there as if it were the page's own server:
https://en.wikipedia.org/wiki/DNS_rebinding. Its requests still have that name as their Host.
"""

import re
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from psychechat.errors import NotLocal

_HOST = rb"(?i:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?"
_LOCAL_HOST = re.compile(_HOST)
_LOCAL_ORIGIN = re.compile(rb"https?://" + _HOST)

Headers = list[tuple[bytes, bytes]]

_SENT = (
    b"authorization",
    b"content-type",
    b"traceparent",
    b"x-request-id",
    b"x-request-timeout",
    b"x-session-id",
)
_CLIENTS = b"x-stainless-"
"""Begins the headers in which the official client, in a browser too, tells of itself."""
_READ = b"retry-after, retry-after-ms, x-psychechat-ignored, x-request-id, x-should-retry"
_KEPT_SECONDS = b"600"


class Origins:
    """Sites whose pages may read the answers, as `cors.origins` names them."""

    def __init__(self, entries: Collection[str] = ()) -> None:
        self.everyone = "*" in entries
        self._loopback = "loopback" in entries
        self._named = frozenset(entry.encode() for entry in entries if entry not in ("*", "loopback"))

    def __bool__(self) -> bool:
        return self.everyone or self._loopback or bool(self._named)

    def hold(self, origin: bytes) -> bool:
        """Whether an entry means this origin; the one for everyone means nobody."""
        return origin in self._named or (self._loopback and _LOCAL_ORIGIN.fullmatch(origin) is not None)


NONE = Origins()


def check_local(scope: Scope, pages: Origins = NONE) -> None:
    """Raises NotLocal for another Host than loopback, and for what a page of another site sends, or one without, unless
    it is of `pages`.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if not hosts or not all(map(_LOCAL_HOST.fullmatch, hosts)):
        raise NotLocal("answers who asks it as localhost or 127.0.0.1 only")
    if not all(_LOCAL_ORIGIN.fullmatch(origin) or pages.hold(origin) for origin in origins):
        raise NotLocal("answers no pages of other sites")


def is_of_others(scope: Scope) -> bool:
    """Whether a page of another site asks."""
    return not all(_LOCAL_ORIGIN.fullmatch(value) for name, value in scope["headers"] if name == b"origin")


class Cors:
    """Middleware around all others, so that a page can read errors too. Browsers send no cookies, since none are
    allowed; a page has its key from elsewhere.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._told(scope, message)]}
            await send(message)

        await self._app(scope, receive, readable)

    def _told(self, scope: Scope, message: Message) -> Headers:
        asked = dict(scope["headers"])
        origin = asked.get(b"origin")
        told: Headers = [] if self._origins.everyone else [(b"vary", b"origin")]
        if origin is None or not (self._origins.everyone or self._origins.hold(origin)):
            return told
        told.append((b"access-control-allow-origin", b"*" if self._origins.everyone else origin))
        if scope["method"] != "OPTIONS":
            return [*told, (b"access-control-expose-headers", _READ)]
        methods = dict(message["headers"]).get(b"allow", b"")
        return [
            *told,
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", b", ".join((*_SENT, *_of_clients(asked)))),
            (b"access-control-max-age", _KEPT_SECONDS),
            (b"vary", b"access-control-request-headers"),
        ]


def _of_clients(asked: dict[bytes, bytes]) -> list[bytes]:
    names = (name.strip().lower() for name in asked.get(b"access-control-request-headers", b"").split(b","))
    return sorted({name for name in names if name.startswith(_CLIENTS) and name.replace(b"-", b"").isalnum()})
