"""Authentication: API keys, stored as hashes, each of which names a tenant."""

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from psychechat.api.http.errors import respond
from psychechat.errors import Forbidden, Unauthorized

OPEN = frozenset({"/health", "/ready"})
"""Paths that an orchestrator probes without a key. Neither reveals anything of a tenant."""

FOR_TASKS = ("/v1/chat/completions", "/v1/models")
"""All that a key for background tasks is for, and what is below the last: it must not erase or read as the tenant for
whom its tasks are asked."""


class Keyring:
    """Names of tenants by the SHA-256 of their keys. A key has 256 random bits, so an unsalted hash is enough."""

    def __init__(self, keys: Mapping[str, str], tasks: Mapping[str, str] = MappingProxyType({})) -> None:
        """`keys`: hexadecimal SHA-256 of the key, by name. `tasks`: by name of a key that is for background tasks only,
        the tenant whose conversations they are about.
        """
        self.tasks = tasks
        self._digests = {name: bytes.fromhex(digest) for name, digest in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def name_of(self, key: str) -> str | None:
        """Name of the key's owner, if known. All hashes are compared, each in constant time, against timing attacks."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        owner = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                owner = name
        return owner


class Gate:
    """Middleware: requires a key that may ask for the path, on all but `open_paths`. Sets `request.state.tenant` and
    `.for_tasks`.

    With an empty keyring no key is needed, and the tenant is "".
    """

    def __init__(self, app: ASGIApp, keyring: Callable[[], Keyring], open_paths: Collection[str]) -> None:
        self._app, self._keyring, self._open = app, keyring, open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        tasks = self._keyring().tasks
        try:
            name = "" if scope["path"] in self._open else self._name(Request(scope))
            if name in tasks and not _is_for_tasks(scope["path"]):
                raise Forbidden(
                    "This API key is for background tasks: it may ask for chat completions and models only."
                )
        except (Unauthorized, Forbidden) as error:
            await respond(Request(scope), error)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(tenant=tasks.get(name, name), for_tasks=name in tasks)
        await self._app(scope, receive, send)

    def _name(self, request: Request) -> str:
        keyring = self._keyring()
        if not keyring:
            return ""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.casefold() != "bearer" or not key.strip():
            raise Unauthorized("This server needs an API key, sent as 'Authorization: Bearer KEY'.")
        name = keyring.name_of(key.strip())
        if name is None:
            raise Unauthorized("This API key is not known here.")
        return name


def _is_for_tasks(path: str) -> bool:
    return path in FOR_TASKS or path.startswith(f"{FOR_TASKS[-1]}/")


def tenant(request: Request) -> str:
    name: str = request.state.tenant
    return name


def for_tasks(request: Request) -> bool:
    """Whether the request's key is for background tasks only."""
    reserved: bool = request.state.for_tasks
    return reserved
