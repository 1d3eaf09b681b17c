"""What a client cannot tell Serve, and how many ids it gets: through the middleware as Serve itself applies it."""

from typing import Any

import httpx
import pytest
from ray.serve._private.http_util import (
    _apply_middlewares,
    parse_disconnect_disabled_header,
    parse_request_timeout_header,
    parse_session_id_header,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from psychechat_ray.headers import middlewares

pytestmark = pytest.mark.asyncio


async def through(*headers: tuple[str, str | bytes]) -> httpx.Response:
    """The answer of Serve's front of a replica, which here tells what it has read from the headers."""
    app = Starlette()

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"])
        read: dict[str, Any] = {
            "timeout": parse_request_timeout_header(given, 7.0),
            "ignores leaving": parse_disconnect_disabled_header(given),
            "session": parse_session_id_header(given),
            "id": Request(scope).headers["x-request-id"],
            "names": sorted(name.decode() for name in given),
        }
        # As our own API does.
        await JSONResponse(read, headers={"x-request-id": f"ours-{read['id']}"})(scope, receive, send)

    app.mount("/", front)
    ours: Any = middlewares()
    transport = httpx.ASGITransport(_apply_middlewares(app, ours))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.get("/", headers=[(name.encode(), _bytes(value)) for name, value in headers])


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


async def test_a_client_does_not_steer_serve() -> None:
    answer = await through(
        ("x-request-timeout-seconds", "0.001"),
        ("x-request-disconnect-disabled", "?1"),
        ("serve_multiplexed_model_id", "model"),
        ("Serve-Multiplexed-Model-Id", "model"),
        ("X-Serve-Router-Replica", "r1"),
        ("x-request-timeout", "5"),
        ("x-session-id", "mine"),
    )
    read = answer.json()
    assert (read["timeout"], read["ignores leaving"], read["session"]) == (7.0, False, "mine")
    assert not [name for name in read["names"] if "serve" in name or "seconds" in name or "disabled" in name]
    assert "x-request-timeout" in read["names"], "this one is our API's"


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("a b", False), (b"\xff", False), ("x" * 200, False)])
async def test_there_is_one_id_and_it_is_ours(given: str | bytes, kept: bool) -> None:
    answer = await through(("x-request-id", given))
    [identifier] = answer.headers.get_list("x-request-id")
    assert identifier.startswith("ours-")
    assert (identifier == f"ours-{given!s}") is kept


async def test_a_session_name_that_is_no_utf8_harms_nothing() -> None:
    assert (await through(("x-session-id", b"\xe9\xff"))).json()["session"] == "éÿ"
