"""Engines, and the models that they load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from psychechat.config.replicas import EngineReplicas, Replicas
from psychechat.policy import Branch

DEMO = "demo"
"""As a model's name: the small one that comes with the package."""
DEMO_ENGLISH = "demo-smollm2"
"""As a generator's: SmolLM2-135M with the adapter that comes with the package, written to the cache. English only."""

PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$")]
"""Of an engine, as which Ray, its metrics and a chart's values know it too, or of an adapter."""


class ModelSettings(Branch):
    engine: Literal["vllm", "scripted"] = "vllm"
    model: str = DEMO
    """`demo`, for what generates also `demo-smollm2`, a folder, or a name on the Hugging Face hub."""
    revision: str | None = None
    engine_args: Mapping[str, Any] = {}
    """Passed on to vLLM's `AsyncEngineArgs`."""
    replicas: Replicas = Replicas()


class GeneratorSettings(ModelSettings):
    max_num_seqs: PositiveInt = 64
    """Sequences that an engine works on at once. Admission counts with it, so it is not among `engine_args`."""
    sequence_tokens: PositiveInt = 2_048
    """Tokens of KV memory that admission reckons for a sequence: prompt and answer, at the mean. An engine whose memory
    holds fewer than `max_num_seqs` such sequences is given as many as it holds."""
    gather_seconds: NonNegativeFloat = 0.1
    """The longest that words wait for others to leave with them, once a stream's first ones have left: a replica's
    streams send at the same moments, as many milliseconds apart as there are streams. 0.25 where a GPU writes so many
    streams that their messages would fill the ingress's cores."""
    adapters: Mapping[PlainName, Path] = {}
    """Folders of LoRA adapters, by the names that roles have for them."""
    replicas: EngineReplicas = EngineReplicas()

    @model_validator(mode="after")
    def _one_max_num_seqs(self) -> Self:
        if "max_num_seqs" in self.engine_args:
            raise ValueError("max_num_seqs stands beside engine_args, not in it")
        return self

    def sequences(self, kv_tokens: int | None) -> int:
        """That one replica is given at once, with KV memory for so many tokens: at least one. None: memory is no bound.

        More would fit into `max_num_seqs` and make vLLM throw out and compute again what it has begun.
        """
        if kv_tokens is None:
            return self.max_num_seqs
        return max(1, min(self.max_num_seqs, kv_tokens // self.sequence_tokens))
