"""`/ready` tells the engines' states and, of those that are up, what is off; where nothing is, no more than that."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from psychechat.api import probes
from psychechat.api.http.schemas import Readiness
from psychechat.engines.vllm import cpu
from psychechat.telemetry import Metrics

State = bool | tuple[str, ...]


async def ready(states: Mapping[str, State]) -> tuple[int, dict[str, Any]]:
    async def told() -> Mapping[str, State]:
        return states

    app = FastAPI()
    app.include_router(probes.router(told, Metrics()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        answer = await client.get("/ready")
    TypeAdapter(Readiness).validate_json(answer.content)
    return answer.status_code, answer.json()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("classifier", "status", "code"), [(True, "ready", 200), (False, "starting", 503)], ids=["up", "down"]
)
async def test_without_limits_nothing_is_said_of_them(classifier: bool, status: str, code: int) -> None:
    assert await ready({"classifier": classifier, "counselor": True}) == (
        code,
        {"status": status, "engines": {"classifier": classifier, "counselor": True}},
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("classifier", "status", "code"), [(True, "ready", 200), (False, "starting", 503)], ids=["up", "down"]
)
async def test_an_engine_of_another_vllm_is_up_and_tells_what_is_off(classifier: bool, status: str, code: int) -> None:
    assert await ready({"classifier": classifier, "counselor": cpu.limits("0.31.1")}) == (
        code,
        {
            "status": status,
            "engines": {"classifier": classifier, "counselor": True},
            "limits": {"counselor": ["urgent_steps", "jump_forward", "sparse_penalties"]},
        },
    )
