"""The real app over scripted engines, behind a real HTTP server, for the real OpenAI client."""

import json
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import count
from typing import Any

import httpx
import openai
import pytest
from opentelemetry.trace import Tracer

from psychechat import prompts
from psychechat.api.app import create_app
from psychechat.api.http.auth import Keyring
from psychechat.config import MemorySettings
from psychechat.emotion import Language
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.prompts.pack import Pack
from psychechat.telemetry import Metrics
from psychechat.tracing import OFF
from tests.support.http_server import listening
from tests.support.servers import free_port

CLIENT_SECONDS = 60
"""The first turn of a process loads the phrases, which takes seconds."""


class Served:
    """A server and the parts it was made of, for tests to look at and to break."""

    def __init__(self, open_metrics: bool, ui: bool, tracer: Tracer, origins: tuple[str, ...]) -> None:
        self._tracer = tracer
        self._metrics, self.pipeline = Metrics.__new__(Metrics), Pipeline.__new__(Pipeline)
        self.furnish(ScriptedGenerator(), Policy(), 64)
        self.app = create_app(
            self.pipeline,
            ready=self._ready,
            keyring=lambda: self.keyring,
            open_metrics=open_metrics,
            origins=origins,
            ui=ui,
            clock=count().__next__,  # a second has passed whenever it is asked
        )

    def furnish(self, generator: ScriptedGenerator, policy: Policy, max_sequences: int) -> None:
        """Everything as new but the app, and the two objects that it holds on to: it takes longer to make than most
        tests do to run.
        """
        self.generator = generator
        self.keyring = Keyring({})
        self.engines = {"counselor": True}
        Metrics.__init__(self._metrics)
        Pipeline.__init__(
            self.pipeline,
            ScriptedClassifier(),
            everywhere(generator),
            _packs(),
            LocalMemory(MemorySettings()),
            self._metrics,
            policy,
            max_sequences=lambda _: max_sequences,
            tracer=self._tracer,
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=CLIENT_SECONDS)
        with listening(self.app, self.port, log_level="debug"), self.http:
            yield

    def client(self) -> openai.OpenAI:
        """The official one."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=CLIENT_SECONDS)

    @contextmanager
    def left(self, path: str, body: object) -> Iterator[None]:
        """A request whose client hangs up where the `with` ends, without having heard anything."""
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: [::1]\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
        )
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(head.encode() + b"\r\n\r\n" + content)
            yield

    def held(self, lane: str) -> float:
        """Permits, now."""
        engine = {"classification": "classifier", "generation": "counselor"}[lane]
        labels = {"lane": lane, "engine": engine, "state": "held"}
        return self._metrics.registry.get_sample_value("psychechat_permits", labels) or 0.0

    async def _ready(self) -> Mapping[str, bool]:
        return self.engines


def wait_for(true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@cache
def _packs() -> Mapping[Language, Pack]:
    return {"en": prompts.load("en"), "zh": prompts.load("zh")}


_idle: defaultdict[tuple[bool, bool, Tracer, tuple[str, ...]], list[Served]] = defaultdict(list)


@contextmanager
def serve(
    generator: ScriptedGenerator | None = None,
    *,
    open_metrics: bool = True,
    ui: bool = False,
    max_sequences: int = 64,
    tracer: Tracer = OFF,
    origins: tuple[str, ...] = (),
    **policy: Any,
) -> Iterator[Served]:
    idle = _idle[open_metrics, ui, tracer, origins]
    served = idle.pop() if idle else Served(open_metrics, ui, tracer, origins)
    served.furnish(generator or ScriptedGenerator(), Policy.model_validate(policy), max_sequences)
    with served.listening():
        yield served
    idle.append(served)


@pytest.fixture(scope="module")
def serving_module() -> Callable[..., AbstractContextManager[Served]]:
    return serve


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[Served]]:
    return serve


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Of all tests of a module, which have more crises a minute than a key may."""
    with serve(quota={"crises_per_minute": None}) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with served.client() as opened:
        yield opened
