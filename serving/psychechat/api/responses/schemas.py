"""Types of the objects and events of `/v1/responses`.

https://platform.openai.com/docs/api-reference/responses/object and /responses-streaming
"""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from psychechat.api.chat.protocol import Effort
from psychechat.api.http.schemas import MinimalPsycheChat, ModerationError, ModerationResult, PsycheChat, closed

ItemStatus = Literal["in_progress", "completed", "incomplete"]
Status = ItemStatus | Literal["failed"]


@closed
class OutputText(TypedDict):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


@closed
class OutputMessage(TypedDict):
    type: Literal["message"]
    id: str
    status: ItemStatus
    role: Literal["assistant"]
    content: list[OutputText]


@closed
class IncompleteDetails(TypedDict):
    reason: Literal["max_output_tokens", "content_filter"]


@closed
class ResponseError(TypedDict):
    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


@closed
class InputTokensDetails(TypedDict):
    cached_tokens: int
    cache_write_tokens: int


@closed
class OutputTokensDetails(TypedDict):
    reasoning_tokens: int


@closed
class ResponseUsage(TypedDict):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


@closed
class ResponseReasoning(TypedDict):
    effort: Effort | None
    summary: None


@closed
class PlainText(TypedDict):
    type: Literal["text"]


@closed
class ResponseText(TypedDict):
    format: PlainText


@closed
class ResponseModeration(TypedDict):
    input: ModerationResult | ModerationError
    output: ModerationResult | ModerationError


@closed
class Response(TypedDict):
    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Status
    background: Literal[False]
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    system_fingerprint: str
    output: list[OutputMessage]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: ResponseReasoning
    service_tier: NotRequired[Literal["default"]]
    store: Literal[False]
    temperature: float | None
    text: ResponseText
    tool_choice: Literal["auto"]
    tools: list[Any]
    top_p: float | None
    truncation: Literal["disabled"]
    usage: ResponseUsage | None
    moderation: NotRequired[ResponseModeration]
    psychechat: NotRequired[PsycheChat | MinimalPsycheChat]


# ------------------------------------------------------------------------------------------- events


@closed
class ResponseEvent(TypedDict):
    """How far the response is; the last one says how it ended."""

    type: Literal[
        "response.created",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
        "response.failed",
    ]
    sequence_number: int
    response: Response


@closed
class OutputItemEvent(TypedDict):
    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: int
    item: OutputMessage


@closed
class ContentPartEvent(TypedDict):
    type: Literal["response.content_part.added", "response.content_part.done"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    part: OutputText


@closed
class TextDeltaEvent(TypedDict):
    type: Literal["response.output_text.delta"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[Any]


@closed
class TextDoneEvent(TypedDict):
    type: Literal["response.output_text.done"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[Any]


EVENTS = (ResponseEvent, OutputItemEvent, ContentPartEvent, TextDeltaEvent, TextDoneEvent)
