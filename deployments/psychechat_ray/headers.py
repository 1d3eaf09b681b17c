"""Between HAProxy and Serve's front of an ingress replica: what a client may not say to Serve, and a single id.

Serve calls `middlewares` where `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names it, in every replica.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from psychechat.api.http.middleware import SANE_ID
from psychechat_ray import closing

CONTROL = frozenset({"x_request_timeout_seconds", "x_request_disconnect_disabled", "serve_multiplexed_model_id"})
"""With these a client would set its own deadline, hide that it left, or choose a replica. Dashes count as underscores,
as they do for Serve."""
CONTROL_PREFIX = "x_serve_"
_ID, _SESSION = b"x-request-id", "x_session_id"

Headers = list[tuple[bytes, bytes]]


def middlewares() -> list[Middleware]:
    closing.install()  # it is not yet listening
    return [Middleware(ControlHeaders)]


class ControlHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def once(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _one_id(message["headers"])}
            await send(message)

        await self._app({**scope, "headers": _harmless(scope["headers"])}, receive, once)


def _harmless(headers: Headers) -> Headers:
    """Without what steers Serve, nor an id that is none; and with a session name that Serve, too, can decode."""
    kept: Headers = []
    for name, value in headers:
        key = name.decode("latin-1").casefold().replace("-", "_")
        if key in CONTROL or key.startswith(CONTROL_PREFIX) or (name == _ID and not SANE_ID.fullmatch(value)):
            continue
        if key == _SESSION:
            value = value.decode("latin-1").encode()  # the characters that our API reads, in UTF-8
        kept.append((name, value))
    return kept


def _one_id(headers: Headers) -> Headers:
    """Ours, which comes first: Serve adds its own to every answer."""
    ids = [header for header in headers if header[0].lower() == _ID]
    return [header for header in headers if header[0].lower() != _ID] + ids[:1]
