"""What the pipeline asks of a model, whatever runs it: two Protocols and the values that cross them.

Implementations: `scripted` (answers from a table), `vllm` (the real engines), `psychechat_ray.remote` (either of
them behind a Ray Serve handle).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from psychechat.conversation import Assessment, TokenLogprob

FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks and how urgently. Travels with every engine call of a turn."""

    request_id: str
    session_id: str
    tenant_salt: str = ""
    """Separates the prefix caches of tenants (vLLM's `cache_salt`)."""
    priority: int = 0
    """Lower goes first, as in vLLM's priority scheduling."""
    deadline: float = float("inf")
    """Unix time in seconds, because it is compared in several processes."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """W3C trace context headers."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt, to be rendered by the model's own chat template."""

    role: Literal["system", "user", "assistant"]
    content: str


class StageName(StrEnum):
    EMOTION = "emotion"
    DRAFT = "draft"
    SIMULATION = "simulation"
    REVIEW = "review"
    REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Stage:
    """How one generation must come out.

    `schema` is the JSON schema that constrains what follows the thinking; None means free text.
    """

    name: StageName
    thinks: bool = False
    schema: Mapping[str, Any] | None = None
    tells_thinking: bool = True
    """Whether the deltas carry the thinking's text. Where nobody is shown it, its tokens need not travel."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Greedy unless told. `max_tokens` bounds thinking and answer together."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    """End the reply, and are no part of it. The thinking may hold them."""
    seed: int | None = None
    logprobs: int | None = None
    """How many alternatives to tell with each token of the answer, 0 for none; None: no probabilities at all."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one generation, from the engine's own counts."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a generation. The last one carries `finish_reason` and `usage`."""

    content: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the answer's tokens alone, where asked for. They may run ahead of `content`, which holds text back."""


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine has to do at this moment, as vLLM's gauges of these names have it."""

    num_requests_running: int = 0
    num_requests_waiting: int = 0
    """In the engine's own queue."""
    kv_cache_usage_perc: float = 0.0
    """Of one, in spite of its name."""


class Generator(Protocol):
    def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        """Stream one generation. Closing the iterator aborts it in the engine.

        Raises ContextLengthExceeded if the prompt does not fit, EngineUnavailable if the engine is gone and
        DeadlineExceeded once `call.deadline` has passed.
        """
        ...

    async def check_fits(self, messages: Sequence[Message], reserve: int) -> None:
        """Raises ContextLengthExceeded if the rendered prompt and `reserve` tokens more exceed the context."""
        ...


class Classifier(Protocol):
    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        """One assessment an utterance, in order. Raises EngineUnavailable if the engine is gone."""
        ...
