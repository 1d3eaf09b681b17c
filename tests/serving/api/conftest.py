"""The real app over scripted engines, behind a real HTTP server, for the real OpenAI client."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.trace import Tracer

from psychechat import prompts
from psychechat.api.app import create_app
from psychechat.api.http.auth import Keyring
from psychechat.config import MemorySettings
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.telemetry import Metrics
from psychechat.tracing import OFF
from tests.support.http_server import listening
from tests.support.servers import free_port


class Served:
    """A server and the parts it was made of, for tests to look at and to break."""

    def __init__(
        self,
        generator: ScriptedGenerator,
        policy: Mapping[str, Any],
        open_metrics: bool,
        generations: int,
        tracer: Tracer,
    ) -> None:
        self.generator = generator
        self.keyring = Keyring({})
        self.engines = {"counselor": True}
        self.pipeline = Pipeline(
            ScriptedClassifier(),
            generator,
            generator,
            {"en": prompts.load("en"), "zh": prompts.load("zh")},
            LocalMemory(MemorySettings()),
            Metrics(),
            Policy.model_validate(policy),
            generations=lambda: generations,
            tracer=tracer,
        )
        self.app = create_app(self.pipeline, ready=self._ready, keyring=lambda: self.keyring, open_metrics=open_metrics)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=20)

    async def _ready(self) -> Mapping[str, bool]:
        return self.engines


@contextmanager
def serve(
    generator: ScriptedGenerator | None = None,
    *,
    open_metrics: bool = True,
    generations: int = 64,
    tracer: Tracer = OFF,
    **policy: Any,
) -> Iterator[Served]:
    served = Served(generator or ScriptedGenerator(), policy, open_metrics, generations, tracer)
    with listening(served.app, served.port, log_level="debug"), closing(served.http):
        yield served


@pytest.fixture(scope="module")
def serving_module() -> Callable[..., AbstractContextManager[Served]]:
    return serve


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[Served]]:
    return serve


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as running:
        yield running
