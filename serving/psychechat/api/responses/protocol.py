"""Body of `POST /v1/responses`, as OpenAI names its fields.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, FailFast, Field, JsonValue, field_validator, model_validator
from typing_extensions import TypedDict

from psychechat.api.chat.protocol import ChatMessage, ChatRequest, Effort, TurnBody
from psychechat.api.http.body.wire import ContentPart
from psychechat.api.responses.translation import as_chat, items
from psychechat.errors import UnsupportedParameter

_UNSUPPORTED = {
    "previous_response_id": "responses are not stored; send the conversation as 'input'",
    "conversation": "conversations are not stored; send this one as 'input'",
    "prompt": "there are no stored prompts; send 'instructions'",
    "background": "a turn is answered while its client waits",
}
"""Parameters that need what is not kept here, with the reason. `null` and `false` pass."""

_IGNORED = {
    "tools": "a counselor calls no tools",
    "include": "nothing more is kept of a turn",
    "top_logprobs": "'/v1/chat/completions' gives token probabilities",
}
"""Parameters that a reply in words may leave unheeded. A strict policy refuses them."""


class InputItem(TypedDict):
    """A message, or what a counselor cannot read: a call, its output, a reasoning, a reference."""

    type: NotRequired[str]
    role: NotRequired[str]
    content: NotRequired[str | list[ContentPart | str] | None]


class Reasoning(TypedDict, total=False):
    effort: Effort | None
    """`none`: replies without thinking. For any other value the prompt pack decides."""
    summary: str | None
    """Accepted; the thinking is not shown."""


class TextFormat(TypedDict, total=False):
    type: Literal["text"]


class TextOptions(TypedDict, total=False):
    format: TextFormat | None
    verbosity: str | None
    """Accepted; the prompt pack sets the length of replies."""


_Items = Annotated[list[ChatMessage], FailFast(), Field(min_length=1)]

_HELLO: list[JsonValue] = [{"role": "user", "content": "I could not sleep. My exam is tomorrow."}]
_EXAMPLES: list[JsonValue] = [
    {"model": "psychechat", "input": "I could not sleep. My exam is tomorrow."},
    {
        "model": "psychechat-llm",
        "instructions": "You work for a school.",
        "input": [*_HELLO],
        "stream": True,
        "reasoning": {"effort": "none"},
        "max_output_tokens": 200,
    },
    {"model": "psychechat-agent", "input": [*_HELLO], "metadata": {"locale": "en-US"}, "store": False},
]


class ResponsesRequest(TurnBody):
    """`POST /v1/responses`. Read as a `ChatRequest`."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})
    UNSUPPORTED = _IGNORED

    input: _Items
    instructions: str | None = None
    """A note of the operator's, before those in `input`."""
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    tools: Any = None
    """Accepted; a counselor calls none."""
    tool_choice: Any = None
    """Accepted where it leaves the choice: `auto`, `none`."""
    store: bool | None = None
    """Accepted; nothing is stored, and the answer says so."""
    include: Any = None
    """Accepted, as all below, and changes nothing."""
    parallel_tool_calls: Any = None
    stream_options: Any = None
    top_logprobs: Any = None
    truncation: Any = None

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        for name, why in _UNSUPPORTED.items():
            if body.get(name) not in (None, False):
                raise UnsupportedParameter(name, why)
        if not _is_free(body.get("tool_choice")):
            raise UnsupportedParameter("tool_choice", "a counselor calls no tools")
        if _format(body.get("text")) not in (None, "text"):
            raise UnsupportedParameter("text.format", "a reply is plain text")
        return body

    @field_validator("input", mode="before", json_schema_input_type=str | list[InputItem])
    @classmethod
    def _listed(cls, said: object) -> object:
        if not isinstance(said, str | list):
            return said
        return items(said)

    @property
    def unread(self) -> Sequence[str]:
        return (*(name for name in _IGNORED if getattr(self, name)), *super().unread)

    @property
    def chat(self) -> ChatRequest:
        return ChatRequest.model_validate(as_chat(dict(self)))


def _is_free(choice: object) -> bool:
    if isinstance(choice, dict):
        return choice.get("type") == "allowed_tools" and choice.get("mode") == "auto"
    return choice in (None, "auto", "none")


def _format(text: object) -> object:
    form = text.get("format") if isinstance(text, dict) else None
    return form.get("type") if isinstance(form, dict) else form
