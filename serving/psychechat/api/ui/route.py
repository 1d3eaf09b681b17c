"""`GET /`: the playground, one page that talks with this server and shows what it saw. It holds nothing of anyone's."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from psychechat.api.ui.files import File

PAGE = "index.html"
UNDER = "/ui/"

_HEADERS: Mapping[str, str] = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "vary": "accept-encoding",
}


def paths(files: Mapping[str, File]) -> frozenset[str]:
    """All that is answered here, which needs no key."""
    return frozenset({"/", *(UNDER + name for name in files if name != PAGE)})


def router(files: Mapping[str, File]) -> APIRouter:
    routes = APIRouter()

    @routes.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return _answer(files[PAGE], request)

    @routes.get(UNDER + "{name:path}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        if name == PAGE or name not in files:
            raise HTTPException(404)
        return _answer(files[name], request)

    return routes


def _answer(file: File, request: Request) -> Response:
    body = file.body(request.headers.get("accept-encoding", ""))
    headers = {**_HEADERS, "etag": body.etag}
    if _knows(request.headers.get("if-none-match", ""), body.etag):
        return Response(status_code=304, headers=headers)
    if body.encoding:
        headers["content-encoding"] = body.encoding
    return Response(body.content, headers=headers, media_type=file.media_type)


def _knows(known: str, etag: str) -> bool:
    """https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2: compared weakly, for a proxy may have weakened it."""
    return any(tag.strip() in ("*", etag, f"W/{etag}") for tag in known.split(","))
