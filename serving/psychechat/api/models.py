"""`GET /v1/models`: one name for each way to route a turn."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from psychechat.api.http.openapi import answers
from psychechat.api.http.responses import JSONBytes
from psychechat.api.http.schemas import Model, Models
from psychechat.errors import UnknownModel


def router(created: int, names: Callable[[], Sequence[str]]) -> APIRouter:
    """`created`: Unix time in seconds at which this server started. `names`: all by which a model may be asked for."""
    routes = APIRouter()

    def model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": created, "owned_by": "psychechat"}

    @routes.get("/v1/models", summary="List the models", responses=answers(Models, 401, 403, when="Every model."))
    async def list_models() -> Response:
        return JSONBytes({"object": "list", "data": [model(name) for name in names()]})

    @routes.get(
        "/v1/models/{name:path}", summary="One model", responses=answers(Model, 401, 403, 404, when="The model.")
    )
    async def retrieve_model(name: str) -> Response:
        if not name:
            raise HTTPException(404)
        if name not in names():
            raise UnknownModel(", ".join(names()))
        return JSONBytes(model(name))

    return routes
