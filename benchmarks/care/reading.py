"""The server in this process, with the shipped classifier and a counselor who says what it is told to.

A turn then costs one reading and no generation, and goes through the same API, routing, memory and holds as any other.
The counselor replies with the dialogue's own next line, so that the memory of one turn is that of the next.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from benchmarks.care.asking import Client
from psychechat import language, prompts
from psychechat.api.app import create_app
from psychechat.config import MemorySettings
from psychechat.conversation import Draft, EmotionMemory
from psychechat.demo import thresholds
from psychechat.emotion import Language
from psychechat.engines.base import Classifier, Message, StageName
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.memory.base import Memory
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.prompts import answers
from psychechat.safety import phrases
from psychechat.telemetry import Metrics
from psychechat_ray.configurations import load

if TYPE_CHECKING:  # vLLM takes its time to import
    from psychechat.engines.vllm.classifier import VllmClassifier

CACHE = Path("~/.cache/psychechat").expanduser()

NEXT: ContextVar[str] = ContextVar("NEXT", default="")
"""The counselor's next line, for turns that this task asks for."""

_NOTHING_TO_SAY: Mapping[Language, str] = {"en": "What is that like for you?", "zh": "这对你来说是什么感觉？"}


@asynccontextmanager
async def classifier() -> AsyncIterator["VllmClassifier"]:
    """The demo's, on one core, as `demo-cpu` has it."""
    settings = load("demo-cpu").classifier
    os.environ.update({name: value for name, value in settings.replicas.env.items() if name.startswith("VLLM")})
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from psychechat.demo.encoder import prepare
    from psychechat.engines.vllm.classifier import VllmClassifier

    engine = VllmClassifier(prepare(CACHE), **settings.engine_args)
    try:
        yield engine
    finally:
        engine.shutdown()


class NoMemory:
    """Implements `memory.base.Memory`: nothing is remembered, as where a memory was lost."""

    async def recall(self, key: bytes) -> EmotionMemory | None:
        return None

    async def remember(self, keys: Sequence[bytes], memory: EmotionMemory, *, session: bytes, age: float) -> bool:
        return True

    async def remember_hold(self, keys: Sequence[bytes], hold: EmotionMemory) -> None:
        pass

    async def forget(self, session: bytes) -> None:
        pass


@asynccontextmanager
async def in_process(
    classifier: Classifier, memory: Memory | None = None, *, shipped: bool = True
) -> AsyncIterator[Client]:
    """A client of a server of its own, with an empty memory unless one is given. `shipped`: whether the classifier has
    the heads whose thresholds are known."""
    phrases.warm()
    counselor = ScriptedGenerator({StageName.REPLY: [_reply], StageName.DRAFT: [_draft]}, keep=False)
    pipeline = Pipeline(
        classifier=classifier,
        casts=everywhere(counselor),
        packs={"en": prompts.load("en"), "zh": prompts.load("zh")},
        memory=memory or LocalMemory(MemorySettings()),
        metrics=Metrics(),
        policy=thresholds.for_heads(Policy(), shipped=shipped),
    )
    transport = httpx.ASGITransport(create_app(pipeline, ready=_ready))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=None) as http:
        yield Client(http)


async def _ready() -> Mapping[str, bool]:
    return {"classifier": True}


def _spoken(messages: Sequence[Message]) -> Language:
    """Of the prompt pack."""
    return language.detect(messages[0].content) or "en"


def _reply(messages: Sequence[Message]) -> str:
    return NEXT.get() or _NOTHING_TO_SAY[_spoken(messages)]


def _draft(messages: Sequence[Message]) -> str:
    return answers.render(Draft("exploration", "Listen.", _reply(messages)), _spoken(messages))
