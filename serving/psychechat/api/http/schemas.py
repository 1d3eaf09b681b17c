"""Types of every JSON object in our responses, also for the OpenAPI document.

Closed ones (`extra="forbid"`) have the keys that are named here and no others.
"""

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from psychechat.conversation import Phase, ReactionType
from psychechat.emotion import Intensity
from psychechat.risk import Kind, SeverityName, Trend
from psychechat.telemetry import ConfigPart

closed = with_config(ConfigDict(extra="forbid"))

FinishReason = Literal["stop", "length", "content_filter"]


@closed
class ErrorBody(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


@closed
class ErrorObject(TypedDict):
    error: ErrorBody


# ------------------------------------------------------------------------------------------- what was detected


@closed
class Emotion(TypedDict):
    label: str
    group: str
    intensity: Intensity
    probability: float


@closed
class Risk(TypedDict):
    level: SeverityName | None
    probabilities: dict[str, float]


@closed
class ConversationRisk(TypedDict):
    level: SeverityName
    peak: SeverityName
    since_turns: int | None
    trend: Trend
    held: bool


@closed
class TurnRisk(TypedDict):
    level: SeverityName | None
    probabilities: dict[str, float]
    kind: Kind | None
    conversation: ConversationRisk


@closed
class GuardFinding(TypedDict):
    index: int
    cause: Literal["method", "encouragement", "diagnosis", "hurting", "contact"]
    blocked: bool


@closed
class Review(TypedDict):
    rounds: int
    passed: bool | None
    fallback: bool
    cut: bool


@closed
class Resource(TypedDict):
    name: str
    contact: str
    hours: str | None
    locale: str
    verified_at: str | None


@closed
class StageAnalysis(TypedDict):
    labels: list[str]
    analysis: str
    recent_change: str
    overall_trend: str
    shift_analysis: str


@closed
class StageDraft(TypedDict):
    phase: Phase
    strategy: str
    response: str


@closed
class StageVerdict(TypedDict):
    analysis: str
    passed: bool


@closed
class StageReaction(TypedDict):
    type: ReactionType
    response: str
    verdict: StageVerdict | None


@closed
class StageReview(TypedDict):
    passed: bool
    emotional_suggestion: str
    safety_suggestion: str


@closed
class StageRound(TypedDict):
    draft: StageDraft
    reactions: list[StageReaction]
    review: StageReview


@closed
class Stages(TypedDict):
    """What the stages made of the turn. A draft that was refused is a model's unreviewed words: never for a seeker."""

    groups: dict[str, dict[str, float]] | None
    analysis: StageAnalysis | None
    rounds: list[StageRound]


@closed
class PsycheChat(TypedDict):
    mode: Literal["agent", "llm"]
    reason: str
    task: NotRequired[str]
    session: str | None
    emotions: list[Emotion]
    valence: int
    shift: int | None
    risk: TurnRisk
    review: Review
    guard: list[GuardFinding]
    resources: list[Resource]
    timings: dict[str, float]
    stages: NotRequired[Stages]


@closed
class MinimalPsycheChat(TypedDict):
    """In the place of `PsycheChat` for a key with `fields: minimal`: what whoever reads the reply may see."""

    request_id: str
    resources: list[Resource]
    finish_reasons: list[FinishReason]


class Detected(TypedDict):
    """What is in one text; part of other objects, and none of its own."""

    emotions: list[Emotion]
    valence: int
    groups: dict[str, dict[str, float]]
    risk: Risk


@closed
class Classification(TypedDict):
    object: Literal["classification"]
    index: int
    emotions: list[Emotion]
    valence: int
    groups: dict[str, dict[str, float]]
    risk: Risk
    hurting: NotRequired[float | None]


@closed
class Classifications(TypedDict):
    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Classification]


# ------------------------------------------------------------------------------------------- moderation


class Verdict(TypedDict):
    """What OpenAI's categories come to for one text; part of other objects, and none of its own."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text", "image"]]]


@closed
class Found(TypedDict):
    emotions: list[Emotion]
    valence: int
    groups: dict[str, dict[str, float]]
    risk: Risk
    backstop: bool


@closed
class Moderated(TypedDict):
    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text", "image"]]]
    psychechat: NotRequired[Found]


@closed
class Moderation(TypedDict):
    id: str
    model: str
    results: list[Moderated]


@closed
class ModerationResult(TypedDict):
    type: Literal["moderation_result"]
    model: str
    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text", "image"]]]


@closed
class ModerationResults(TypedDict):
    type: Literal["moderation_results"]
    model: str
    results: list[ModerationResult]


@closed
class ModerationError(TypedDict):
    type: Literal["error"]
    code: str
    message: str


@closed
class TurnModeration(TypedDict):
    input: ModerationResults | ModerationError
    output: ModerationResults | ModerationError


# ------------------------------------------------------------------------------------------- chat


@closed
class PromptDetails(TypedDict):
    cached_tokens: int


@closed
class CompletionDetails(TypedDict):
    reasoning_tokens: int


@closed
class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


@closed
class Likely(TypedDict):
    token: str
    logprob: float
    bytes: list[int] | None


@closed
class Token(TypedDict):
    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[Likely]


@closed
class Logprobs(TypedDict):
    content: list[Token]
    refusal: None


@closed
class Message(TypedDict):
    role: Literal["assistant"]
    content: str
    refusal: None
    reasoning_content: NotRequired[str]


@closed
class Choice(TypedDict):
    index: int
    message: Message
    logprobs: Logprobs | None
    finish_reason: FinishReason


@closed
class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    service_tier: NotRequired[Literal["default"]]
    choices: list[Choice]
    usage: Usage
    moderation: NotRequired[TurnModeration]
    psychechat: PsycheChat | MinimalPsycheChat


@closed
class Delta(TypedDict, total=False):
    role: Literal["assistant"]
    content: str
    reasoning_content: str


@closed
class ChunkChoice(TypedDict):
    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


@closed
class ChatCompletionChunk(TypedDict):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    service_tier: NotRequired[Literal["default"]]
    choices: list[ChunkChoice]
    usage: NotRequired[Usage | None]
    moderation: NotRequired[TurnModeration]
    psychechat: NotRequired[PsycheChat | MinimalPsycheChat]


# ------------------------------------------------------------------------------------------- the rest


@closed
class Model(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


@closed
class Models(TypedDict):
    object: Literal["list"]
    data: list[Model]


@closed
class Forgotten(TypedDict):
    id: str
    object: Literal["session.deleted"]
    deleted: bool


@closed
class Health(TypedDict):
    status: Literal["ok"]


Addition = Literal["urgent_steps", "jump_forward", "forced_ends", "whole_answers", "sparse_penalties", "half_products"]
"""What makes an engine on a CPU fast, and may be off there."""


@closed
class Readiness(TypedDict):
    status: Literal["ready", "starting"]
    engines: dict[str, bool]
    limits: NotRequired[dict[str, list[Addition]]]
    config_refused: NotRequired[list[ConfigPart]]


def schemas(*kinds: type) -> dict[str, Any]:
    """JSON schemas of these types and of all that they refer to, by name, for an OpenAPI document."""
    by_name: dict[str, Any] = {}
    for kind in kinds:
        schema = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}")
        by_name |= schema.pop("$defs", {}) | {kind.__name__: schema}
    return by_name
