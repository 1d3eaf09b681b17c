"""Authentication: API keys, stored as hashes, each of which names a tenant."""

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from psychechat.api.http.errors import respond
from psychechat.api.http.hosts import NONE, Origins, check_local, is_of_others
from psychechat.config import ApiKey
from psychechat.errors import Forbidden, NotLocal, Unauthorized

METRICS = "/metrics"
OPEN = frozenset({"/health", "/ready"})
"""Paths that an orchestrator probes without a key, by whatever address. Neither reveals anything of a tenant."""

FOR_TASKS = ("/v1/chat/completions", "/v1/responses", "/v1/models")
"""All that a key for background tasks is for, and what is below the last: it must not erase or read as the tenant for
whom its tasks are asked."""


class Keyring:
    """Names of tenants by the SHA-256 of their keys. A key has 256 random bits, so an unsalted hash is enough."""

    def __init__(
        self,
        keys: Mapping[str, str],
        tasks: Mapping[str, str] = MappingProxyType({}),
        metrics: Collection[str] = frozenset(),
        minimal: Collection[str] = frozenset(),
        inspect: Collection[str] = frozenset(),
    ) -> None:
        """`keys`: hexadecimal SHA-256 of the key, by name. `tasks`: by name of a key that is for background tasks only,
        the tenant whose conversations they are about. `metrics`: names of keys that are for `/metrics` only.
        `minimal`: of those whose answers hold nothing that was found out about the seeker; a page's tasks are as it is.
        `inspect`: of those who see what the stages made of a turn, where the policy shows it.
        """
        self.tasks, self.metrics, self.minimal, self.inspect = tasks, metrics, minimal, inspect
        self._digests = {name: bytes.fromhex(digest) for name, digest in keys.items()}

    @classmethod
    def of(cls, keys: Mapping[str, ApiKey]) -> "Keyring":
        return cls(
            {name: key.sha256 for name, key in keys.items()},
            {name: key.of or name for name, key in keys.items() if key.tasks},
            frozenset(name for name, key in keys.items() if key.metrics),
            frozenset(name for name, key in keys.items() if "minimal" in (key.fields, keys[key.of or name].fields)),
            frozenset(name for name, key in keys.items() if key.inspect),
        )

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
    """Middleware: requires a key that may ask for the path, on all but `open_paths()`. Sets `request.state.tenant`,
    `.for_tasks`, `.minimal` and `.inspects`.

    With an empty keyring no key is needed, but a request must be local, and the tenant is "". It inspects, unless a
    page of another site asks: a server that only this machine can reach is its developer's. OPTIONS needs no key
    either: it tells of the path alone, and a browser asks so, without the key, before it sends what a page has to send.
    """

    def __init__(
        self,
        app: ASGIApp,
        keyring: Callable[[], Keyring],
        open_paths: Callable[[], Collection[str]],
        pages: Origins = NONE,
    ) -> None:
        """`pages`: which may ask beside this machine's own where no key is needed."""
        self._app, self._keyring, self._open, self._pages = app, keyring, open_paths, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        keyring = self._keyring()
        tasks = keyring.tasks
        try:
            name = self._owner(scope, keyring)
        except (Unauthorized, Forbidden, NotLocal) as error:
            await respond(Request(scope), error)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(
            tenant=tasks.get(name, name),
            for_tasks=name in tasks,
            minimal=name in keyring.minimal,
            inspects=name in keyring.inspect if keyring else not is_of_others(scope),
        )
        await self._app(scope, receive, send)

    def _owner(self, scope: Scope, keyring: Keyring) -> str:
        """Name of the request's key, "" where none is needed. Raises Unauthorized, Forbidden or NotLocal."""
        path = scope["path"]
        if not keyring and path not in OPEN:
            check_local(scope, self._pages)
        if scope["method"] == "OPTIONS":
            return ""
        name = "" if path in self._open() else _name(Request(scope), keyring)
        if name in keyring.tasks and not _is_for_tasks(path):
            raise Forbidden(
                "This API key is for background tasks: it may ask for chat completions, responses and models only."
            )
        if name in keyring.metrics and path != METRICS:
            raise Forbidden("This API key is for /metrics: it may ask for nothing else.")
        if keyring.metrics and path == METRICS and name not in keyring.metrics:
            raise Forbidden("/metrics is for API keys of its own here, and this is none of them.")
        return name


def _name(request: Request, keyring: Keyring) -> str:
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


def minimal(request: Request) -> bool:
    """Whether what was found out about the seeker stays out of the answer."""
    left_out: bool = request.state.minimal
    return left_out


def inspects(request: Request) -> bool:
    """Whether the request may see what the stages made of a turn."""
    may: bool = request.state.inspects
    return may
