"""Interface of the engines: two Protocols and the values that cross them.

Implementations: `scripted` (answers from a table), `vllm` (the real engines), `psychechat_ray.remote` (either of
them behind a Ray Serve handle).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from psychechat.conversation import Assessment, TokenLogprob
from psychechat.emotion import Language

FinishReason = Literal["stop", "length", "abort"]

BYTES_A_TOKEN = 16
"""More of UTF-8 than a token stands for in what people write, where it is three or four as a rule. A prompt that would
need more to fit is refused unread.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """Context of an engine call: who asks, how urgently, until when. Passed with every call of a turn."""

    request_id: str
    session_id: str
    tenant_salt: str = ""
    """Separates the prefix caches of tenants (vLLM's `cache_salt`)."""
    priority: int = 0
    """Lower goes first, as in vLLM's priority scheduling."""
    deadline: float = float("inf")
    """By this process's `time.monotonic`, which no change of the time of day moves. Another process counts from another
    moment: it is sent the seconds that are left (`psychechat_ray.sent_call`)."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """W3C trace context headers."""
    adapter: str | None = None
    """Of the engine's, which answers in the place of its model. Nothing that the pipeline sets."""


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
    """Constraints on the output of one generation.

    `schema` is the JSON schema that constrains what follows the thinking; None means free text.
    """

    name: StageName
    thinks: bool = False
    schema: Mapping[str, Any] | None = None
    tells_thinking: bool = True
    """Whether the deltas carry the thinking's text; where it is not shown, its tokens need not be sent."""
    language: Language | None = None
    """Nothing is written but whole characters of this language's scripts; None leaves the model every token."""
    indent: int | None = None
    """Spaces a level of the JSON, as `json.dumps` writes it; None: no white space at all."""
    blank_line: bool = False
    """Whether a blank line stands between the thinking and the JSON."""
    choices: tuple[str, ...] = ()
    """Of a stage without a schema: the texts of which its answer is one. Empty: it is free."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters, greedy by default. `max_tokens` bounds thinking and answer together.

    None of those that may be so: what the checkpoint's `generation_config.json` says, else what changes nothing.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    """Of how many tokens one is drawn; 0: of all."""
    min_p: float | None = None
    """No token is drawn that has less than this share of the likeliest one's probability."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float | None = None
    """Above 1 what stands in the prompt or was written already is less likely."""
    stop: tuple[str, ...] = ()
    """Stop strings: they end the reply and are not part of it. In the thinking they are ignored."""
    seed: int | None = None
    logprobs: int | None = None
    """Number of alternatives per token of the answer; 0: the token's own probability only. None: no probabilities."""


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
    """Piece of a generation. The last one carries `finish_reason` and `usage`."""

    content: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    """Log probabilities of the answer's tokens, if asked for. They may come before their text, which is held back."""


@dataclass(frozen=True, slots=True)
class Load:
    """Current load of an engine, as in vLLM's gauges of these names."""

    num_requests_running: int = 0
    num_requests_waiting: int = 0
    """In the engine's own queue."""
    kv_cache_usage_perc: float = 0.0
    """From 0 to 1, in spite of its name."""


class Generator(Protocol):
    def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        """Stream one generation. Closing the iterator aborts it in the engine.

        Raises ContextLengthExceeded if the prompt does not fit, EngineUnavailable if the engine is gone and
        DeadlineExceeded once `call.deadline` has passed.
        """
        ...

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        """Raises ContextLengthExceeded if the rendered prompt and `reserve` tokens more exceed the context, also for a
        prompt of so many bytes that this is all but certain.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pair:
    """What a model wrote, and what it answers."""

    seeker: str
    draft: str


class Classifier(Protocol):
    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        """One assessment per utterance, in order. Raises EngineUnavailable if the engine is gone."""
        ...

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        """P(the draft hurts the seeker) per pair, in order; None from heads that cannot tell.

        It may be no number. Raises EngineUnavailable if the engine is gone and DeadlineExceeded once `call.deadline`
        has passed.
        """
        ...
