"""The classifier deployment: emotion and risk of utterances, and whether drafts hurt."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ray import serve

from psychechat import tracing
from psychechat.config import ModelSettings
from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Pair
from psychechat.engines.scripted import ScriptedClassifier
from psychechat.tracing import Tracer
from psychechat_ray.models import classifier_model
from psychechat_ray.remote import ACCEPTED
from psychechat_ray.replicas import (
    failing_late,
    freeze_heap,
    redact_foreign_errors,
    shut_down,
    start_telemetry,
    traced,
)
from psychechat_ray.sent_call import SentCall

if TYPE_CHECKING:
    from psychechat.engines.vllm.classifier import VllmClassifier


class Classifier:
    _tracer: Tracer = tracing.OFF

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: ModelSettings, cache: Path, pause_seconds: float = 0.0
    ) -> None:
        self._tracer = start_telemetry()
        async with failing_late(pause_seconds):
            # In a thread, so that the replica can be stopped while its engine loads.
            self._engine = await asyncio.to_thread(_engine, settings, cache)
            await self._engine.classify(["warm up"], Call("warm-up", "warm-up"))  # a first pass takes seconds
        freeze_heap()

    async def classify(
        self, utterances: Sequence[str], sent: SentCall
    ) -> AsyncGenerator[list[Assessment] | None, None]:
        yield ACCEPTED
        with redact_foreign_errors(), traced(self._tracer, "classify", sent, texts=len(utterances)) as its_call:
            assessments = await self._engine.classify(utterances, its_call)
        yield assessments

    async def judge(self, pairs: Sequence[Pair], sent: SentCall) -> AsyncGenerator[list[float] | None, None]:
        """After ACCEPTED, which is None too, None from heads that cannot tell."""
        yield ACCEPTED
        with redact_foreign_errors(), traced(self._tracer, "judge", sent, texts=len(pairs)) as its_call:
            hurting = await self._engine.judge(pairs, its_call)
        yield hurting

    async def check_health(self) -> Sequence[str]:
        """Serve replaces the replica once this raises. Gives the engine's limits for `/ready`; scripted: none."""
        await self._engine.check_health()
        limits: Sequence[str] = getattr(self._engine, "limits", ())
        return limits

    def __del__(self) -> None:
        shut_down(getattr(self, "_engine", None))


def _engine(settings: ModelSettings, cache: Path) -> "VllmClassifier | ScriptedClassifier":
    if settings.engine == "scripted":
        return ScriptedClassifier()
    from psychechat.engines.vllm.classifier import VllmClassifier  # vLLM takes its time, and is not always there

    given = {"served_model_name": serve.get_replica_context().deployment, **settings.engine_args}
    return VllmClassifier(classifier_model(settings, cache), on_ray=True, **given)
