"""`/ready` tells the engines' states and, of those that are up, what is off; where nothing is, no more than that."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from psychechat.api import probes
from psychechat.api.http.schemas import Readiness
from psychechat.engines.vllm import cpu
from psychechat.telemetry import ConfigPart, Metrics

State = bool | tuple[str, ...]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/ready", "/metrics"])
async def test_a_flood_of_probes_costs_one_a_second(path: str) -> None:
    """Each is dear (a call of every engine; milliseconds of the event loop), and neither needs a key."""
    asked, now = 0, 0.0

    async def told() -> Mapping[str, State]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {"counselor": True}

    class Counted(Metrics):
        def exposition(self) -> bytes:
            nonlocal asked
            asked += 1
            return super().exposition()

    app = FastAPI()
    app.include_router(probes.router(told, Counted(), clock=lambda: now))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        for seconds in (0.0, 0.9, 1.0, 1.9):
            now = seconds
            assert {answer.status_code for answer in await asyncio.gather(*(client.get(path) for _ in range(20)))} == {
                200
            }
            assert asked == 1 + int(now)


async def ready(states: Mapping[str, State], refused: Collection[ConfigPart] = ()) -> tuple[int, dict[str, Any]]:
    async def told() -> Mapping[str, State]:
        return states

    app = FastAPI()
    app.include_router(probes.router(told, Metrics(), lambda: refused))
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
            "limits": {
                "counselor": ["urgent_steps", "jump_forward", "forced_ends", "whole_answers", "sparse_penalties"]
            },
        },
    )


@pytest.mark.asyncio
async def test_each_engine_tells_its_own_limits() -> None:
    names = {"classifier": cpu.CLASSIFIER_LIMITS, "counselor": cpu.COUNSELOR_LIMITS}
    _, told = await ready({engine: cpu.limits("0.31.1", its_names) for engine, its_names in names.items()})
    assert told["limits"] == {engine: list(its_names) for engine, its_names in names.items()}


@pytest.mark.asyncio
async def test_a_change_that_was_refused_is_told_and_takes_nothing_out_of_service() -> None:
    """The old configuration is served: a probe must not fail for it."""
    refused: tuple[ConfigPart, ...] = ("keys",)
    code, told = await ready({"classifier": True}, refused)
    assert (code, told) == (200, {"status": "ready", "engines": {"classifier": True}, "config_refused": ["keys"]})
