"""The generator deployments, one for each engine: prompts in, deltas out."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve

from psychechat import tracing
from psychechat.config import GeneratorSettings, SettingsError
from psychechat.engines import base as engines
from psychechat.engines.base import Call, Delta, Message, Sampling, Stage
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.errors import ContextLengthExceeded
from psychechat.prompts.inert import unforeseen
from psychechat.tracing import Tracer
from psychechat_ray.autoscaling import gauges
from psychechat_ray.departures import Departures
from psychechat_ray.models import adapter_folders, generator_model
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
    from psychechat.engines.vllm.generator import VllmGenerator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeastPrompt:
    """Of a prompt pack, for a conversation that has just begun: what the engine's context must hold at least."""

    pack: str
    messages: Sequence[Message]
    reserve: int
    """Tokens that a turn may add to it."""


class Generator:
    """Ready once the grammars of `stages` are compiled and the engine's adapters loaded. It does not start if one of
    `prompts` does not fit.
    """

    _tracer: Tracer = tracing.OFF
    _departures: Departures
    _sequences: int
    """Taken at once."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        settings: GeneratorSettings,
        stages: Sequence[Stage],
        cache: Path,
        prompts: Sequence[LeastPrompt] = (),
        pause_seconds: float = 0.0,
    ) -> None:
        self._tracer = start_telemetry()
        self._departures = Departures(settings.gather_seconds)
        async with failing_late(pause_seconds):
            # In a thread, so that the replica can be stopped while its engine loads.
            self._engine = await asyncio.to_thread(_engine, settings, cache)
            for least in prompts:
                await check_room(self._engine, least)
            await self._engine.warm(stages)
        self._sequences = settings.sequences(self._engine.kv_tokens)
        if self._sequences < settings.max_num_seqs:
            logger.warning(
                "KV memory for %d tokens: %d sequences of %d are let in, fewer than max_num_seqs (%d)",
                *(self._engine.kv_tokens, self._sequences, settings.sequence_tokens, settings.max_num_seqs),
            )
        freeze_heap()

    async def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, sent: SentCall
    ) -> AsyncGenerator[Delta | None, None]:
        """A delta holds all that the engine wrote since the last one left: each costs a message."""
        yield ACCEPTED
        traces = traced(self._tracer, "generate", sent, stage=stage.name)
        with self._departures.stream(), redact_foreign_errors(), traces as its_call:
            async with aclosing(self._engine.generate(messages, stage, sampling, its_call)) as deltas:
                async for delta in deltas:
                    yield delta
                    if not delta.finish_reason:
                        await self._departures.next()

    async def check_fits(
        self, messages: Sequence[Message], reserve: int, sent: SentCall
    ) -> AsyncGenerator[int | None, None]:
        """Gives the context's length, so that who asks knows when not to."""
        yield ACCEPTED
        with redact_foreign_errors():
            await self._engine.check_fits(messages, reserve, sent.received())
        yield self._engine.context_length

    async def check_health(self) -> Sequence[str]:
        """Serve replaces the replica once this raises. Gives the engine's limits for `/ready`; scripted: none."""
        await self._engine.check_health()
        limits: Sequence[str] = getattr(self._engine, "limits", ())
        return limits

    def record_replica_metadata(self) -> dict[str, Any]:
        """Serve asks once, as soon as the engine is ready, and tells every router (`routing.SessionRouter`). Of the
        control tokens only those that need telling: some models have thousands.
        """
        return {"sequences": self._sequences, "control_tokens": unforeseen(self._engine.control_tokens)}

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve asks, where the deployment scales."""
        return gauges(self._engine.load(), self._sequences)

    def __del__(self) -> None:
        shut_down(getattr(self, "_engine", None))


async def check_room(engine: engines.Generator, least: LeastPrompt) -> None:
    """Raises SettingsError, with both numbers and what to do."""
    try:
        await engine.check_fits(least.messages, least.reserve, Call("start", ""))
    except ContextLengthExceeded as error:
        raise SettingsError(
            f"The prompt pack {least.pack} needs {error.tokens} tokens for the first message of a conversation, and "
            f"the context of the engine that answers it is {error.limit}: raise max_model_len in its engine_args, or "
            "lower the pack's max_tokens or its rounds (policy.limits.rounds)."
        ) from None


def _engine(settings: GeneratorSettings, cache: Path) -> "VllmGenerator | ScriptedGenerator":
    if settings.engine == "scripted":
        return ScriptedGenerator(**{"max_num_seqs": settings.max_num_seqs, **settings.engine_args})
    from psychechat.engines.vllm.generator import VllmGenerator  # vLLM takes its time, and is not always there

    given: dict[str, Any] = {
        "max_num_seqs": settings.max_num_seqs,
        # vLLM's metrics name the model as Serve names the deployment.
        "served_model_name": serve.get_replica_context().deployment,
        # vLLM's spans, below ours.
        "otlp_traces_endpoint": tracing.endpoint(),
        **({"revision": settings.revision} if settings.revision else {}),
    }
    return VllmGenerator(
        generator_model(settings, cache),
        engine_args={**given, **settings.engine_args},
        adapters=adapter_folders(settings),
        on_ray=True,
    )
