"""The real app over scripted engines, asked in this process by the real OpenAI client."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from psychechat import prompts
from psychechat.api.app import create_app
from psychechat.config import MemorySettings
from psychechat.engines.base import Classifier
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.evaluation.endpoint import Endpoint
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.telemetry import Metrics

Serving = Callable[..., AbstractAsyncContextManager[Endpoint]]


def app(
    generator: ScriptedGenerator | None = None,
    classifier: Classifier | None = None,
    policy: Policy | None = None,
    **branches: Any,
) -> Any:
    """`policy`, else one with these branches."""
    counselor = generator or ScriptedGenerator()
    pipeline = Pipeline(
        classifier or ScriptedClassifier(),
        everywhere(counselor),
        {"en": prompts.load("en"), "zh": prompts.load("zh")},
        LocalMemory(MemorySettings()),
        Metrics(),
        policy or Policy.model_validate(branches),
        max_sequences=lambda _: 64,
    )
    return create_app(pipeline, ready=_ready)


async def _ready() -> Mapping[str, bool]:
    return {"counselor": True}


@asynccontextmanager
async def endpoint(transport: httpx.AsyncBaseTransport, model: str = "psychechat") -> AsyncIterator[Endpoint]:
    http: Any = httpx.AsyncClient(transport=transport, base_url="http://localhost")
    client = AsyncOpenAI(base_url="http://localhost/v1", api_key="none", max_retries=0, http_client=http)
    async with client:
        yield Endpoint(client, model)


@asynccontextmanager
async def _serving(**parts: Any) -> AsyncIterator[Endpoint]:
    async with endpoint(httpx.ASGITransport(app(**parts))) as reached:
        yield reached


@pytest.fixture
def serving() -> Serving:
    return _serving
